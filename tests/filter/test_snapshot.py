"""Published snapshots: whole or not there, whatever happens in between."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.filter import CoNRecFilter
from conrec.filter.publish import SnapshotWriter, write_snapshot
from conrec.filter.redis_store import RedisUsers
from conrec.filter.stores import open_users
from tests.filter.published import PREDICTED, some_items, some_users
from tests.filter.redis_server import redis_server


def publish(snapshots: Path, seed: int = 0, **options: object) -> str:
    return write_snapshot(snapshots, some_items(seed), some_users(12, seed), **options)  # type: ignore[arg-type]


def test_versions_follow_each_other_and_the_old_ones_go(tmp_path: Path) -> None:
    names = [publish(tmp_path, seed, keep=2) for seed in range(4)]
    assert names == sorted(set(names))
    assert published.versions(tmp_path) == names[2:]
    assert published.current(tmp_path) == names[3]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names[2:], "current", ".lock"])


def test_back_and_forth(tmp_path: Path) -> None:
    names = [publish(tmp_path, seed) for seed in range(3)]
    for version in (names[1], names[0], names[2]):
        published.use(tmp_path, version)
        assert published.current(tmp_path) == CoNRecFilter.load(tmp_path).version == version
    with pytest.raises(ConrecError, match="no version nonsense"):
        published.use(tmp_path, "nonsense")
    with pytest.raises(ConrecError, match="in use"):
        published.remove(tmp_path, names[2])


def test_after_going_back_the_next_version_is_the_newest(tmp_path: Path) -> None:
    first, _ = publish(tmp_path), publish(tmp_path)
    published.use(tmp_path, first)
    newest = publish(tmp_path, keep=1)
    assert published.versions(tmp_path) == [newest]


def test_a_clock_that_goes_back_does_not_reorder_versions(tmp_path: Path) -> None:
    there = publish(tmp_path)
    past = datetime(2001, 1, 1, tzinfo=UTC)
    assert published.new_version(tmp_path, past) == there[:-4] + "0002"
    assert published.new_version(tmp_path / "empty", past) == "20010101T000000Z-0001"


def test_a_writer_that_gives_up_leaves_nothing(tmp_path: Path) -> None:
    first = publish(tmp_path)
    with SnapshotWriter(tmp_path, some_items(), PREDICTED) as writer:
        writer.add(some_users(3))
        writer.add(some_users(3))
        with pytest.raises(ConrecError, match="occurs twice"):
            writer.publish()
    with SnapshotWriter(tmp_path, some_items(), PREDICTED) as writer:
        writer.add(some_users(3))
    assert published.versions(tmp_path) == [first]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([first, "current", ".lock"])


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with (
        SnapshotWriter(tmp_path, some_items(), PREDICTED),
        pytest.raises(ConrecError, match="works in this"),
    ):
        publish(tmp_path)
    publish(tmp_path)


def test_every_damage_is_one_clear_line(tmp_path: Path) -> None:
    version = publish(tmp_path, calibration={"threshold": 1.0})
    CoNRecFilter.load(tmp_path)
    folder = tmp_path / version
    files = [p for p in folder.rglob("*") if p.is_file() and "users" not in p.parts]
    assert {p.name for p in files} >= {"manifest.json", "items.parquet", "item_factors.npy", "calibration.json"}
    for path in [*files, *(folder / "users").glob("*.npy")]:
        whole = path.read_bytes()
        flipped = whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:]
        of_users = path.parent.name == "users"
        for wrong in [whole[:-1], whole + b"x", b"", *([] if of_users else [flipped]), None]:
            path.unlink()
            if wrong is not None:
                path.write_bytes(wrong)
            with pytest.raises(ConrecError, match=path.name) as caught:
                CoNRecFilter.load(tmp_path)
            assert "\n" not in str(caught.value)
            path.write_bytes(whole)
    CoNRecFilter.load(tmp_path)


def test_an_item_table_that_does_not_fit(tmp_path: Path) -> None:
    """Even one that the manifest knows."""
    folder = tmp_path / publish(tmp_path)
    path = folder / "item_factors.npy"
    table = np.load(path)
    for wrong, said in ((table[:, :2], "fit together"), (table[:-1], "fit together"), (table[0], "not the array")):
        np.save(path, wrong)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"] = published.describe_files(folder)
        del manifest["files"]["manifest.json"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ConrecError, match=said):
            CoNRecFilter.load(tmp_path)


def test_damaged_users_are_found_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / publish(tmp_path)
    path = folder / "users" / "records.npy"
    published.check(folder, published.read_manifest(folder).files, "all")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + b"\7\7")
    published.check(folder, published.read_manifest(folder).files)
    with pytest.raises(ConrecError, match=r"records\.npy: damaged"):
        published.check(folder, published.read_manifest(folder).files, "all")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"format": 1}', '{"format": 2, "surprise": 1}', "\x00"])
def test_a_manifest_that_is_none(tmp_path: Path, manifest: str) -> None:
    folder = tmp_path / publish(tmp_path)
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ConrecError, match=r"manifest\.json"):
        CoNRecFilter.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"files": []}, {"files": {"a": 1}}, {"score": {}}, {"users": {"store": "mapped"}}, {"items": 7}]
)
def test_a_manifest_that_makes_no_sense(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / publish(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConrecError, match=r"not a snapshot|do not fit|missing"):
        CoNRecFilter.load(tmp_path)


def test_a_snapshot_of_before_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / publish(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(ConrecError, match="format 3, this conrec reads 5; write it again"):
        CoNRecFilter.load(tmp_path)


def test_nothing_published_yet(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="no snapshot was published here yet"):
        CoNRecFilter.load(tmp_path)
    assert published.current(tmp_path / "nowhere") is None
    assert published.versions(tmp_path / "nowhere") == []


def test_who_has_an_old_version_open_goes_on(tmp_path: Path) -> None:
    old = CoNRecFilter.load(tmp_path / publish(tmp_path, calibration={"threshold": 0.0}))
    items = [f"i{n}" for n in range(60)]
    before = old.filter("u7", items)
    publish(tmp_path, seed=1, keep=1)
    assert len(published.versions(tmp_path)) == 1
    assert old.filter("u7", items) == before
    assert before.dropped
    assert old.user("u7") is not None


KILLED = """
import os, shutil, sys
from pathlib import Path
from tests.filter.test_snapshot import publish

