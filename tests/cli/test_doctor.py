"""The doctor says what is wrong, and survives it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conrec.__main__ import main
from conrec.cli import doctor
from conrec.filter import snapshot as published
from tests.model.small import tables


def test_a_failing_part_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

    def fail(*_: object, **__: object) -> None:
        raise OSError("libgomp.so.1: cannot open\nmore")

    monkeypatch.setattr(torch.optim, "Adam", fail)
    assert not doctor.examine()
    assert "torch test            FAILS: OSError: libgomp.so.1: cannot open\n" in capsys.readouterr().out
    monkeypatch.undo()
    assert doctor.examine()
    assert "torch test            a loss of 8 is 0" in capsys.readouterr().out


def test_a_missing_library_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("numba", "torch") else known(name))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("torch", "faiss") else "there")
    assert not doctor.examine()
    said = capsys.readouterr().out
    assert "numba                 MISSING" in said
    assert "extra train           without torch, faiss; optional: pip install 'conrec[train]'" in said
    assert "torch test" not in said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a calibration, two snapshots, and a day ingested; to be copied."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "log").mkdir()
    for name, table in zip(("events", "items"), tables(), strict=True):
        pq.write_table(table, folder / "log" / f"{name}.parquet")
    run = str(folder / "run")
    assert (
        main(["fit", str(folder / "log" / "events.parquet"), str(folder / "log" / "items.parquet"), "--out", run]) == 0
    )
    assert main(["calibrate", run, "--likes-lost", "0.1"]) == 0
    assert main(["refresh", run]) == 0
    (folder / "day.csv").write_text("user_id,item_id,time,kind\nu3,i4,2026-05-02T10:00:00Z,dislike\n")
    assert main(["refresh", run, "--events", str(folder / "day.csv")]) == 0
    return folder


def flipped(path: Path) -> None:
    """One bit of the file is another, and its size the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def in_use(run: Path) -> Path:
    return run / "snapshots" / str(published.current(run / "snapshots"))


def other_setting(run: Path) -> None:
    text = (run / "recipe.toml").read_text()
    assert "horizon_days = 7" in text
    (run / "recipe.toml").write_text(text.replace("horizon_days = 7", "horizon_days = 6"))


WRONG: list[tuple[str, Callable[[Path], object], set[str], str]] = [
    ("a stage", lambda run: flipped(run / "prepare" / "events.parquet"), {"prepare"}, "damaged"),
    ("a file gone", lambda run: (run / "compress" / "embeddings.npy").unlink(), {"compress"}, "damaged"),
    ("a file more", lambda run: (run / "score" / "seed0" / "more").touch(), {"score (seed 0)"}, "damaged"),
    ("its manifest", lambda run: (run / "compress" / "manifest.json").write_text("{"), {"compress"}, "not complete"),
    ("settings", other_setting, {"prepare"}, "stale"),
    ("the log", lambda run: (run.parent / "log" / "events.parquet").touch(), {"prepare"}, "stale"),
    ("no log", lambda run: shutil.rmtree(run.parent / "log"), {"prepare"}, "stale"),
    ("users", lambda run: flipped(in_use(run) / "users" / "records.npy"), {"in use"}, "records.npy: damaged"),
    ("a version before", lambda run: flipped(min(run.glob("snapshots/2*/items.parquet"))), {"first"}, "damaged"),
    ("a snapshot's manifest", lambda run: flipped(in_use(run) / "manifest.json"), {"in use"}, ""),
    ("a day", lambda run: flipped(next(run.glob("snapshots/live/*/events.parquet"))), {"in use"}, "events.parquet"),
    ("current", lambda run: (run / "snapshots" / "current").unlink(), {"current"}, "no readable snapshot"),
]


@pytest.mark.parametrize(("harm", "names", "what"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_what_is_damaged_or_stale_is_found(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], object],
    names: set[str],
    what: str,
) -> None:
    shutil.copytree(made, tmp_path / "copy")
    run = tmp_path / "copy" / "run"
    (run / "paths.json").write_text((run / "paths.json").read_text().replace(str(made), str(tmp_path / "copy")))
    first, second = published.versions(run / "snapshots")
    capsys.readouterr()
    assert main(["doctor", str(run)]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in whole] == ["prepare", "compress", "score", "filter", first, second]
    assert {line.split()[-1] for line in whole} == {"sound"}
    harm(run)
    with pytest.raises(SystemExit, match="1"):
        main(["doctor", str(run)])
    found = [line for line in capsys.readouterr().out.splitlines() if not line.endswith(" sound")]
    assert {{first: "first", second: "in use"}.get(line[:21], line[:21].strip()) for line in found} >= names
    assert any(what in line for line in found)
