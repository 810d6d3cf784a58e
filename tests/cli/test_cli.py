"""The command line as a user meets it: real processes, their exit status, and what they say."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from conrec import __version__
from conrec.cli.main import VERBS, main
from conrec.cli.run import Run, run
from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.evaluate.results import Calibration, CalibrationEvidence, Outcome
from conrec.features.prepared_log import PreparedLog
from conrec.run import run_stages
from conrec.score.factors import UserFactors, served_scores
from tests.score.test_history import fitted
from tests.small_log import small_log, write_small_run


def conrec(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conrec", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120)


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The user made a mistake: status 2, one line on stderr that holds `parts`, nothing on stdout."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("conrec: ")
    for part in parts:
        assert part in lines[0]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that reads a rating log."""
    path = tmp_path / "mine.toml"
    path.write_text("[data]\nadapter = 'movietweetings'\ndislike_at_most = 5\nlike_at_least = 8\n")
    return path


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """A recipe that needs no data."""
    path = tmp_path / "simulated.toml"
    path.write_text("name = 'simulated'\n")
    return path


def test_the_overview_names_every_verb() -> None:
    done = conrec("--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


def test_without_a_verb_the_overview_and_status_2() -> None:
    done = conrec()
    assert done.returncode == 2
    assert "conrec demo" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_teaches(verb: str) -> None:
    done = conrec(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: conrec {verb} ")
    assert f"conrec {verb}" in done.stdout.split("Example", 1)[1]
    if verb not in ("check", "demo", "doctor", "plan"):  # they have no run folder
        assert "run folder" in done.stdout or "DIR" in done.stdout


def test_the_version() -> None:
    assert conrec("--version").stdout.strip() == __version__


def test_a_wrong_verb_suggests_the_right_one() -> None:
    one_line(conrec("utilise"), "utilise", "did you mean utilize?")
    one_line(conrec("xyzzy"), "see conrec --help")


def test_a_wrong_option_is_explained() -> None:
    done = conrec("run", "demo", "--out", "x", "--sed", "3")
    assert done.returncode == 2
    assert "--sed" in done.stderr
    assert "--seeds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_recipe(tmp_path: Path) -> None:
    one_line(conrec("run", tmp_path / "none.toml", "--out", tmp_path / "run"), "none.toml", "no such recipe")


def test_a_recipe_with_an_unknown_key(tmp_path: Path, recipe: Path) -> None:
    recipe.write_text("[split]\nhorizon = 3\n")
    one_line(conrec("run", recipe, "--out", tmp_path / "run"), "mine.toml", "split.horizon", "horizon_days")


def test_a_missing_data_folder(tmp_path: Path, recipe: Path) -> None:
    command = ("run", recipe, "--out", tmp_path / "run", "--data")
    one_line(conrec(*command, tmp_path / "nowhere"), "nowhere", "no such file or folder")
    assert not (tmp_path / "run").exists()


def test_data_not_given(tmp_path: Path, recipe: Path) -> None:
    one_line(conrec("run", recipe, "--out", tmp_path / "run"), "--data is missing", "movietweetings")


def test_a_tracker_that_is_not_installed(tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConrecError, match="--track wandb: it is not installed; pip install wandb"):
        run(Run(recipe, tmp_path / "run", track="wandb"))


def test_missing_images(tmp_path: Path, recipe: Path) -> None:
    words = ("--data", tmp_path, "--images", tmp_path / "nowhere")
    one_line(conrec("run", recipe, "--out", tmp_path / "run", *words), "--images", "nowhere")


def test_a_data_folder_without_a_log(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = conrec("run", recipe, "--data", tmp_path / "empty", "--out", tmp_path / "run", "--to", "prepare")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "empty") in done.stderr.splitlines()[-1]


def test_a_folder_that_is_no_run(tmp_path: Path, simulated: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("dear diary")
    one_line(conrec("run", simulated, "--out", folder), str(folder), "no run folder")
    one_line(conrec("compress", folder), str(folder), "not a run folder")
    assert list(folder.iterdir()) == [folder / "diary.txt"]


def test_a_folder_that_cannot_be_made(tmp_path: Path, simulated: Path) -> None:
    (tmp_path / "file").write_text("")
    one_line(conrec("run", simulated, "--out", tmp_path / "file" / "run"), "cannot be written")


@pytest.mark.slow
def test_a_stage_before_its_turn(tmp_path: Path, simulated: Path) -> None:
    run = tmp_path / "run"
    done = conrec("run", simulated, "--out", run, "--from", "predict")
    one_line(done, "prepare: not there", "run prepare first")
    one_line(conrec("evaluate", run), "run prepare first")


def test_stages_in_the_wrong_order(tmp_path: Path, simulated: Path) -> None:
    one_line(conrec("run", simulated, "--out", tmp_path / "run", "--from", "predict", "--to", "compress"), "exchange")


def test_seeds_twice(tmp_path: Path, simulated: Path) -> None:
    one_line(conrec("run", simulated, "--out", tmp_path / "run", "--seeds", "1", "1"), "seeds [1, 1]")


def small_run(folder: Path) -> tuple[list[str], list[float]]:
    """A run folder as far as `conrec filter` reads it; four of its items, those that u02 dislikes least first, and the
    three thresholds between their scores. The second is that of the replay."""
    run_stages((), Recipe(seeds=(3,)), folder, None, None, begin=True)
    items, events = small_log(users=80, items=60, events=1200)
    write_small_run(folder, items, events)
    for stage in ("score", "filter"):
        (folder / stage / "seed3").mkdir(parents=True)
    log = PreparedLog(folder / "prepare", folder / "compress")
    history = fitted(log.view)
    history.save(folder / "score" / "seed3")
    mine = log.instances.take(log.instances.users == "u02")
    last = mine.take(np.array([mine.cutoffs.argmax()]))
    day = history.at(log.view, last.cutoffs[0])
    ((vector,), (bias,)) = day.user_factors(last)
    scores = served_scores(day.item_factors(), UserFactors(vector, bias), np.arange(len(items)))
    four = np.argsort(scores)[[0, 20, 40, 59]]
    limits = ((scores[four[1:]] + scores[four[:-1]]) / 2).tolist()
    (folder / "filter" / "seed3" / "replay.json").write_text(json.dumps({"threshold": limits[1]}))
    return [items.ids[row] for row in four], limits


@pytest.mark.slow
def test_the_filter_decides_about_a_file(tmp_path: Path) -> None:
    run, ranked = tmp_path / "run", tmp_path / "ranked.csv"
    (best, *_, worst), limits = small_run(run)
    ranked.write_text(f"user_id,item_id\nu02,{best}\nu02,{worst}\nstranger,{worst}\n")
    done = conrec("filter", run, ranked, "--out", tmp_path / "decided.csv")
    assert done.returncode == 0, done.stderr
    decided = list(csv.DictReader((tmp_path / "decided.csv").open()))
    assert [row["kept"] for row in decided] == ["true", "false", "true"]
    assert float(decided[0]["score"]) < limits[0] < limits[2] < float(decided[1]["score"])
    _, account, path = done.stdout.splitlines()
    assert account.startswith("read 3, kept 2, dropped 1")
    assert path == str(tmp_path / "decided.csv")
    strict = conrec("filter", run, ranked, "--out", tmp_path / "decided.csv", "--threshold", "99")
    assert strict.returncode == 0
    assert [row["kept"] for row in csv.DictReader((tmp_path / "decided.csv").open())] == ["true"] * 3


@pytest.mark.slow
def test_the_filter_honours_a_calibration(tmp_path: Path) -> None:
    run, ranked = tmp_path / "run", tmp_path / "ranked.csv"
    four, limits = small_run(run)
    ranked.write_text("".join(["user_id,item_id\n", *(f"u02,{four[n]}\n" for n in (3, 2, 0))]))
    scores = run / "filter" / "seed3" / "scores.parquet"
    scores.write_bytes(b"the scores that were calibrated")
    digest = hashlib.sha256(scores.read_bytes()).hexdigest()
    nothing = Outcome(0, 0, 0, None, None, None, None)
    evidence = CalibrationEvidence(3, digest, 0, nothing, nothing, "kept on test", [])
    calibration = msgspec.to_builtins(Calibration(0.01, 0.95, limits[2], None, None, evidence))

    def kept(*flags: object) -> tuple[str, list[str]]:
        done = conrec("filter", run, ranked, "--out", tmp_path / "decided.csv", *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0], [row["kept"] for row in csv.DictReader((tmp_path / "decided.csv").open())]

    def calibrated(**changes: object) -> tuple[str, list[str]]:
        (run / "calibration.json").write_text(json.dumps(calibration | changes))
        return kept()

    assert kept() == (f"threshold {limits[1]:.4g}, chosen by the run's replay", ["false", "false", "true"])
    assert calibrated() == (f"threshold {limits[2]:.4g}, calibrated", ["false", "true", "true"])
    assert calibrated(threshold=None)[1] == ["true"] * 3
    low = {"by": "activity", "edges": [1e6, 2e6], "thresholds": {"low": -99.0, "middle": None, "high": None}}
    assert calibrated(segments=low) == ("thresholds by activity, calibrated", ["false"] * 3)
    each = dict.fromkeys(["", *(f"c{n}" for n in range(5))], limits[1])
    assert calibrated(segments={"by": "category", "edges": None, "thresholds": each})[1] == ["false", "false", "true"]
    flags = ("--threshold", str(limits[0]))
    assert kept(*flags) == (f"threshold {limits[0]:.4g}, as given", ["false", "false", "true"])
    scores.write_bytes(b"other scores")
    one_line(conrec("filter", run, ranked, "--out", tmp_path / "x.csv"), "run conrec calibrate again")


@pytest.mark.slow
def test_the_filter_checks_what_it_is_given(tmp_path: Path) -> None:
    run, ranked = tmp_path / "run", tmp_path / "ranked.csv"
    small_run(run)
    words = ("filter", run, ranked, "--out", tmp_path / "x.csv")
    one_line(conrec(*words), "ranked.csv", "no such file")
    ranked.write_text("user_id,item_id\n")
    (run / "filter" / "seed3" / "replay.json").write_text('{"threshold": null}')
    one_line(conrec(*words), "--threshold is missing")
    (run / "filter" / "seed3" / "replay.json").unlink()
    one_line(conrec(*words), "as far as filter")
    one_line(conrec("replay", run), "as far as filter")


@pytest.mark.slow
def test_the_doctor_examines() -> None:
    done = conrec("doctor")
    assert done.returncode == 0, done.stdout
    said = {line.split("  ")[0].strip() for line in done.stdout.splitlines()}
    assert {"extra train", "cores", "memory", "disk", "gpu", "torch test"} <= said
    assert "FAILS" not in done.stdout


def test_stopping_says_how_to_continue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(VERBS, "doctor", stop)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "conrec: stopped; run the same command again to continue\n"


FULL = """
import ctypes, sys
from pathlib import Path

import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from safetensors.numpy import save_file

from conrec.__main__ import main
from conrec.cli.main import VERBS

folder = Path(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
# A disk of our own, which goes with this process: others do not even see it.
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    sys.exit(77)
if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=64k"):
    sys.exit(77)
big = np.random.default_rng(0).normal(size=100_000)


def written_behind() -> None:
    try:
        pq.write_table(pa.table({"a": big}), folder / "a.parquet")
    except OSError as error:
        raise RuntimeError("in a library") from error


for write in (
    lambda: np.save(folder / "a.npy", big),
    lambda: (folder / "a.txt").write_text("x" * 500_000),
    lambda: pq.write_table(pa.table({"a": big}), folder / "a.parquet"),
    lambda: save_file({"a": big}, folder / "a.safetensors"),
    written_behind,
):
    VERBS["doctor"] = lambda: write()
    assert main(["doctor"]) == 2
VERBS["doctor"] = lambda: 1 / 0
try:
    main(["doctor"])
except ZeroDivisionError:
    print("raised")
"""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120)
    if done.returncode == 77:
        pytest.skip("no right to mount a small disk here")
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr
    assert (
        done.stderr.splitlines() == ["conrec: no space left on the disk; make room and run the same command again"] * 5
    )
