"""The daily job on a small trained run: day by day as at once, once only, back again, and whole whoever is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from conrec.__main__ import main
from conrec.config import load_recipe
from conrec.data.schema import EVENTS, OTHER_REASONS, SEPARATOR
from conrec.data.sources import Tables
from conrec.deploy.calibrate import calibrate
from conrec.deploy.live import input_digest, merged, read_live, users_with_news
from conrec.deploy.refresh import Refreshed, refresh, roll_back, write_merged
from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry
from conrec.filter.filter import CoNRecFilter, OpenSnapshot
from conrec.filter.guardrails import Guardrails
from conrec.items.fields import fields_of
from conrec.items.traits import TraitEncoder, joined
from conrec.pipeline.build import outputs_digest
from conrec.run import STAGES, run_stages
from conrec.score.history import HistoryScore
from conrec.sid.catalog import unit_rows
from conrec.stages.compress import content_of
from tests.deploy.live_run import LiveRun
from tests.filter.redis_server import redis_server


@pytest.fixture(scope="module")
def day_by_day(live: LiveRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Refreshed]]:
    """The run's end and the three days after it, each a snapshot of its own."""
    snapshots = tmp_path_factory.mktemp("snapshots") / "by_day"
    done = [refresh(live.run, live.recipe, snapshots=snapshots)]
    done += [refresh(live.run, live.recipe, snapshots=snapshots, events=day) for day in live.days]
    return snapshots, done


def users_of(folder: Path) -> dict[str, dict]:
    """Everything that a snapshot holds of each user, items by id; of what they said the newest twenty."""
    opened = OpenSnapshot(folder)
    found = {}
    for portion in opened.users.portions():
        for n, user in enumerate(portion.ids):
            stored = opened.users.get(user)
            rows = {"predicted": stored.predicted, "dislikes": stored.history.told(1)[::-1][:20]}
            rows["liked"] = stored.history.told(-1)[::-1][:20]
            lists = {name: [opened.index.id(row) for row in own.tolist()] for name, own in rows.items()}
            rest = (float(portion.biases[n]), portion.vectors[n].tolist())
            found[user] = {**lists, "rest": rest, "activity": int(portion.activity[n])}
    return found


def changed_on(day: Path) -> set[str]:
    """Users whose history the day changes."""
    return set(users_with_news(pq.read_table(day)).tolist())


def copy_of(snapshots: Path, to: Path, version: str) -> Path:
    """The folder of snapshots as it was when `version` was in use."""
    shutil.copytree(snapshots, to)
    (to / "current").write_text(version + "\n")
    return to


def events_table(*rows: tuple) -> pa.Table:
    """EVENTS of (user, item, time, kind, reason)."""
    records = [dict(zip(("user_id", "item_id", "time", "kind", "reason"), row)) for row in rows]
    return pa.Table.from_pylist(records, schema=EVENTS)


def last_time(live: LiveRun):
    return pc.max(pq.read_table(live.run / "prepare" / "events.parquet")["time"]).as_py()


def test_the_first_set_knows_everybody_with_a_dislike(live: LiveRun, day_by_day) -> None:
    snapshots, done = day_by_day
    events = pq.read_table(live.run / "prepare" / "events.parquet")
    dislikes = events.filter(pc.equal(events["kind"], "dislike"))
    users = users_of(snapshots / done[0].version)
    assert users.keys() == set(dislikes["user_id"].to_pylist())
    assert done[0].users == done[0].recomputed == len(users)
    manifest = published.read_manifest(snapshots / done[0].version)
    assert manifest.made_from["cutoff"].startswith(str(last_time(live).date() + timedelta(days=1)))
    made_by = json.loads((live.run / "filter" / "seed0" / "manifest.json").read_text())  # the same libraries, here
    assert (manifest.made_from["seed"], manifest.made_from["versions"]) == (0, made_by["versions"])
    for user, known in users.items():
        mine = dislikes.filter(pc.equal(dislikes["user_id"], user)).sort_by([("time", "descending")])
        assert known["dislikes"] == mine["item_id"].to_pylist()[:20]
        assert len(known["predicted"]) == 20
        assert not set(known["predicted"]) & set(mine["item_id"].to_pylist())


