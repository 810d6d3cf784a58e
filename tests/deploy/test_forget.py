"""One user is forgotten: nothing of the run holds the id any more, and everything else goes on as before."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import conrec
from conrec import files
from conrec.__main__ import main
from conrec.config import load_recipe
from conrec.deploy.forget import forget
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.files import lock
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, Feedback
from conrec.filter.filter import CoNRecFilter, OpenSnapshot
from conrec.filter.mutes import Mute
from conrec.run import STAGES, run_stages
from tests.deploy.live_run import LiveRun
from tests.filter.redis_server import redis_server
from tests.model.small import tables
from tests.serve.small import serving, wait_for

USER, NEXT = "person-12", "person-121"
"""The one who is forgotten, and one whose id begins like that."""
FIT = ("fit", "{log}/events.csv", "{log}/items.csv", "--out", "{run}")


def log_of(folder: Path) -> None:
    """A log with rows of the user that cannot be read, a repeated one, and one of an unknown item, as files."""
    events, items = tables()
    names = pc.binary_join_element_wise("person-", pc.replace_substring(events["user_id"], "u", ""), "")
    rows = events.set_column(0, "user_id", names).to_pylist()
    own = [row for row in rows if row["user_id"] == USER]
    rows += [own[0], {**own[1], "item_id": "unknown"}]
    text = pa.Table.from_pylist(rows)
    text = text.set_column(2, "time", text["time"].cast(pa.timestamp("us")).cast(pa.string()))
    broken = [{**text.to_pylist()[-1], "time": "soon", "user_id": user} for user in (USER, NEXT)]
    folder.mkdir()
    pa_csv.write_csv(pa.concat_tables([text, pa.Table.from_pylist(broken)]), folder / "events.csv")
    pa_csv.write_csv(items, folder / "items.csv")


def command(folder: Path, *words: str) -> int:
    return main([word.format(log=folder / "log", run=folder / "run") for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a calibration, a day ingested, and what users said; to be copied."""
    folder = tmp_path_factory.mktemp("forget")
    log_of(folder / "log")
    assert command(folder, *FIT) == 0
    assert command(folder, "calibrate", "{run}", "--likes-lost", "0.1") == 0
    assert command(folder, "calibrate", "{run}", "--likes-lost", "0.2", "--surface", "home") == 0
    assert command(folder, "refresh", "{run}") == 0
    day = "user_id,item_id,time,kind\n"
    day += f"{USER},i3,2026-05-02T10:00:00Z,dislike\n{USER},nowhere,2026-05-02T10:00:00Z,dislike\n"
    day += f"{NEXT},i5,2026-05-02T11:00:00Z,dislike\n{USER},i7,2026-05-02T12:00:00Z,favorite\n"
    (folder / "day.csv").write_text(day)
    assert command(folder, "refresh", "{run}", "--events", str(folder / "day.csv")) == 0
    feedback = Feedback(folder / "run" / "snapshots")
    feedback.add([Entry(USER, "i9", "dislike", id="e1"), Entry(NEXT, "i9", "dislike"), Entry(USER, "i11", "undo")])
    for user in (USER, NEXT):
        feedback.mute(user, Mute("word", "red"))
    del feedback
    (folder / "run" / "report.html").write_text(f"<h3>User <bdi>{USER}</bdi></h3>")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path / "copy")
    paths = tmp_path / "copy" / "run" / "paths.json"
    paths.write_text(paths.read_text().replace(str(made), str(tmp_path / "copy")))
    return tmp_path / "copy"