def kill_at(step):
    '''Die, without any clean-up, at the n-th thing done to a file or folder.'''
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"):
            if str(folder) in str(arguments[0]) or event in ("os.remove", "os.rmdir"):
                count += 1
                if count == step:
                    os._exit(9)
    sys.addaudithook(hook)

os.fsync = lambda handle: None  # this test is about kills, not power cuts, and flushing would take a minute
folder, steps = Path(sys.argv[1]), 0
publish(folder / "warm")  # what is compiled here need not be compiled in every child
while True:
    steps += 1
    snapshots = folder / str(steps)
    shutil.copytree(folder / "before", snapshots)
    child = os.fork()
    if not child:
        kill_at(steps)
        publish(snapshots, 3, keep=2)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
print(steps)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_step_leaves_a_whole_set_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two snapshots are there, the third replaces the oldest; its writer is killed at each of its steps in turn."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    for seed in (1, 2):
        publish(tmp_path / "before", seed)
    code = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 20
    expected = {seed: publish_and_ask(tmp_path / f"expected{seed}", seed) for seed in (1, 2, 3)}
    assert len(set(map(str, expected.values()))) == 3
    seen = []
    for step in range(1, steps + 1):
        snapshots = tmp_path / str(step)
        answer = ask(snapshots)
        seen.append(next(seed for seed in expected if expected[seed] == answer))
        for version in published.versions(snapshots):
            published.check(snapshots / version, published.read_manifest(snapshots / version).files, "all")
        # The next job clears up and goes on.
        newest = publish(snapshots, 1, keep=2)
        assert published.current(snapshots) == newest
        assert ask(snapshots) == expected[1]
        assert len(published.versions(snapshots)) == 2
        assert not list(snapshots.glob(".*.partial"))
    # First the second snapshot is in use, from some step on the third; never the first, never none.
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}


def publish_and_ask(snapshots: Path, seed: int) -> dict[str, object]:
    publish(snapshots, seed)
    return ask(snapshots)


def ask(snapshots: Path) -> dict[str, object]:
    answer = dataclasses.asdict(CoNRecFilter.load(snapshots, threshold=0.0).filter("u7", [f"i{n}" for n in range(60)]))
    return {name: value for name, value in answer.items() if name not in ("version", "explain")}


def test_a_set_with_its_users_in_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = pytest.importorskip("redis", reason="the extra `redis` is not installed")
    (tmp_path / "redis").mkdir()
    server = redis_server(tmp_path / "redis")
    url = next(server)
    snapshots, mapped = tmp_path / "snapshots", tmp_path / "mapped"
    publish(mapped)
    monkeypatch.delenv("CONREC_REDIS", raising=False)
    with pytest.raises(ConrecError, match="set CONREC_REDIS"):
        publish(snapshots, store="redis")
    monkeypatch.setenv("CONREC_REDIS", url)
    first = publish(snapshots, store="redis")
    assert url not in (snapshots / first / "manifest.json").read_text()
    assert ask(snapshots) == ask(mapped)
    users = open_users(snapshots / first, published.read_manifest(snapshots / first))
    assert isinstance(users, RedisUsers)
    users.put(some_users(1, seed=3, ids=["late"]))
    assert CoNRecFilter.load(snapshots).user("late") is not None
    old = published.read_manifest(snapshots / first)
    client = redis.Redis.from_url(url)
    hashes = sorted(client.scan_iter("conrec:*"))
    lost = sum(client.hlen(one) for one in hashes[:3])
    client.delete(*hashes[:3])
    # What is left is served; nothing may be made from it.
    loaded = CoNRecFilter.load(snapshots)
    for opens in (loaded.check, lambda: open_users(snapshots / first, old, whole=True)):
        with pytest.raises(ConrecError, match=f"{lost - 1} of its 12 users are gone from redis"):
            opens()
    publish(snapshots, seed=1, store="redis", keep=1)
    with pytest.raises(ConrecError, match="are gone from redis"):
        open_users(snapshots / first, old)
    assert (
        json.loads((snapshots / str(published.current(snapshots)) / "manifest.json").read_text())["users"]["count"]
        == 12
    )
    server.close()  # type: ignore[attr-defined]
