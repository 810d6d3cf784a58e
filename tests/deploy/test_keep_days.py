"""Events and dislikes that are too old: they count no more, and are gone once no version counts them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conrec.__main__ import main
from conrec.deploy.forget import forget
from conrec.deploy.refresh import refresh, roll_back, write_merged
from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, Feedback
from conrec.filter.mutes import Mute
from tests.deploy.live_run import LiveRun
from tests.deploy.test_refresh import changed_on, users_of

MICROSECONDS = 86_400_000_000


def micro(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def last_of(*tables: Path) -> datetime:
    return max(pc.max(pq.read_table(path)["time"]).as_py() for path in tables)


def raw(snapshots: Path) -> set[str]:
    """The deltas that hold events."""
    return {path.parent.name for path in snapshots.glob("live/*/events.parquet")}


def test_what_is_too_old_counts_for_nobody(live: LiveRun, tmp_path: Path) -> None:
    days = 20
    by_day = [refresh(live.run, live.recipe, snapshots=tmp_path / "a", keep_days=days)]
    for day in live.days:
        by_day.append(refresh(live.run, live.recipe, snapshots=tmp_path / "a", events=day, keep_days=days))
        assert by_day[-1].recomputed < by_day[-1].users
    at_once = refresh(live.run, live.recipe, snapshots=tmp_path / "b", events=live.days, keep_days=days)
    found, whole = users_of(tmp_path / "a" / by_day[-1].version), users_of(tmp_path / "b" / at_once.version)
    assert found.keys() == whole.keys()
    same = changed_on(live.days[-1]) & found.keys()
    assert len(same) > 10
    assert all(found[user] == whole[user] for user in same)
    for user, one in found.items():
        assert all(one[name] == whole[user][name] for name in ("dislikes", "liked", "activity"))

    # Against the log itself: nobody has an item that they met before, and nobody's own past is missing.
    events = pa.concat_tables([pq.read_table(live.run / "prepare" / "events.parquet"), *map(pq.read_table, live.days)])
    since = last_of(*live.days) - timedelta(days)
    disliked = events.filter(pc.equal(events["kind"], "dislike"))
    kept = disliked.filter(pc.greater_equal(disliked["time"], since))
    pairs = {*zip(kept["user_id"].to_pylist(), kept["item_id"].to_pylist())}
    unlimited = refresh(live.run, live.recipe, snapshots=tmp_path / "c", events=live.days)
    everybody = users_of(tmp_path / "c" / unlimited.version)
    expected = {user: {item for item in one["dislikes"] if (user, item) in pairs} for user, one in everybody.items()}
    assert {user: items for user, items in expected.items() if items} == {
        user: set(one["dislikes"]) for user, one in found.items() if one["dislikes"]
    }
    assert sum(map(len, expected.values())) < sum(len(one["dislikes"]) for one in everybody.values())

    # Without the limit all of them count again.
    again = refresh(live.run, live.recipe, snapshots=tmp_path / "a")
    assert again.changed
    assert users_of(tmp_path / "a" / again.version) == everybody


def test_raw_events_go_with_the_last_version_that_counts_them(live: LiveRun, tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    first = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[0], keep=2, keep_days=1)
    (oldest,) = raw(snapshots)
    end = micro(last_of(live.days[0]))
    users = list(users_of(snapshots / first.version))
    items = pq.read_table(live.run / "prepare" / "items.parquet")["item_id"].to_pylist()
    said = Feedback(snapshots)
    said.add([Entry(users[0], items[0], "dislike", end - 5 * MICROSECONDS), Entry(users[1], items[1], "dislike", end)])
    said.mute(users[0], Mute("word", "shoe"))

    refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[1], keep=2, keep_days=1)
    assert len(said.until(10**9)) == 2  # the first version was made before they were said
    third = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[2], keep=2, keep_days=1)
    assert oldest in raw(snapshots)  # the version before still counts that day
    assert [entry.user for entry in said.until(10**9)] == [users[1]]
    given = {"snapshots": snapshots, "events": live.their_events, "items": live.items, "keep": 1, "keep_days": 1}
    last = refresh(live.run, live.recipe, **given)
    assert published.versions(snapshots) == [last.version]
    assert oldest not in raw(snapshots)
    assert len(raw(snapshots)) >= 1
    folder = snapshots / "live" / oldest
    assert not (folder / "rejected.parquet").exists()
    assert not {"events.parquet", "rejected.parquet"} & json.loads((folder / "delta.json").read_text())["files"].keys()

    # What users said goes by the same rule, from the file's bytes, too; a mute has no age.
    left = [entry.time for entry in said.until(10**9)]
    since = published.read_manifest(snapshots / last.version).made_from["since"]
    assert all(time >= since for time in left)
    assert len(left) < 2
    assert said.news(users[0], 0)[1] == [Mute("word", "shoe")]

    # All that is still a log: the same day again is known, the next night finds nothing new, and no file is missed.
    for events in (None, live.days[0], live.their_events):
        again = refresh(live.run, live.recipe, snapshots=snapshots, events=events, keep=1, keep_days=1)
        assert (again.version, again.changed) == (last.version, False)
    assert third.version < last.version
    merged = write_merged(live.run, live.recipe, snapshots, tmp_path / "merged").parent
    times = pq.read_table(merged / "events.parquet")["time"].cast(pa.int64()).to_numpy()
    assert times.min() >= since


def test_a_version_that_was_given_up_brings_its_days_back(live: LiveRun, tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    given = {"snapshots": snapshots, "keep_days": 1}
    first = refresh(live.run, live.recipe, events=live.days[0], **given)
    refresh(live.run, live.recipe, events=live.days[1:], **given)
    assert roll_back(snapshots) == first.version
    again = refresh(live.run, live.recipe, events=live.days[1:], **given)
    fresh = refresh(live.run, live.recipe, events=live.days, snapshots=tmp_path / "fresh", keep_days=1)
    found, whole = users_of(snapshots / again.version), users_of(tmp_path / "fresh" / fresh.version)
    assert {user: one["dislikes"] for user, one in found.items()} == {u: one["dislikes"] for u, one in whole.items()}


def test_a_late_event_does_not_count(live: LiveRun, tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    first = refresh(live.run, live.recipe, snapshots=snapshots, keep_days=10)
    events = pq.read_table(live.run / "prepare" / "events.parquet")
    user, item = events["user_id"][0].as_py(), events["item_id"][0].as_py()
    late = pc.max(events["time"]).as_py() - timedelta(30)
    row = {"user_id": user, "item_id": item, "time": late, "kind": "dislike"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "late.parquet")
    before = users_of(snapshots / first.version)
    done = refresh(live.run, live.recipe, snapshots=snapshots, events=tmp_path / "late.parquet", keep_days=10)
    after = users_of(snapshots / done.version)
    assert {u: one["dislikes"] for u, one in after.items()} == {u: one["dislikes"] for u, one in before.items()}
    assert (done.account["kept"], done.account["dropped"]) == (0, {"too_old": 1})
    assert done.version == first.version  # and nothing of it is kept
    assert not raw(snapshots)


def test_forgetting_a_user_keeps_the_limit(live: LiveRun, tmp_path: Path) -> None:
    run = shutil.copytree(live.run, tmp_path / "run")
    done = refresh(run, live.recipe, events=live.days, keep_days=2)
    users = users_of(run / "snapshots" / done.version)
    gone = next(user for user, one in users.items() if one["dislikes"])
    forget(run, gone, run / "snapshots")
    now = users_of(run / "snapshots" / published.current(run / "snapshots"))
    assert {user: one["dislikes"] for user, one in now.items()} == {
        user: one["dislikes"] for user, one in users.items() if user != gone
    }


def test_the_flag(live: LiveRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConrecError, match="--keep-days 0: at least 1 day must stay"):
        refresh(live.run, live.recipe, snapshots=tmp_path, keep_days=0)
    assert main(["refresh", str(live.run), "--snapshots", str(tmp_path / "snapshots"), "--keep-days", "5"]) == 0
    version = published.current(tmp_path / "snapshots")
    assert published.read_manifest(tmp_path / "snapshots" / version).made_from["keep_days"] == 5