def cells(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from cells(one)
    elif isinstance(value, dict):
        yield from cells(list(value.items()))
    elif isinstance(value, str):
        yield value


def holding(run: Path, user: str = USER) -> set[str]:
    """The files below a folder with the id in it, found by brute force: every cell of every table, every byte else."""
    found, asked = set(), re.compile(rf"{user}(?!\d)")
    for path in (one for one in run.rglob("*") if one.is_file()):
        if path.suffix == ".parquet":
            there = any(map(asked.search, cells(pq.read_table(path).to_pylist())))
        else:
            there = asked.search(path.read_bytes().decode("latin-1")) is not None
        if there:
            found.add(re.sub(r"/[0-9TZ]+-\d+/|/[0-9a-f]{16}/", "/*/", path.relative_to(run).as_posix()))
    return found


EVERYWHERE = {
    "prepare/events.parquet",
    "prepare/instances.parquet",
    "prepare/rejected.parquet",
    "filter/seed0/scores.parquet",
    "snapshots/live/*/events.parquet",
    "snapshots/live/*/rejected.parquet",
    "snapshots/*/users/blob.npy",
    "snapshots/*/users/slots.npy",
    "report.html",
}


def test_nothing_holds_the_user_and_all_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, snapshots = folder / "run", folder / "run" / "snapshots"
    before = {name for name in holding(run) if "sqlite" not in name}
    assert before == EVERYWHERE
    assert any("sqlite" in name for name in holding(run))
    others = len(pq.read_table(run / "prepare" / "events.parquet").filter(pc.field("user_id") != USER))
    known = set(users_of(snapshots))
    with serving(snapshots, run=run) as client:
        wait_for(lambda: client.get("/ui/about")["version"] is not None)
        assert USER in client.get(f"/ui/users?q={USER}")["users"]
        assert client.get(f"/ui/candidates?user={USER}")["source"] == "shown"
        assert not client.filter(USER, ["i1", "i2"])["unknown_user"]
        version = client.get("/readyz")["version"]
        capsys.readouterr()
        assert command(folder, "forget", USER, "--run", "{run}") == 0
        said = capsys.readouterr()
        assert said.out.endswith(f"rows removed; the user is in no file of {run} and {snapshots}\n")
        assert int(said.out.split()[0]) > 50
        assert USER not in said.out + said.err
        wait_for(lambda: client.get("/readyz")["version"] != version)
        answer = client.filter(USER, [f"i{n}" for n in range(20)])
        assert (answer["unknown_user"], answer["dropped"], answer["muted"]) == (True, [], [])
        assert client.ask("GET", f"/v1/users/{USER}")[0] == 404
        assert USER not in client.get(f"/ui/users?q={USER}")["users"]
        assert client.get(f"/ui/candidates?user={USER}")["source"] == "sample"
        assert client.filter(NEXT, ["i0", "i2", "i5", "i9"])["never_again"] == ["i5", "i9"]
        assert client.get(f"/v1/users/{NEXT}/mutes")["mutes"] == [{"kind": "word", "name": "red"}]
        assert client.get("/readyz")["problem"] is None
    assert holding(run) == set()
    assert {"prepare/events.parquet", "prepare/rejected.parquet"} <= holding(run, NEXT)
    events = pq.read_table(run / "prepare" / "events.parquet")
    assert len(events) == others
    assert set(users_of(snapshots)) == known - {USER}
    assert len(published.versions(snapshots)) == 1  # those before held the user

    # Nothing is trained again, and nothing refuses.
    capsys.readouterr()
    assert command(folder, *FIT) == 0
    said = capsys.readouterr()
    assert said.err.count("up to date") == len(said.err.splitlines()) == 4
    assert command(folder, "refresh", "{run}") == 0
    assert "stays in use: nothing is new" in capsys.readouterr().out
    assert command(folder, "refresh", "{run}", "--events", str(folder / "day.csv")) == 0
    assert "stays in use: nothing is new" in capsys.readouterr().out  # the day that held the user is known
    day = folder / "next.csv"
    day.write_text(f"user_id,item_id,time,kind\n{NEXT},i6,2026-05-03T10:00:00Z,dislike\n")
    assert command(folder, "refresh", "{run}", "--events", str(day)) == 0
    assert "events: 1 read, 1 kept" in capsys.readouterr().out
    assert holding(run) == set()
    assert command(folder, "replay", "{run}") == 0
    assert command(folder, "calibrate", "{run}", "--likes-lost", "0.1") == 0
    assert command(folder, "refresh", "{run}") == 0
    assert command(folder, "refresh", "{run}", "--merged", str(folder / "merged")) == 0
    assert holding(folder / "merged") == set()
    assert command(folder, "forget", USER, "--run", "{run}") == 0  # a second time there is nothing
    assert "\n0 rows removed; the user is in no file of" in capsys.readouterr().out


def users_of(snapshots: Path) -> dict[str, bytes]:
    """The users with a record in the snapshot in use, each with the history."""
    opened = OpenSnapshot(snapshots / str(published.current(snapshots)))
    found = {}
    for portion in opened.users.portions():
        for user in portion.ids:
            stored = opened.users.get(user)
            assert stored is not None
            found[user] = stored.history.packed()
    return found


def test_the_others_are_as_if_all_were_published_anew(folder: Path) -> None:
    run, snapshots = folder / "run", folder / "run" / "snapshots"
    rows, found = forget(run, USER, snapshots)
    assert (rows > 50, found) == (True, [])
    now = users_of(snapshots)
    version = str(published.current(snapshots))
    shutil.rmtree(snapshots / version / "users")  # what is damaged is not carried over: all are made anew
    refresh(run, load_recipe(run / "recipe.toml"), snapshots=snapshots)
    assert users_of(snapshots) == now


@pytest.mark.parametrize("moment", [0, 1, 3, 5, 6, 8, 10])
def test_who_is_killed_is_made_good_by_the_next_call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: int
) -> None:
    run, snapshots, calls = folder / "run", folder / "run" / "snapshots", 0

    def killed(after: Any) -> Any:
        def call(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > moment:
                raise KeyboardInterrupt
            return after(*given)

        return call

    monkeypatch.setattr(files, "flush", killed(files.flush))  # of each table, and of each manifest behind them
    with pytest.raises(KeyboardInterrupt):
        forget(run, USER, snapshots)
    assert calls == moment + 1
    monkeypatch.undo()
    assert CoNRecFilter.load(snapshots).filter(NEXT, ["i1"]).unknown_user is False  # what is in use is whole
    assert forget(run, USER, snapshots)[1] == []
    assert holding(run) == set()
    assert not list(run.rglob("*.new"))
    capsys.readouterr()
    assert command(folder, *FIT) == 0
    assert capsys.readouterr().err.count("up to date") == 4
    assert "nothing is new" in str(refresh(run, load_recipe(run / "recipe.toml"), snapshots=snapshots))


def test_what_is_damaged_held_or_at_work_is_left_alone(folder: Path) -> None:
    run, snapshots = folder / "run", folder / "run" / "snapshots"

    def refused(said: str) -> None:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.suffix in (".parquet", ".json")}
        with pytest.raises(ConrecError, match=said):
            forget(run, USER, snapshots)
        assert before == {path: path.read_bytes() for path in before}

    with lock(run / ".lock"):
        refused("works in this folder")
    with lock(snapshots / "live" / ".lock"):
        refused("works in this folder")
    published.hold(snapshots, str(published.current(snapshots)), "too much")
    refused(r"is held; conrec refresh --accept or --rollback first")
    (snapshots / "held").unlink()
    for path in (run / "prepare" / "events.parquet", next((snapshots / "live").glob("*/events.parquet"))):
        whole = path.read_bytes()
        path.write_bytes(whole[:-5] + bytes(5))
        refused("damaged")
        path.write_bytes(whole)
    assert forget(run, USER, snapshots)[1] == []