def test_a_reason_names_values_and_the_score_moves_by_what_they_add(live: LiveRun, day_by_day) -> None:
    snapshots, done = day_by_day
    loaded = CoNRecFilter.load(snapshots / done[0].version, Guardrails(0, 1.0), threshold=-1000.0)
    known, users = read_live(live.run, snapshots, [], []), users_of(snapshots / done[0].version)
    fields, content = joined(fields_of(known.items), known.traits), unit_rows(known.embeddings)
    space, ids = HistoryScore.load(live.run / "score" / "seed0").space, known.items["item_id"].to_pylist()
    seen = cited = 0
    for user in sorted(users)[:20]:
        vector = np.array(users[user]["rest"][1], np.float32)
        for row, why in enumerate(loaded.filter(user, ids).why):
            told = [one for one in why.contributions if one.kind == "value"]
            for one in told:
                name, value = one.name.split(": ")
                left = [part for part in SEPARATOR.split(fields[row][name]) if part.lower() != value]
                less = {key: text for key, text in (fields[row] | {name: "|".join(left)}).items() if text}
                here, there = (space.of([own], content[row : row + 1])[0] for own in (fields[row], less))
                assert (here - there) @ vector[-space.dimensions :] == pytest.approx(one.amount, rel=0.02, abs=0.01)
                seen += 1
                cited += one.past_item is not None
                if one.past_item is not None:
                    assert one.past_item in users[user]["dislikes"]
                    its = fields[ids.index(one.past_item)][name]
                    assert value in [part.lower() for part in SEPARATOR.split(its)]
    assert seen > 1000
    assert cited > seen / 10


def test_day_by_day_is_the_same_as_all_days_at_once(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    pytest.importorskip("fsspec").filesystem("memory").pipe("/live/last.parquet", live.days[-1].read_bytes())
    together = [*live.days[:-1], "memory://live/last.parquet"]
    at_once = refresh(live.run, live.recipe, snapshots=tmp_path / "at_once", events=together)
    by_day, whole = users_of(snapshots / done[-1].version), users_of(tmp_path / "at_once" / at_once.version)
    assert by_day.keys() == whole.keys()
    # Who changed on the last day was asked about on the same day; the others keep what was predicted on theirs.
    last = changed_on(live.days[-1]) & by_day.keys()
    assert len(last) == done[-1].recomputed > 10
    assert {user: by_day[user] for user in last} == {user: whole[user] for user in last}
    for user in by_day:
        for name in ("dislikes", "liked", "activity"):
            assert by_day[user][name] == whole[user][name]


def test_only_changed_users_are_made_anew(live: LiveRun, day_by_day) -> None:
    snapshots, done = day_by_day
    for n, day in enumerate(live.days):
        before, after = users_of(snapshots / done[n].version), users_of(snapshots / done[n + 1].version)
        changed = changed_on(day)
        same = [user for user in before if user not in changed]
        assert len(same) > 10
        assert all(before[user] == after[user] for user in same)
        assert done[n + 1].recomputed == len(changed & after.keys())
        assert done[n + 1].users == len(after)
        account = done[n + 1].account
        assert account["read"] == account["kept"] + sum(account["dropped"].values()) == pq.read_metadata(day).num_rows


def test_the_same_day_again_changes_nothing(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    there = {path: path.stat().st_mtime_ns for path in snapshots.rglob("*") if path.is_file() and path.name != ".lock"}
    for events in (None, live.days[-1], live.days[0]):
        again = refresh(live.run, live.recipe, snapshots=snapshots, events=events)
        assert (again.version, again.changed, again.recomputed) == (done[-1].version, False, 0)
        assert "nothing is new" in str(again)
    # The same rows in another file, too: all are duplicates.
    table = pq.read_table(live.days[-1])
    pa_csv.write_csv(table, tmp_path / "day.csv")
    again = refresh(live.run, live.recipe, snapshots=snapshots, events=tmp_path / "day.csv")
    assert (again.version, again.changed) == (done[-1].version, False)
    assert again.account["kept"] == 0
    assert {"duplicate"} <= again.account["dropped"].keys()
    assert {p: p.stat().st_mtime_ns for p in snapshots.rglob("*") if p.is_file() and p.name != ".lock"} == there


def test_back_to_the_day_before_and_on_again(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[-1].version)
    assert roll_back(snapshots) == done[2].version == published.current(snapshots)
    # Its own log came back with it.
    assert refresh(live.run, live.recipe, snapshots=snapshots).version == done[2].version
    again = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[2])
    assert again.version > done[3].version
    assert users_of(snapshots / again.version) == users_of(snapshots / done[3].version)
    assert roll_back(snapshots) == done[2].version  # not to the version that was given up
    assert [roll_back(snapshots), roll_back(snapshots)] == [done[1].version, done[0].version]
    with pytest.raises(ConrecError, match="nothing to go back to"):
        roll_back(snapshots)
    with pytest.raises(ConrecError, match="nothing was published"):
        roll_back(tmp_path / "none")


def test_only_so_many_versions_stay_and_parts_go_with_them(live: LiveRun, tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    first = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[0], keep=1)
    second = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[1], keep=1)
    assert published.versions(snapshots) == [second.version] != [first.version]
    assert len([p for p in (snapshots / "live").iterdir() if p.is_dir()]) == 2  # both days are its log
    with pytest.raises(ConrecError, match="not kept"):
        roll_back(snapshots)


