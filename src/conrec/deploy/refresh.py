"""The daily job: a new day of log in, a new snapshot of predictions out (the paper's offline side of figure 4).

Every call ends in a published snapshot (`filter.snapshot`) or changes nothing. docs/daily_job.md says what is predicted
again and what is carried over from the snapshot before. Nothing is trained. A run that was trained anew begins anew
here, too: its first call publishes all its users.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.config import DataConfig, Recipe
from conrec.data.histories import Histories
from conrec.data.instances import as_events, as_items
from conrec.data.sources import Sources, Tables, at_hand, named, told_by_address
from conrec.data.split import Split
from conrec.data.trust import counted_from
from conrec.deploy.change import DAYS, hides_more
from conrec.deploy.live import Live, changed_users, drop_events, ingest, input_digest, read_delta, read_live
from conrec.deploy.own_histories import OwnHistories
from conrec.deploy.served import calibrations, served_probability, served_score
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.files import lock, value_digest
from conrec.filter import snapshot as published
from conrec.filter.feedback import Feedback
from conrec.filter.publish import SnapshotItems, SnapshotWriter
from conrec.filter.stores import StoreName, drop_users, open_users
from conrec.filter.user_store import Users
from conrec.items.fields import fields_of
from conrec.items.traits import joined
from conrec.parallel import map_parts
from conrec.pipeline.build import sound, versions
from conrec.progress import say
from conrec.report.texts import sentences
from conrec.run import examine_stages, open_run, pseudonyms_of, stages_of
from conrec.score.history import HistoryScore
from conrec.score.item_values import ItemValues
from conrec.score.user_side import user_side
from conrec.sid.catalog import unit_rows
from conrec.stages.compress import pictures_of
from conrec.toml import to_toml

USERS_AT_ONCE = 10_000
STAGES = ("prepare", "compress", "utilize", "score", "predict", "filter")
"""What a snapshot is made from, as far as the run has it."""


@dataclass(frozen=True)
class Refreshed:
    """What a call of `refresh` did."""

    version: str
    """The snapshot in use."""
    changed: bool
    """Whether it is a new one."""
    users: int
    recomputed: int
    """Users whose predictions were updated."""
    account: dict[str, Any] | None
    """What became of every row of the input; None without one."""
    held: str | None = None
    """Why the version is not in use but waits for `accept`."""

    def __str__(self) -> str:
        return str(sentences("deploy/refresh.txt").refreshed(self))


def refresh(
    run: Path,
    recipe: Recipe,
    *,
    snapshots: Path | None = None,
    events: Sources | None = None,
    items: Sources | None = None,
    images: Path | None = None,
    keep: int = 7,
    keep_days: int | None = None,
    seed: int | None = None,
    store: StoreName | None = None,
    max_change: float = math.inf,
    forget: str | None = None,
) -> Refreshed:
    """Ingest a day (files of events and of items, either may be missing) and put a new snapshot into use.

    snapshots: where, `run/snapshots` if None; keep: that many versions stay; keep_days: what is older than so many days
    before the log's last event counts no more, and is deleted (None: nothing); store: where the users go (None: as
    before, first memory-mapped); max_change: a version that would hide more than so many times as much
    (`deploy.change`) is held, and the next one goes on from it; forget: a user who is not carried over. ConrecError
    for a run that has not come as far as its filter stage, for files that cannot be used (with the row), and where
    another job works in `snapshots`.
    """
    if keep < 1:
        raise ConrecError(f"--keep {keep}: at least 1 version must stay")
    if keep_days is not None and keep_days < 1:
        raise ConrecError(f"--keep-days {keep_days}: at least 1 day must stay")
    if not max_change >= 1:
        raise ConrecError(f"--max-change {max_change}: a factor of 1 or more; inf holds nothing")
    snapshots = run / "snapshots" if snapshots is None else snapshots
    seed = recipe.seeds[0] if seed is None else seed
    score, calibration = served_score(run, seed), calibrations(run, seed)
    names = [f"{role}={source}" for role, some in (("events", events), ("items", items)) for source in named(some)]
    with lock(snapshots / "live" / ".lock"), TemporaryDirectory() as copies, told_by_address(Path(copies)):
        in_use, held = _in_use(snapshots), published.held(snapshots)
        latest = published.read_manifest(snapshots / held[0]) if held else in_use
        # A snapshot of another run has nothing that could be carried over.
        base = _base(run, recipe, seed)
        before = latest if latest is not None and latest.made_from.get("base") == base else None
        state = before.made_from if before is not None else None
        if forget and state is None:
            raise ConrecError(f"{snapshots}: made from another run than {run}; refresh it first, then forget again")
        _remove_orphans(snapshots)
        feedback = Feedback(snapshots)
        entries = feedback.until(feedback.position())
        position = max(entries[-1].position if entries else 0, state["feedback"] if state else 0)
        deltas: list[str] = list(state["deltas"]) if state else []
        day = at_hand(names, Path(copies))
        digest = input_digest(day) if isinstance(day, Tables) else None
        ingested = {read_delta(snapshots / "live" / name)["input"]: name for name in deltas}
        made_from = {
            "base": base,
            "seed": seed,
            "versions": versions(),
            "deltas": deltas,
            "feedback": position,
            "calibration": calibration and value_digest(calibration),
            "parent": in_use.version if in_use is not None else None,
        }
        if pseudonyms := pseudonyms_of(run, recipe):
            made_from["pseudonyms"] = pseudonyms.fingerprint
        if keep_days is not None:
            made_from["keep_days"] = keep_days
        told = ("base", "deltas", "feedback", "calibration", "keep_days")
        damage = None if before is None else _damage(snapshots / before.version, before)
        if damage:
            say(f"{damage}: nothing is carried over from it, all users are made anew")
        nothing_new = (
            state is not None and not (damage or forget) and all(state.get(n) == made_from.get(n) for n in told)
        )
        known = digest is None or digest in ingested
        account = read_delta(snapshots / "live" / ingested[digest])["account"] if digest in ingested else None
        if before is not None and nothing_new and known:
            return Refreshed(before.version, False, before.users["count"], 0, account, held and held[1])

        live = read_live(run, snapshots, deltas, entries, keep_days)
        if isinstance(day, Tables) and not known:
            delta, account = ingest(snapshots, deltas, live, run, recipe, day, images)
            if delta is not None:
                made_from["deltas"] = deltas = [*deltas, delta]
                live = read_live(run, snapshots, deltas, entries, keep_days)
            elif before is not None and nothing_new:
                return Refreshed(before.version, False, before.users["count"], 0, account, held and held[1])
        made_from["cutoff"], made_from["end"] = f"{live.cutoff}Z", int(live.end.astype(np.int64))
        made_from |= {"since": live.since} if keep_days is not None else {}
        if calibration is None:
            say(f"{run}: no calibration.json, so this snapshot drops nothing; run conrec calibrate and refresh again")
        changed = None
        if state is not None and not damage and state.get("keep_days") == keep_days:
            new = [entry for entry in entries if entry.position > state["feedback"]]
            changed = changed_users(snapshots, deltas[len(state["deltas"]) :], new, live.past, state.get("since", 0))
            changed = changed if forget is None else np.union1d(changed, [forget])
        store = store or (in_use.users["store"] if in_use is not None else "mapped")
        alarm = None
        if in_use is not None and not damage and max_change < math.inf:
            alarm = partial(hides_more, snapshots / in_use.version, max_change, in_use.made_from.get("base") == base)
        job = _Job(run, recipe, seed, snapshots, live, score, calibration)
        version, users, recomputed = job.publish(before, changed, made_from, keep, store, alarm)
        _remove_orphans(snapshots)
        _drop_old(snapshots)
        held = published.held(snapshots)
    return Refreshed(version, True, users, recomputed, account, held and held[1])


def examine(run: Path, snapshots: Path) -> Iterator[tuple[str, str]]:
    """Each stage of a run and each published version, and how it is damaged or stale; empty: it is neither."""
    yield from examine_stages(run)
    there = {*published.versions(snapshots)}
    for version in sorted(there and {*there, published.current(snapshots) or "current"}):
        try:
            manifest = published.read_manifest(snapshots / version)
            made, told = manifest.made_from, _damage(snapshots / version, manifest)
            for delta in (snapshots / "live" / name for name in made.get("deltas", ())):
                published.check(delta, read_delta(delta)["files"], "all")
            base = version == published.current(snapshots) and _base(run, open_run(run)[0], made.get("seed", 0))
            yield version, told or (base and base != made.get("base") and f"stale: not of {run} as it is now") or ""
        except ConrecError as error:
            yield version, str(error)


def accept(snapshots: Path) -> str:
    """Put the snapshot that is held into use; its version."""
    with lock(snapshots / "live" / ".lock"):
        if (held := published.held(snapshots)) is None:
            raise ConrecError(f"{snapshots}: nothing is held here, so there is nothing to accept")
        published.use(snapshots, held[0])
    return held[0]


def roll_back(snapshots: Path) -> str:
    """Put the snapshot that the one in use was made after back into use, with the log it knew; its version. Where one
    is held, that is given up instead."""
    if published.current(snapshots) is None:
        raise ConrecError(f"{snapshots}: nothing was published here yet, so there is nothing to go back to")
    with lock(snapshots / "live" / ".lock"):
        in_use = _in_use(snapshots)
        assert in_use is not None
        if held := published.held(snapshots):
            drop_users(published.read_manifest(snapshots / held[0]))
            published.remove(snapshots, held[0])
            published.use(snapshots, in_use.version)
            return in_use.version
        parent = in_use.made_from.get("parent")
        if parent not in published.versions(snapshots):
            what = f"what came before {in_use.version} is not kept"
            raise ConrecError(f"{snapshots}: {what}; there is nothing to go back to")
        published.use(snapshots, parent)
    return str(parent)


def write_merged(run: Path, recipe: Recipe, snapshots: Path, out: Path) -> Path:
    """The log so far as a log to train on: events.parquet, items.parquet and a recipe.toml that reads them.

    Pictures are in the items file, as bytes. Returns the recipe's path. ConrecError where the snapshot in use is of
    another run.
    """
    in_use, feedback = _in_use(snapshots), Feedback(snapshots)
    if in_use is not None:
        seed = in_use.made_from.get("seed", recipe.seeds[0])
        if in_use.made_from.get("base") != _base(run, recipe, seed):
            raise ConrecError(f"{snapshots}: {in_use.version} was made from another run than {run}; name that one")
    deltas = in_use.made_from["deltas"] if in_use is not None else []
    keep_days = in_use.made_from.get("keep_days") if in_use is not None else None
    live = read_live(run, snapshots, deltas, feedback.until(feedback.position()), keep_days)
    found = pictures_of(live.items, run / "prepare")
    pictures = [(one.read_bytes() if one.is_file() else None) if isinstance(one, Path) else one for one in found]
    table = live.items.drop_columns(["image", "image_bytes"])
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.append_column("image", pa.array(pictures, pa.large_binary())), out / "items.parquet")
    pq.write_table(pa.concat_tables([live.events, live.marks]), out / "events.parquet")
    data = DataConfig("generic", min_user_dislikes=recipe.data.min_user_dislikes)
    (out / "recipe.toml").write_text(to_toml(replace(recipe, data=data)), encoding="utf-8")
    return out / "recipe.toml"


@dataclass(frozen=True)
class _Job:
    """One snapshot being made."""

    run: Path
    recipe: Recipe
    seed: int
    snapshots: Path
    live: Live
    score: HistoryScore
    calibration: dict[str, Any] | None

    def publish(
        self,
        before: published.Manifest | None,
        changed: np.ndarray | None,
        made_from: dict[str, Any],
        keep: int,
        store: StoreName,
        alarm: partial[str | None] | None,
    ) -> tuple[str, int, int]:
        """The version, its users and how many of them were updated: all, or `changed` (str) with the others from
        the snapshot `before`. alarm: why it is to be held, of its folder and the ids of users and items."""
        live, cutoff = self.live, self.live.cutoff
        items = as_items(live.items)
        events = as_events(live.events, items)
        split = Split.read(self.run / "prepare")
        # Split by users, what is known of the items is the whole log of known users; here that is who counts by now.
        everybody = events.take(counted_from(events) < cutoff).owners()[0] if split.mode == "users" else None
        fields = joined(fields_of(live.items, containers=split.by_category), live.traits)
        log_view = LogView(items, events, live.catalog, unit_rows(live.embeddings), fields, train_users=everybody)
        score = self.score.at(log_view, cutoff)
        histories = Histories(events)
        predictor = None
        if self.recipe.sid.levels:
            from conrec.deploy.predictor import Predictor  # imports torch

            predictor = Predictor(self.run, self.recipe, self.seed, log_view, split)
        catalogue = items.ids, items.titles, items.categories, live.catalog.codes
        values = ItemValues(self.score.space, fields, log_view.content) if any(fields) else None
        side = user_side(score.snapshot, self.score.regression, cutoff)
        contents = SnapshotItems(*catalogue, score.item_factors(), score.widths, values, side)
        own = OwnHistories(log_view, as_events(live.marks, items), self.score.exposed)
        users = recomputed = 0
        k, chance = self.recipe.predict.k if predictor else 0, served_probability(self.run, self.seed)
        with SnapshotWriter(
            self.snapshots, contents, k, self.calibration, made_from["feedback"], made_from, store, chance
        ) as writer:
            if before is not None and changed is not None:
                old, gone = open_users(self.snapshots / before.version, before), set(changed.tolist())
                for portion in old.portions():
                    stays = portion.take(np.flatnonzero([user not in gone for user in portion.ids]))
                    writer.add(replace(stays, histories=own.packed(stays.ids)))
                    users += len(stays)
                old.close()
            asked = histories.users(cutoff) if changed is None else changed
            config = self.recipe.split

            def computed(start: int) -> Users | None:
                names = asked[start : start + USERS_AT_ONCE]
                cutoffs = np.full(len(names), cutoff)
                some = histories.instances(names, cutoffs, config.max_dislikes, config.max_positives)
                # The replay that calibrates is of users with a dislike; of the others nothing was promised.
                some = some.take(some.n_dislikes > 0)
                if not len(some):
                    return None
                ids, nothing = some.users.tolist(), np.zeros((len(some), 0), np.int32)
                predicted = nothing if predictor is None else predictor.lists(some)
                activity = (some.n_dislikes + some.n_positives).astype(np.int32)
                return Users(ids, predicted, *score.user_factors(some), activity, own.packed(ids))

            portions = range(0, len(asked), USERS_AT_ONCE)
            for portion in filter(None, map_parts(computed, portions, "users", gpu=predictor is not None)):
                writer.add(portion)
                users += len(portion)
                recomputed += len(portion)
            others = np.setdiff1d(own.names, histories.users(cutoff))
            for start in range(0, len(others), USERS_AT_ONCE):
                names = others[start : start + USERS_AT_ONCE].tolist()
                writer.add_histories(names, own.packed(names))
            asked, recent = histories.users(cutoff), np.unique(events.items[events.times >= cutoff - DAYS])
            shown = np.array(items.ids, str)[recent]
            version = writer.publish(keep, alarm and partial(alarm, users=asked, items=shown))
        return version, users, recomputed


def _base(run: Path, recipe: Recipe, seed: int) -> str:
    """What a snapshot is made from beside the days ingested: the run's stages.

    ConrecError where a stage is missing, or damaged: what is made from it would have a valid digest.
    """
    digests, there = [], {stage.name for stage in stages_of(recipe)}
    for stage in (name for name in STAGES if name in there):
        folder = run / stage if stage in ("prepare", "compress") else run / stage / f"seed{seed}"
        digests.append(sound(folder, stage)["outputs"])
    return value_digest(digests)


def _in_use(snapshots: Path) -> published.Manifest | None:
    version = published.current(snapshots)
    return None if version is None else published.read_manifest(snapshots / version)


def _damage(folder: Path, manifest: published.Manifest) -> str | None:
    """What of a snapshot is damaged or missing, users among it; in another one it would have a valid digest."""
    try:
        published.check(folder, manifest.files, "all")
        open_users(folder, manifest, whole=True).close()
    except ConrecError as error:
        return str(error)
    return None


def _remove_orphans(snapshots: Path) -> None:
    """Delete deltas that no version names: of calls that were killed, or of versions that are gone."""
    manifests = [published.read_manifest(snapshots / version) for version in published.versions(snapshots)]
    named = {name for manifest in manifests for name in manifest.made_from.get("deltas", ())}
    for folder in (snapshots / "live").iterdir():
        if folder.is_dir() and folder.name not in named:
            shutil.rmtree(folder)


def _drop_old(snapshots: Path) -> None:
    """Delete what was done and said before the days that any version counts (`keep_days`)."""
    manifests = [published.read_manifest(snapshots / version) for version in published.versions(snapshots)]
    if since := min(manifest.made_from.get("since", 0) for manifest in manifests):
        for name in {name for manifest in manifests for name in manifest.made_from["deltas"]}:
            drop_events(snapshots / "live" / name, since)
        Feedback(snapshots).drop_before(since, min(manifest.feedback for manifest in manifests))