def test_what_a_killed_run_left_behind_is_no_refuge(folder: Path) -> None:
    run = folder / "run"
    shutil.copytree(run / "prepare", run / "prepare.old")
    shutil.copytree(run / "prepare", run / "prepare.partial")
    (run / "prepare.partial" / "manifest.json").unlink()
    assert {"prepare.old/events.parquet", "prepare.partial/events.parquet"} <= holding(run)
    assert forget(run, USER, run / "snapshots")[1] == []
    assert holding(run) == set()


def test_where_the_user_still_is_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run" / "notes.txt").write_text(f"see {USER}, who complained")
    (folder / "run" / "other.txt").write_text(f"see {NEXT}")
    with pytest.raises(SystemExit) as left:
        command(folder, "forget", USER, "--run", "{run}")
    assert left.value.code == 1
    assert capsys.readouterr().out.endswith(f"; {folder / 'run' / 'notes.txt'}: still holds the user\n")


def test_snapshots_of_another_run_are_not_touched(folder: Path) -> None:
    run, snapshots = folder / "run", folder / "run" / "snapshots"
    version = snapshots / str(published.current(snapshots))
    manifest = json.loads((version / "manifest.json").read_text())
    manifest["made_from"]["base"] = "another"
    (version / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConrecError, match="made from another run"):
        forget(run, USER, snapshots)
    assert published.current(snapshots) == version.name
    refresh(run, load_recipe(run / "recipe.toml"), snapshots=snapshots)
    assert forget(run, USER, snapshots)[1] == []
    assert holding(run) == set()


