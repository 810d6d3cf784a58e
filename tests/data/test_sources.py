"""Logs by globs, in several places, and on a local S3 server: read as the same files in one folder are."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from conrec.cli.main import main
from conrec.config import DataConfig
from conrec.data import sources
from conrec.data.adapters import generic
from conrec.data.sources import Tables, at_hand, digest
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import write
from tests.model.small import tables

EVENTS, ITEMS = tables(events=1500)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 1,500 events in three files, with items, and a file that is none of it."""
    folder = tmp_path / "here"
    (folder / "more").mkdir(parents=True)
    for n, name in enumerate(("events-1.csv", "events-2.csv", "more/2026-03.csv")):
        pacsv.write_csv(EVENTS.slice(n * 500, 500), folder / name)
    pacsv.write_csv(ITEMS, folder / "items.csv")
    return folder


@pytest.fixture
def bucket(s3: str, log: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    """The same in a bucket of its own: the file system and the bucket's name."""
    system = __import__("s3fs").S3FileSystem()
    name = request.node.originalname.replace("_", "-")[:60]
    system.mkdir(name)
    system.put(f"{log}/", f"{name}/log/", recursive=True)
    yield system, name
    system.rm(name, recursive=True)


def prepared(run: Path, *data: str) -> dict[str, list]:
    """Events and items after `conrec run --to prepare`."""
    assert main(["run", "fit", "--out", str(run), "--to", "prepare", "--data", *data]) == 0
    return {name: pq.read_table(run / "prepare" / f"{name}.parquet").to_pylist() for name in ("events", "items")}


@pytest.fixture
def wanted(tmp_path: Path, log: Path) -> dict[str, list]:
    """What all of it in two files gives."""
    (tmp_path / "one").mkdir()
    pacsv.write_csv(EVENTS, tmp_path / "one" / "events.csv")
    shutil.copy(log / "items.csv", tmp_path / "one")
    return prepared(tmp_path / "run0", str(tmp_path / "one"))


def test_globs_and_several_paths(
    tmp_path: Path, log: Path, wanted: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = (log / "items.csv").rename(log / "shop.csv")
    for n, data in enumerate(
        [
            (f"{log}/**/*[0-9].csv", f"items={catalogue}"),
            (f"events={log}/events-1.csv", f"{log}/events-2.csv", f"{log}/more/2026-03.csv", f"items={catalogue}"),
            (f"{log}/events-*.csv", f"events={log}/more", f"items={catalogue}"),
        ]
    ):
        assert prepared(tmp_path / f"run{n}", *data) == wanted
    monkeypatch.chdir(log)
    assert prepared(tmp_path / "relative", "events-*.csv", "more/*.csv", "items=shop.csv") == wanted
    capsys.readouterr()
    monkeypatch.chdir("/")  # the run knows where its log is
    assert main(["prepare", str(tmp_path / "relative")]) == 0
    assert "prepare: up to date" in capsys.readouterr().err


def test_what_a_file_is(tmp_path: Path) -> None:
    for name in ("a.csv", "items-1.csv", "x.item", "x.inter", "b/events.csv", "b/items.csv", "c/1.csv", "c/.2.csv"):
        write(tmp_path / name, "x\n1\n")
    names = [str(tmp_path / name) for name in ("a.csv", "items-1.csv", "x.i*", "b")]
    found = at_hand([*names, f"items={tmp_path}/c", f"events={tmp_path}/items-1.csv"], None)
    assert isinstance(found, Tables)
    events, items = ([path.relative_to(tmp_path).as_posix() for path in role] for role in (found.events, found.items))
    assert events == ["a.csv", "x.inter", "b/events.csv", "items-1.csv"]
    assert items == ["items-1.csv", "x.item", "b/items.csv", "c/1.csv"]
    assert at_hand(tmp_path / "b", None) == tmp_path / "b"
    assert at_hand(f"{tmp_path}/b*", None) == tmp_path / "b"
    assert (at_hand((), None), at_hand(None, None)) == (None, None)
    odd = write(tmp_path / "events-[1].csv", "x\n1\n")
    assert at_hand(odd, None) == odd
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConrecError, match=r"empty: holds no file that ends in one of \.csv"):
        at_hand([f"events={tmp_path}/empty"], None)
    with pytest.raises(ConrecError, match=r"items-1\.csv: nothing here is of events; say what is: events=PATH"):
        generic.read(Tables((), (tmp_path / "items-1.csv",)), DataConfig(), None)
    with pytest.raises(ConrecError, match=r"nothing-\*\.csv: there is no such file or folder"):
        at_hand(f"{tmp_path}/nothing-*.csv", None)


@pytest.mark.parametrize("how", ["folder", "glob", "several"])
def test_a_log_on_s3(tmp_path: Path, bucket: tuple, wanted: dict, how: str) -> None:
    there = f"s3://{bucket[1]}/log"
    if how == "folder":
        bucket[0].mv(f"{there}/more/2026-03.csv", f"{there}/events-3.csv")
    data = {
        "folder": [f"{there}/"],
        "glob": [f"{there}/**/*[0-9].csv", f"items={there}/items.csv"],
        "several": [
            f"{there}/events-1.csv",
            f"{there}/items.csv",
            f"{there}/more/",
            str(tmp_path / "here/events-2.csv"),
        ],
    }[how]
    if how == "several":
        data[2] = f"events={data[2]}"
    assert prepared(tmp_path / "run", *data) == wanted


def test_only_what_changed_is_fetched_and_only_then_read_again(
    tmp_path: Path, bucket: tuple, capsys: pytest.CaptureFixture[str]
) -> None:
    system, name = bucket
    data = f"s3://{name}/log/"
    copies = tmp_path / "run" / "log" / "s3" / name / "log"

    def again() -> str:
        before = {path: path.stat().st_ino for path in copies.rglob("*.csv")}
        assert main(["run", "fit", "--out", str(tmp_path / "run"), "--to", "prepare", "--data", data]) == 0
        said = "up to date" if "prepare: up to date" in capsys.readouterr().err else "read"
        after = {path: path.stat().st_ino for path in copies.rglob("*.csv")}
        return " ".join([said, *sorted(path.name for path in after if before.get(path) != after[path])])

    assert again() == "read 2026-03.csv events-1.csv events-2.csv items.csv"
    assert again() == "up to date"
    content = system.cat_file(f"{name}/log/events-1.csv")
    # The same size within the same second: the ETag alone tells.
    system.pipe_file(f"{name}/log/events-1.csv", content.replace(b"i10", b"i11"))
    assert again() == "read events-1.csv"
    system.pipe_file(f"{name}/log/events-1.csv", content)
    assert again() == "read events-1.csv"
    system.rm(f"{name}/log/more/2026-03.csv")
    assert again() == "read"
    assert not (copies / "more" / "2026-03.csv").exists()
    shutil.rmtree(copies)
    assert again() == "up to date events-1.csv events-2.csv items.csv"


def test_a_broken_copy_is_fetched_again(tmp_path: Path, bucket: tuple) -> None:
    where = f"s3://{bucket[1]}/log/events-1.csv"
    copy = at_hand(where, tmp_path)
    assert isinstance(copy, Path)
    known = digest(copy)
    copy.write_bytes(copy.read_bytes()[:-9])
    assert digest(copy) != known
    assert at_hand(where, tmp_path) == copy
    assert digest(copy) == known


def test_check_and_messages_name_the_address(tmp_path: Path, bucket: tuple, capsys: pytest.CaptureFixture[str]) -> None:
    system, name = bucket
    assert main(["check", f"s3://{name}/log/events-*.csv", f"s3://{name}/log/items.csv"]) == 0
    said = capsys.readouterr().out
    assert "# events: 1,000 rows read, 1,000 kept" in said
    assert "# items: 60 rows read, 60 kept" in said
    system.pipe_file(f"{name}/log/events-1.csv", b"user_id,item_id\na,b\n")
    for command in ("check", "fit"):
        out = ("--out", str(tmp_path / "run")) if command == "fit" else ()
        assert main([command, f"s3://{name}/log/events-*.csv", *out]) == 2
        assert f"s3://{name}/log/events-1.csv: no column 'time'" in capsys.readouterr().err


def one_line(run: Path, data: str) -> str:
    with pytest.raises(ConrecError) as error:
        at_hand(data, run)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    return str(error.value)


def test_what_cannot_be_reached_is_one_line(
    tmp_path: Path, bucket: tuple, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system, name = bucket
    nothing = "cannot be read (FileNotFoundError: there is no such file, and no folder with files in it)"
    for data in (f"s3://{name}/nowhere/", f"s3://{name}/log/*.parquet"):
        assert one_line(tmp_path, data) == f"{data}: {nothing}"
    assert main(["run", "fit", "--data", "s3://no-such-bucket/log/", "--out", str(tmp_path / "run")]) == 2
    assert "s3://no-such-bucket/log/: cannot be read (FileNotFoundError: " in capsys.readouterr().err
    assert "nosuch" in one_line(tmp_path, "nosuch://bucket/log/")
    system.pipe_file(f"{name}/odd/a/../../x.csv", b"x")
    assert "leads out of its folder" in one_line(tmp_path, f"s3://{name}/odd/")

    system.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # now the server looks at who asks
        assert "PermissionError" in one_line(tmp_path, f"s3://{name}/log/")
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nothing"))
        system.clear_instance_cache()
        assert "Unable to locate credentials" in one_line(tmp_path, f"s3://{name}/log/")
    system.clear_instance_cache()


def test_a_file_system_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == "fsspec":
            raise ModuleNotFoundError("No module named 'fsspec'", name="fsspec")
        return known(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'conrec[s3]'" in one_line(tmp_path, "s3://bucket/log/")


def test_a_file_without_a_version_is_fetched_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/conrec/versions/day.csv", b"one")
    where = "memory://conrec/versions/day.csv"
    copy = at_hand(where, tmp_path)
    assert isinstance(copy, Path)
    known = digest(copy)
    assert digest(at_hand(where, tmp_path)) == known
    monkeypatch.setattr(sources, "VERSION", ())
    assert digest(at_hand(where, tmp_path)) != known