MOMENTS = ("ingest", "put_in_place", "use")
KILLED = """
import os, pathlib, sys
import conrec.deploy.refresh as job
from conrec.filter import snapshot as published
from conrec.run import open_run

run, day, *folders = map(pathlib.Path, sys.argv[1:])
for name, snapshots in zip(%r, folders):
    child = os.fork()
    if not child:  # killed where it would rename the delta, seal the snapshot, put it into use
        place = pathlib.Path if name == "ingest" else published
        setattr(place, "rename" if name == "ingest" else name, lambda *_: os._exit(137))
        job.refresh(run, open_run(run)[0], snapshots=snapshots, events=day)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_killed_in_between_the_old_set_stays_and_the_next_call_repairs(
    live: LiveRun, day_by_day, tmp_path: Path
) -> None:
    snapshots, done = day_by_day
    copies = [copy_of(snapshots, tmp_path / name, done[1].version) for name in MOMENTS]
    for copy in copies:
        for version in (done[2].version, done[3].version):
            shutil.rmtree(copy / version)
    command = [sys.executable, "-c", KILLED % (MOMENTS,), str(live.run), str(live.days[1]), *map(str, copies)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert killed.stdout.split() == ["137"] * 3, killed.stderr[-2000:]
    expected = users_of(snapshots / done[2].version)
    for copy in copies:
        assert published.current(copy) == done[1].version
        assert CoNRecFilter.load(copy).version == done[1].version
        again = refresh(live.run, live.recipe, snapshots=copy, events=live.days[1])
        assert again.changed
        assert users_of(copy / again.version) == expected
        assert not list(copy.rglob(".*.partial"))
        named = set(published.read_manifest(copy / again.version).made_from["deltas"])
        assert {p.name for p in (copy / "live").iterdir() if p.is_dir()} == named


def test_new_items_get_ids_of_their_own_and_take_part(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[-1].version)
    without = refresh(
        live.run, live.recipe, snapshots=copy_of(snapshots, tmp_path / "x", done[-1].version), events=live.their_events
    )
    assert without.account["dropped"] == {"unknown_item": pq.read_metadata(live.their_events).num_rows}
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=live.their_events, items=live.items)
    assert result.account["items"]["kept"] == pq.read_metadata(live.items).num_rows
    assert "unknown_item" not in result.account["dropped"]
    before, after = (
        pq.read_table(snapshots / version / "items.parquet") for version in (done[-1].version, result.version)
    )
    assert after.slice(0, len(before)).equals(before)  # nobody moved
    assert len(after) == len(before) + pq.read_metadata(live.items).num_rows
    codes = [tuple(code) for code in after["codes"].to_pylist()]
    assert len(set(codes)) == len(codes)
    new = after["item_id"].to_pylist()[len(before) :]
    # Most people dislike one of them; now it is predicted for more of those who do not, whose history changed, too.
    records = users_of(snapshots / result.version)
    some, others = list(records)[:40], list(records)[40:]
    time = last_time(live) + timedelta(days=5)
    rows = [(user, before["item_id"][0].as_py(), time, "click") for user in some]
    pq.write_table(events_table(*((user, new[0], time, "dislike") for user in others), *rows), tmp_path / "day.parquet")
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=tmp_path / "day.parquet")
    told = users_of(snapshots / result.version)
    predicted = [sum(new[0] in those[user]["predicted"] for user in some) for those in (records, told)]
    assert predicted[0] < predicted[1]
    user = next(iter(users_of(snapshots / result.version)))
    decision = CoNRecFilter.load(snapshots).filter(user, [*new, "never seen"])
    assert decision.unknown_items == 1
    assert all(score is not None for score in decision.scores[:-1])
    # Their traits are those that training knows, as those of the items before are.
    deltas = published.read_manifest(snapshots / result.version).made_from["deltas"]
    known = read_live(live.run, snapshots, deltas, [])
    frozen = TraitEncoder.load(live.run / "compress" / "codebook", None)
    assert known.traits == frozen.encode(content_of(known.items, live.run / "prepare"))
    assert all("trait" in own for own in known.traits[len(before) :])
    # The next day builds on it, and the catalogue once more is nothing new.
    assert not refresh(live.run, live.recipe, snapshots=snapshots, items=live.items).changed


def test_damage_is_not_passed_on(live: LiveRun, day_by_day, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[1].version)
    whole = users_of(snapshots / done[1].version)
    records = np.load(snapshots / done[1].version / "users" / "records.npy", mmap_mode="r+")
    records["bias"][0] = 100
    records.flush()
    again = refresh(live.run, live.recipe, snapshots=snapshots)  # nothing is new, and yet there is something to mend
    assert "records.npy: damaged" in capsys.readouterr().err
    assert (again.changed, again.recomputed, again.users) == (True, len(whole), len(whole))
    after = users_of(snapshots / again.version)
    assert after.keys() == whole.keys()
    assert max(known["rest"][0] for known in after.values()) < 50
    assert {user: after[user]["dislikes"] for user in after} == {user: whole[user]["dislikes"] for user in whole}
    # A day that was ingested is nowhere else: what is made from it must not be another than it was.
    (delta,) = published.read_manifest(snapshots / again.version).made_from["deltas"]
    events = snapshots / "live" / delta / "events.parquet"
    pq.write_table(pq.read_table(events).slice(1), events)
    with pytest.raises(ConrecError, match=r"events\.parquet: .*roll back"):
        refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[1])
    assert published.current(snapshots) == again.version


def test_users_that_redis_lost_are_made_anew(live: LiveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = pytest.importorskip("redis", reason="the extra `redis` is not installed")
    snapshots = tmp_path / "snapshots"
    for url in redis_server(tmp_path):
        monkeypatch.setenv("CONREC_REDIS", url)
        first = refresh(live.run, live.recipe, snapshots=snapshots, store="redis")
        client = redis.Redis.from_url(url)
        client.delete(*sorted(client.scan_iter("conrec:*"))[:20])
        day = refresh(live.run, live.recipe, snapshots=snapshots, events=live.days[0])
        assert day.users == day.recomputed >= first.users
        assert len(users_of(snapshots / day.version)) == day.users


def test_a_dislike_taken_back_goes_with_its_consequences(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[0].version)
    users = users_of(snapshots / done[0].version)
    user = max(users, key=lambda name: len(users[name]["dislikes"]))
    single = next(name for name in users if len(users[name]["dislikes"]) == 1)
    item = users[user]["dislikes"][0]
    undos = [Entry(user, item, "undo"), Entry(single, users[single]["dislikes"][0], "undo")]
    assert CoNRecFilter.load(snapshots).record(undos) == 2
    result = refresh(live.run, live.recipe, snapshots=snapshots)
    assert (result.changed, result.recomputed, result.users) == (True, 1, len(users) - 1)
    after = users_of(snapshots / result.version)
    assert single not in after
    assert item not in after[user]["dislikes"]
    assert after[user]["dislikes"][:19] == users[user]["dislikes"][1:]
    assert after[user]["activity"] == users[user]["activity"] - 1
    assert all(after[name] == users[name] for name in after if name != user)
    assert not refresh(live.run, live.recipe, snapshots=snapshots).changed
    assert [one.item_id for one in CoNRecFilter.load(snapshots).user(user).undone] == [item]

    # Disliked again on a later day, it counts again.
    day = tmp_path / "day.parquet"
    later = last_time(live) + timedelta(days=400)
    pq.write_table(events_table(*((u, item, later, "dislike") for u in (user, "another", "a third"))), day)
    refresh(live.run, live.recipe, snapshots=snapshots, events=day)
    assert users_of(snapshots / published.current(snapshots))[user]["dislikes"][0] == item


def test_dislikes_and_undos_merge_in_any_order() -> None:
    def at(hour: int):
        return (np.datetime64("2026-01-01", "us") + np.timedelta64(hour, "h")).item()

    log = [("a", "x", 5, "dislike"), ("a", "x", 5, "click"), ("b", "x", 5, "dislike"), ("a", "y", 5, "dislike")]
    said = [
        ("a", "x", 6, "undo"),
        ("a", "x", 9, "dislike"),  # again
        ("a", "x", 8, "dislike"),
        ("b", "x", 4, "undo"),  # of an earlier one
        ("a", "y", 5, "dislike"),  # the platform's log and the service tell of the same
        ("c", "z", 24 * 90, "dislike"),  # a clock that is wrong
    ]
    expected = [log[1], log[2], log[3], ("a", "x", 8, "dislike"), ("c", "z", 5, "dislike")]
    mark = ("a", "x", 7, "dislike", "seen_or_bought")
    for rows in (said, said[::-1], said[3:] + said[:3] + said):
        table = events_table(*((u, i, at(h), k) for u, i, h, k in rows), (*mark[:2], at(7), *mark[3:]))
        events, marks = merged(events_table(*((u, i, at(h), k) for u, i, h, k in log)), table)
        found = zip(*(events[name].to_pylist() for name in ("user_id", "item_id", "time", "kind")))
        assert sorted((u, i, t.replace(tzinfo=None), k) for u, i, t, k in found) == sorted(
            (u, i, at(h), k) for u, i, h, k in expected
        )
        assert [(row["user_id"], row["item_id"], row["reason"]) for row in marks.to_pylist()] == [("a", "x", mark[4])]


def test_a_calibration_makes_a_new_version_without_new_predictions(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[1].version)
    run = tmp_path / "run"
    shutil.copytree(live.run, run)
    made = calibrate(run, live.recipe, likes_lost=0.3, confidence=None)
    result = refresh(run, live.recipe, snapshots=snapshots)
    assert (result.changed, result.recomputed) == (True, 0)
    assert users_of(snapshots / result.version) == users_of(snapshots / done[1].version)
    user = next(iter(users_of(snapshots / result.version)))
    assert CoNRecFilter.load(snapshots).filter(user, ["x"]).threshold == pytest.approx(made.threshold)
    assert not refresh(run, live.recipe, snapshots=snapshots).changed
    table = json.loads((run / "calibration.json").read_text())
    table["evidence"]["scores"] = "those of another run"
    (run / "calibration.json").write_text(json.dumps(table))
    with pytest.raises(ConrecError, match="made from other scores"):
        refresh(run, live.recipe, snapshots=snapshots)
    (run / "calibration.json").write_text("{}")
    with pytest.raises(ConrecError, match="run conrec calibrate again"):
        refresh(run, live.recipe, snapshots=snapshots)


def test_what_is_held_waits_and_the_next_day_goes_on_from_it(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots, run = copy_of(snapshots, tmp_path / "snapshots", done[0].version), tmp_path / "run"
    for one in done[1:]:
        shutil.rmtree(snapshots / one.version)
    shutil.copytree(live.run, run)
    calibrate(run, live.recipe, likes_lost=0.3, confidence=None)
    calibrated = refresh(run, live.recipe, snapshots=snapshots, max_change=1.0)
    assert (calibrated.changed, calibrated.held) == (True, None)  # it hides more than before, as it was told to
    held = refresh(run, live.recipe, snapshots=snapshots, events=live.days[0], max_change=1.0)
    assert "it would hide" in str(held.held)
    assert published.current(snapshots) == calibrated.version != held.version
    again = refresh(run, live.recipe, snapshots=snapshots, events=live.days[0])
    assert (again.version, again.changed, again.held) == (held.version, False, held.held)
    with pytest.raises(SystemExit, match="3"):
        main(["refresh", str(run), "--snapshots", str(snapshots)])
    day = refresh(run, live.recipe, snapshots=snapshots, events=live.days[1])
    assert (day.held, published.held(snapshots), published.current(snapshots)) == (None, None, day.version)
    assert users_of(snapshots / day.version) == users_of(
        day_by_day[0] / done[2].version
    )  # of both days nothing is lost
    assert roll_back(snapshots) == calibrated.version
    with pytest.raises(ConrecError, match="--max-change"):
        refresh(run, live.recipe, snapshots=snapshots, max_change=0.5)


def test_the_merged_log_can_be_trained_on(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[-1].version)
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=live.their_events, items=live.items)
    another = tmp_path / "another"
    shutil.copytree(live.run, another)
    (another / "compress" / "quality.json").write_text("{}")
    with pytest.raises(ConrecError, match=r"compress: damaged .* run compress again with --force"):
        write_merged(another, live.recipe, snapshots, tmp_path / "merged")
    outputs = outputs_digest(another / "compress")
    manifest = json.loads((another / "compress" / "manifest.json").read_text()) | {"outputs": outputs}
    (another / "compress" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConrecError, match="made from another run"):
        write_merged(another, live.recipe, snapshots, tmp_path / "merged")
    recipe = write_merged(live.run, live.recipe, snapshots, tmp_path / "merged")
    loaded = load_recipe(recipe)
    run = tmp_path / "retrained"
    run_stages((), loaded, run, tmp_path / "merged", None, begin=True)
    run_stages(STAGES, loaded, run, tmp_path / "merged", last="prepare")
    merged = pq.read_table(tmp_path / "merged" / "events.parquet")
    prepared = pq.read_table(run / "prepare" / "events.parquet")
    marks = pq.read_table(run / "prepare" / "rejected.parquet")  # which are marked in the new run, too
    assert len(merged) == len(prepared) + len(marks)
    assert set(marks["cause"].to_pylist()) <= {f"reason_{reason}" for reason in OTHER_REASONS}
    days = sum(one.account["kept"] for one in (*done[1:], result))
    assert len(prepared) == pq.read_metadata(live.run / "prepare" / "events.parquet").num_rows + days
    assert len(pq.read_table(run / "prepare" / "items.parquet")) == len(
        pq.read_table(tmp_path / "merged" / "items.parquet")
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("user_id,item_id,time,kind\nu,i,2026-05-01,hated\n", ("day.csv", "row 1", "'hated'")),
        ("user_id,item_id,time,kind,reason\nu,i,2026-05-01,dislike,ugly\n", ("day.csv", "row 1", "'ugly'")),
        ("user_id,item_id,when,kind\nu,i,2026-05-01,dislike\n", ("day.csv", "no column 'time'")),
        ("user_id,item_id,time,kind\n,i,2026-05-01,click\n", ("day.csv", "row 1", "no user id")),
        (
            "user_id,item_id,time,kind\nu,i,2126-05-01,dislike\nv,i,2126-05-01,click\n",
            ("day.csv", "2126-05-01", "400 days"),
        ),
        ("user_id,item_id,time,kind\nu,i,1970-01-01,dislike\n", ("day.csv", "1970-01-01", "400 days")),
        (f"user_id,item_id,time,kind\n{'u' * 600},i,2026-05-01,dislike\n", ("day.csv", "row 1", "511 bytes")),
        ("", ("day.csv", "empty")),
        (None, ("day.csv", "there is no such file")),
    ],
)
def test_a_day_that_cannot_be_used_is_named_in_one_line(
    live: LiveRun, day_by_day, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, parts: tuple
) -> None:
    snapshots, done = day_by_day
    day = tmp_path / "day.csv"
    if text is not None:
        day.write_text(text)
    assert main(["refresh", str(live.run), "--snapshots", str(snapshots), "--events", str(day)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(part in error for part in parts), error
    assert published.current(snapshots) == done[-1].version


def test_rows_that_cannot_be_used_are_accounted_for(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[0].version)
    users = users_of(snapshots / done[0].version)
    user = next(iter(users))
    old, new = users[user]["dislikes"][0], users[user]["predicted"][0]
    time = last_time(live) + timedelta(hours=1)
    rows = [
        (user, new, time.isoformat(), "dislike", "not_this_product"),
        (user, new, time.isoformat(), "click", ""),
        (user, old, time.isoformat(), "dislike", ""),
        (user, users[user]["predicted"][1], time.isoformat(), "dislike", "counterfeit"),
        (user, "no such item", time.isoformat(), "click", ""),
    ]
    text = "user_id,item_id,time,kind,reason\n" + "".join(",".join(row) + "\n" for row in rows)
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=write(tmp_path / "day.csv", text))
    account = result.account
    assert (account["read"], account["kept"]) == (5, 1)
    assert sum(account["dropped"].values()) == 4
    for cause in ("positive_while_disliking", "repeated_dislike", "reason_counterfeit", "unknown_item"):
        assert account["dropped"][cause] == 1
    assert "5 read, 1 kept" in str(result)
    assert users_of(snapshots / result.version)[user]["dislikes"][:2] == [new, old]


def test_a_clock_that_is_wrong_moves_nobody(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[-1].version)
    (user, *_), before = users_of(snapshots / done[-1].version), published.read_manifest(snapshots / done[-1].version)
    item = pq.read_table(live.run / "prepare" / "items.parquet")["item_id"][0].as_py()
    ahead = last_time(live) + timedelta(days=300)
    pq.write_table(events_table((user, item, ahead, "exposure")), tmp_path / "day.parquet")
    alone = refresh(live.run, live.recipe, snapshots=snapshots, events=tmp_path / "day.parquet")
    assert (alone.changed, alone.account["dropped"]) == (False, {"time_leap": 1})
    text = "user_id,item_id,time,kind\n" + f"{user},{item},{ahead.isoformat()},exposure\n,{item},2026-05-01,click\n"
    text += "".join(f"new{n},{item},{(last_time(live) + timedelta(days=4)).isoformat()},dislike\n" for n in range(39))
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=write(tmp_path / "day.csv", text))
    assert (result.changed, result.account["kept"]) == (True, 39)
    assert result.account["dropped"] == {"no user id": 1, "time_leap": 1}
    after = published.read_manifest(snapshots / result.version)
    assert before.made_from["cutoff"] < after.made_from["cutoff"] < f"{last_time(live) + timedelta(days=6)}"
    (delta,) = set(after.made_from["deltas"]) - set(before.made_from["deltas"])
    rejected = pq.read_table(snapshots / "live" / delta / "rejected.parquet").to_pylist()
    assert sorted((row["cause"], row["row"]) for row in rejected) == [("no user id", 2), ("time_leap", None)]


def test_a_quiet_night_and_a_quote_too_few(live: LiveRun, day_by_day, tmp_path: Path) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[-1].version)
    quiet = refresh(
        live.run, live.recipe, snapshots=snapshots, events=write(tmp_path / "day.csv", "user_id,item_id,time,kind\n")
    )
    assert (quiet.changed, quiet.account["read"], quiet.account["dropped"]) == (False, 0, {})
    item = pq.read_table(live.run / "prepare" / "items.parquet")["item_id"][0].as_py()
    time = (last_time(live) + timedelta(days=4)).isoformat()
    lines = [f"new{n},{item},{time},dislike,ok\n" for n in range(50)]
    lines[3] = lines[3].replace(",ok", ',"too loud')
    text = "user_id,item_id,time,kind,comment\n" + "".join(lines)
    result = refresh(live.run, live.recipe, snapshots=snapshots, events=write(tmp_path / "quote.csv", text))
    assert (result.account["read"], result.account["kept"]) == (50, 49)
    assert {f"new{n}" for n in range(50) if n != 3} <= users_of(snapshots / result.version).keys()


def test_mistakes_on_the_command_line(
    live: LiveRun, day_by_day, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshots, done = day_by_day
    run = str(live.run)

    def fails(*words: str) -> str:
        assert main(["refresh", *words]) == 2
        (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("conrec: ")]
        return error

    assert "--keep 0" in fails(run, "--snapshots", str(snapshots), "--keep", "0")
    assert "each stand alone" in fails(run, "--rollback", "--events", "x.csv")
    assert "nothing was published" in fails(run, "--snapshots", str(tmp_path / "none"), "--rollback")
    assert "bring the run as far as filter" in fails(run, "--seed", "5", "--snapshots", str(tmp_path / "none"))
    with published.writing(snapshots):  # another job is at it
        assert "works in this folder" in fails(
            run, "--snapshots", str(snapshots), "--events", str(live.their_events), "--items", str(live.items)
        )
    assert published.current(snapshots) == done[-1].version


def test_the_verb(live: LiveRun, day_by_day, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshots, done = day_by_day
    snapshots = copy_of(snapshots, tmp_path / "snapshots", done[2].version)
    assert main(["refresh", str(live.run), "--snapshots", str(snapshots), "--events", str(live.days[2])]) == 0
    printed = capsys.readouterr().out
    assert f"{published.current(snapshots)} in use" in printed
    assert "read" in printed
    assert main(["refresh", str(live.run), "--snapshots", str(snapshots), "--rollback"]) == 0
    assert capsys.readouterr().out == f"{done[2].version} in use\n"
    assert main(["refresh", str(live.run), "--snapshots", str(snapshots), "--merged", str(tmp_path / "merged")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "merged" / "recipe.toml")


def test_inputs_are_known_by_their_contents(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", "a"), write(tmp_path / "two", "a")
    assert input_digest(Tables((one,))) == input_digest(Tables((two,))) != input_digest(Tables((), (one,)))