def test_users_in_redis(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = pytest.importorskip("redis", reason="the extra `redis` is not installed")
    run, snapshots = folder / "run", folder / "run" / "snapshots"
    for url in redis_server(tmp_path):
        monkeypatch.setenv("CONREC_REDIS", url)
        recipe, client = load_recipe(run / "recipe.toml"), redis.Redis.from_url(url)

        def there(client: Any = client) -> set[bytes]:
            return {field for key in client.keys() for field in client.hkeys(key)}  # noqa: SIM118

        refresh(run, recipe, snapshots=snapshots)  # what users said is in
        (run / "calibration.json").unlink()
        refresh(run, recipe, snapshots=snapshots, store="redis")
        assert {USER.encode(), NEXT.encode()} <= there()
        assert forget(run, USER, snapshots)[1] == []
        assert USER.encode() not in there()
        assert NEXT.encode() in there()
        assert holding(run) == set()
        assert CoNRecFilter.load(snapshots).filter(USER, ["i1"]).unknown_user


def test_an_id_that_is_a_number_and_an_items_too(tmp_path: Path) -> None:
    events, items = tables()
    plain = [pc.replace_substring_regex(table["item_id"], "i", "") for table in (events, items)]
    users = pc.replace_substring(events["user_id"], "u", "").cast(pa.int64())
    log = events.set_column(0, "user_id", users).set_column(1, "item_id", plain[0])
    model = conrec.fit(log, items.set_column(0, "item_id", plain[1]), folder=tmp_path / "run")
    assert not model.filter("12", ["1", "2"]).unknown_user
    assert (tmp_path / "run" / "log" / "events.parquet").is_file()  # the tables as they came
    rows, found = forget(tmp_path / "run", "12", tmp_path / "run" / "snapshots")
    assert (rows > 50, found) == (True, [])
    assert not (tmp_path / "run" / "log").exists()
    prepared = tmp_path / "run" / "prepare"
    assert "12" not in pq.read_table(prepared / "events.parquet")["user_id"].to_pylist()
    assert "12" in pq.read_table(prepared / "events.parquet")["item_id"].to_pylist()
    assert "12" in pq.read_table(prepared / "items.parquet")["item_id"].to_pylist()
    again = conrec.load(tmp_path / "run")
    assert again.filter("12", ["1", "2"]).unknown_user
    assert not again.filter("13", ["1", "2"]).unknown_user
    assert forget(tmp_path / "run", "never there", tmp_path / "run" / "snapshots") == (0, [])


def test_a_whole_run_with_lists(live: LiveRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instances are known by their numbers in other tables; nothing of the user's stays there either."""
    shutil.copytree(live.run, tmp_path / "run")
    recipe, run, snapshots = live.recipe, tmp_path / "run", tmp_path / "run" / "snapshots"
    refresh(run, recipe, snapshots=snapshots)
    instances = pq.read_table(run / "prepare" / "instances.parquet")
    of_test = instances.filter(pc.equal(instances["split"], "test"))
    user = of_test["user_id"][0].as_py()
    own = instances.filter(pc.equal(instances["user_id"], user))["instance_id"].to_pylist()
    with_numbers = [path for path in run.rglob("*.parquet") if "instance_id" in pq.read_schema(path).names]
    assert {path.parent.name for path in with_numbers} >= {"prepare", "seed0"}
    before = {path: pq.read_table(path) for path in with_numbers}
    assert {path.name for path in before if "user_id" not in before[path].column_names} == {"candidates.parquet"}
    assert forget(run, user, snapshots)[1] == []
    assert holding(run, user) == set()
    for path, table in before.items():
        by_name = "user_id" in table.column_names
        gone = pc.equal(table["user_id"], user) if by_name else pc.is_in(table["instance_id"], pa.array(own))
        assert pc.any(gone).as_py() or path.name == "replay.parquet"
        assert pq.read_table(path).equals(table.filter(pc.invert(gone)))
    capsys.readouterr()
    source = json.loads((run / "paths.json").read_text())["data"]
    run_stages(STAGES, recipe, run, source, last="filter")
    assert {line.split(": ")[1] for line in capsys.readouterr().err.splitlines()} == {"up to date"}
    done = refresh(run, recipe, snapshots=snapshots, events=live.days[0])
    assert done.changed
    assert done.recomputed < done.users  # the others are carried over
    back = np.unique(pq.read_table(live.days[0])["user_id"].to_numpy().astype(str))
    assert (user in users_of(snapshots)) <= (user in back)  # who comes back is somebody new
