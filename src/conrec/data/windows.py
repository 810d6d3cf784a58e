"""Instances: who is asked about when, what is known then, and what came after (protocol, paper section 4.1).

An instance is a user and a cutoff. Its history is everything before the cutoff, its truth what the user disliked in
the horizon after it. The log is sorted by user and time, so each of these lists is a *slice* of one user's rows;
daft counts, as a running sum over users' rows and cutoffs sorted together, where every slice begins and ends, and the
slices are then gathered. Windows of lists would say the same but copy a heavy user's history once for every row.

Time mode: validation begins at the quantile `validation_from` of the dislikes' times, test at `test_from`, both
floored to midnight UTC. Inside a period there is a cutoff every horizon, from its first midnight on. Train
samples are one a dislike, cut just before it. Nothing that trains or tunes may see into the next period: samples
whose horizon reaches past the start of validation are dropped (embargo), likewise validation windows past the start
of test.

Users mode (strong generalisation, Liang et al. 2018): users are shuffled into ten parts; fold f tests on part 2f,
validates on part 2f + 1 and trains on the rest, so that over the five folds everybody is held out once. A
held-out user with at least two dislikes has one cutoff, just before the middle one (the (n // 2)-th of n, from 0).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")  # daft reports its use on import otherwise

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from daft import Window, col, lit

from conrec.config import SplitConfig
from conrec.data.schema import POSITIVE_KINDS, TIME
from conrec.errors import ConrecError

DAY_US = 86_400_000_000
SPLITS = ("train", "validation", "test")
BUCKETS = 64
"""Parts that the users are dealt to for counting; only the degree of parallelism depends on it."""

INSTANCES = pa.schema(
    [
        ("instance_id", pa.int64()),
        ("split", pa.string()),
        ("user_id", pa.string()),
        ("cutoff", TIME),
        ("n_dislikes", pa.int64()),
        ("n_positives", pa.int64()),
        ("dislikes", pa.list_(pa.string())),
        ("dislike_times", pa.list_(TIME)),
        ("positives", pa.list_(pa.string())),
        ("positive_times", pa.list_(TIME)),
        ("seen", pa.list_(pa.string())),
        ("next", pa.string()),
        ("future", pa.list_(pa.string())),
        ("future_positives", pa.list_(pa.string())),
    ]
)
"""One row an instance, lists oldest first (same moment: by item id). `dislikes` and `positives` hold the newest ones,
`n_*` the true numbers of items before the cutoff. `seen`: items disliked, purchased or rated before the cutoff
(held-out
instances only). `next`: the first of `future`; in training the very dislike that the sample was cut before."""


@dataclass(frozen=True)
class SplitPlan:
    """Which user or which moment belongs to which split; times in microseconds since 1970, UTC."""

    config: SplitConfig
    log_end: int
    validation_start: int | None = None
    test_start: int | None = None
    users: dict[str, list[str]] | None = None

    @property
    def horizon(self) -> int:
        """The horizon in microseconds."""
        return self.config.horizon_days * DAY_US


@dataclass(frozen=True)
class _Moments:
    """Where instances could be: per row a user's cut and its split; in training also the dislike it was cut before."""

    split: np.ndarray
    users: pa.Array
    cutoffs: np.ndarray
    target: np.ndarray
    """int64: row of the dislike that is `next`, or -1 for the first after the cutoff."""

    def take(self, index: np.ndarray) -> _Moments:
        return _Moments(self.split[index], self.users.take(pa.array(index)), self.cutoffs[index], self.target[index])


def plan_split(events: pa.Table, config: SplitConfig) -> SplitPlan:
    """Where validation and test begin (time mode), or who is in them (users mode).

    Raises ConrecError where the recipe's values contradict each other or the log holds too little.
    """
    dislikes = events.filter(pc.equal(events["kind"], "dislike"))
    if not len(dislikes):
        raise ConrecError(
            "the log holds no dislikes after cleaning; check data.dislike_at_most or the kinds in the recipe"
        )
    if config.horizon_days < 1:
        raise ConrecError(f"split.horizon_days = {config.horizon_days}; it must be at least 1 day")
    log_end = int(_micros(events["time"]).max())
    if config.mode == "users":
        return SplitPlan(config, log_end, users=_fold(events, config))
    if config.cutoffs != "rolling":
        raise ConrecError('split.cuts = "per_user" needs split.mode = "users"; in time mode cutoffs are "rolling"')
    if not 0 < config.validation_from < config.test_from < 1:
        raise ConrecError("split.validation_from and split.test_from must satisfy 0 < validation_from < test_from < 1")
    times = _micros(dislikes["time"])
    validation, test = (
        int(np.quantile(times, q)) // DAY_US * DAY_US for q in (config.validation_from, config.test_from)
    )
    return SplitPlan(config, log_end, validation, test)


def make_instances(
    events: pa.Table, split: SplitPlan, names: Sequence[str] = SPLITS
) -> tuple[pa.Table, dict[str, int]]:
    """The table INSTANCES, sorted by split, cut, user; and how many possible instances were dropped, by cause.

    `events` is the cleaned log (no user dislikes an item twice); `names`: the splits that are wanted. Raises
    ConrecError where one of these has no instance.
    """
    config = split.config
    is_dislike = pc.equal(events["kind"], "dislike")
    is_positive = pc.is_in(events["kind"], pa.array(POSITIVE_KINDS))
    is_seen = pc.or_(pc.or_(is_dislike, pc.equal(events["kind"], "purchase")), pc.is_valid(events["value"]))
    dislikes = _UserRows(events.filter(is_dislike))
    positives = _UserRows(events.filter(is_positive))
    first_positives = _UserRows(_first_of_item(events.filter(is_positive)))
    seen = _UserRows(_first_of_item(events.filter(is_seen)))

    moments, dropped = _moments(dislikes, split, names)
    n_dislikes = dislikes.count_before(moments.users, moments.cutoffs)
    n_positives = first_positives.count_before(moments.users, moments.cutoffs)
    has_history = (n_dislikes > 0) | (n_positives > 0)
    dropped["no_history"] = int((~has_history).sum())
    keep = np.flatnonzero(has_history)
    moments, n_dislikes, n_positives = moments.take(keep), n_dislikes[keep], n_positives[keep]
    for name in names:
        if not (moments.split == name).any():
            raise ConrecError(_why_none(name, split))

    users, cutoffs = moments.users, moments.cutoffs
    ends = cutoffs + split.horizon
    first_dislike = dislikes.start(users)
    first_positive = first_positives.start(users)
    now = first_dislike + n_dislikes
    future_end = first_dislike + dislikes.count_before(users, ends)
    window = [positives.start(users) + positives.count_before(users, moment) for moment in (cutoffs, ends)]
    held_out = moments.split != "train"
    seen_start = seen.start(users)
    seen_end = np.where(held_out, seen_start + seen.count_before(users, cutoffs), seen_start)
    old_dislikes = np.maximum(first_dislike, now - config.max_dislikes), now
    old_positives = (
        first_positive + np.maximum(0, n_positives - config.max_positives),
        first_positive + n_positives,
    )
    target = np.where(moments.target >= 0, moments.target, now)
    columns = {
        "instance_id": np.arange(len(cutoffs)),
        "split": pa.array(moments.split, pa.string()),
        "user_id": users,
        "cutoff": pa.array(cutoffs, pa.int64()).cast(TIME),
        "n_dislikes": n_dislikes,
        "n_positives": n_positives,
        "dislikes": dislikes.items(*old_dislikes),
        "dislike_times": dislikes.times(*old_dislikes),
        "positives": first_positives.items(*old_positives),
        "positive_times": first_positives.times(*old_positives),
        "seen": seen.items(seen_start, seen_end),
        "next": dislikes.item_ids.take(pa.array(target)),
        "future": dislikes.items(now, future_end),
        "future_positives": positives.distinct_items(*window),
    }
    return pa.table(columns, schema=INSTANCES), {cause: n for cause, n in dropped.items() if n}


def describe_split(split: SplitPlan, instances: pa.Table, dropped: dict[str, int]) -> dict[str, Any]:
    """What `split.json` says: mode, dates (ISO, UTC; null in users mode), users, counts by split, dropped by cause."""
    counts = {entry["values"]: entry["counts"] for entry in instances["split"].value_counts().to_pylist()}
    table: dict[str, Any] = {
        "mode": split.config.mode,
        "horizon_days": split.config.horizon_days,
        "validation_start": _iso(split.validation_start),
        "test_start": _iso(split.test_start),
        "log_end": _iso(split.log_end),
        "fold": split.config.fold if split.config.mode == "users" else None,
    }
    for name in SPLITS:
        table[f"{name}_users"] = None if split.users is None else split.users[name]
    table["counts"] = {name: counts.get(name, 0) for name in SPLITS}
    table["dropped"] = dropped
    return table


def _why_none(name: str, split: SplitPlan) -> str:
    """What to do about a split without instances."""
    none = f"too little data: no {name} instance is left"
    if split.users is not None:
        least = "a dislike" if name == "train" else "two dislikes"
        return f"{none} in fold {split.config.fold}: none of its users has a history and at least {least}"
    if name == "test":
        return f"{none}: nobody with a history has a dislike after {_iso(split.test_start)}"
    period = f"the log's beginning and {_iso(split.validation_start)}"
    if name == "validation":
        period = f"{_iso(split.validation_start)} and {_iso(split.test_start)}"
    return (
        f"{none} with a whole horizon of {split.config.horizon_days} days between {period}; "
        "take a longer log, a smaller split.horizon_days or another split.validation_from and test_from"
    )


def _iso(moment: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return None if moment is None else str(np.datetime64(moment, "us")) + "Z"


def _fold(events: pa.Table, config: SplitConfig) -> dict[str, list[str]]:
    """Users of each split, sorted; ten shuffled parts, two of them held out."""
    if config.cutoffs != "per_user":
        raise ConrecError('split.mode = "users" needs split.cuts = "per_user": a held-out user has one cutoff')
    if not 0 <= config.fold <= 4:
        raise ConrecError(f"split.fold = {config.fold}; there are five: 0 to 4")
    users = np.sort(pc.unique(events["user_id"]).to_numpy(zero_copy_only=False).astype(object))
    parts = np.array_split(np.random.default_rng(config.seed).permutation(len(users)), 10)
    test, validation = parts[2 * config.fold], parts[2 * config.fold + 1]
    train = np.setdiff1d(np.arange(len(users)), np.concatenate([test, validation]))
    return {name: users[np.sort(part)].tolist() for name, part in zip(SPLITS, (train, validation, test), strict=True)}


def _moments(dislikes: _UserRows, split: SplitPlan, names: Sequence[str]) -> tuple[_Moments, dict[str, int]]:
    """Every possible instance of the splits `names`, sorted by split, cut, user, and what the embargo dropped."""
    train, embargo = _train_moments(dislikes, split)
    if split.config.mode == "time":
        held_out, more = _rolling_moments(dislikes, split)
    else:
        held_out, more = _middle_moments(dislikes, split)
    parts = [part for name, part in zip(SPLITS, [train, *held_out], strict=True) if name in names]
    moments = _Moments(
        np.concatenate([part.split for part in parts]),
        pa.concat_arrays([part.users for part in parts]),
        np.concatenate([part.cutoffs for part in parts]),
        np.concatenate([part.target for part in parts]),
    )
    return moments, embargo | more


def _train_moments(dislikes: _UserRows, split: SplitPlan) -> tuple[_Moments, dict[str, int]]:
    """One sample a dislike of the training period or the training users."""
    dropped = {}
    if split.validation_start is not None:
        early = dislikes.micros < split.validation_start
        inside = dislikes.micros + split.horizon <= split.validation_start
        dropped["train_embargo"] = int((early & ~inside).sum())
    else:
        assert split.users is not None
        inside = _is_in(dislikes.user_ids, split.users["train"])
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(dislikes.micros[rows], kind="stable")]
    users = dislikes.user_ids.take(pa.array(rows))
    return _Moments(np.full(len(rows), "train", object), users, dislikes.micros[rows], rows), dropped


def _rolling_moments(dislikes: _UserRows, split: SplitPlan) -> tuple[list[_Moments], dict[str, int]]:
    """A cutoff every horizon from the period's first midnight on, for users with a dislike in the window."""
    validation, test = split.validation_start, split.test_start
    assert validation is not None
    assert test is not None
    moments, dropped = [], {}
    for name, start, stop in (("validation", validation, test), ("test", test, None)):
        inside = dislikes.micros >= start
        if stop is not None:
            inside &= dislikes.micros < stop
        rows = np.flatnonzero(inside)
        cutoffs = start + (dislikes.micros[rows] - start) // split.horizon * split.horizon
        pairs = np.lexsort((rows, cutoffs))  # by cut, then user: rows are sorted by user
        codes = dislikes.codes[rows]
        new = np.ones(len(pairs), bool)
        new[1:] = (np.diff(cutoffs[pairs]) != 0) | (np.diff(codes[pairs]) != 0)
        pairs = pairs[new]
        if stop is not None:
            whole = cutoffs[pairs] + split.horizon <= stop
            dropped["validation_embargo"] = int((~whole).sum())
            pairs = pairs[whole]
        users = dislikes.user_ids.take(pa.array(rows[pairs]))
        moments.append(_Moments(np.full(len(pairs), name, object), users, cutoffs[pairs], np.full(len(pairs), -1)))
    return moments, dropped


def _middle_moments(dislikes: _UserRows, split: SplitPlan) -> tuple[list[_Moments], dict[str, int]]:
    """One cut a held-out user, just before the middle dislike."""
    assert split.users is not None
    moments, too_few = [], 0
    for name in ("validation", "test"):
        chosen = np.flatnonzero(_is_in(dislikes.users, split.users[name]))
        counts = dislikes.counts[chosen]
        too_few += int((counts < 2).sum())
        chosen, counts = chosen[counts >= 2], counts[counts >= 2]
        rows = dislikes.starts[chosen] + counts // 2
        rows = rows[np.argsort(dislikes.micros[rows], kind="stable")]
        users = dislikes.user_ids.take(pa.array(rows))
        moments.append(_Moments(np.full(len(rows), name, object), users, dislikes.micros[rows], np.full(len(rows), -1)))
    return moments, {"one_dislike": too_few}


class _UserRows:
    """Events sorted by user, time and item: whatever a user did between two moments is one slice of rows."""

    def __init__(self, events: pa.Table) -> None:
        order = [("user_id", "ascending"), ("time", "ascending"), ("item_id", "ascending")]
        events = events.select(["user_id", "time", "item_id"]).sort_by(order)
        self.user_ids: pa.Array = _flat(events["user_id"])
        self.item_ids: pa.Array = _flat(events["item_id"])
        self.micros = _micros(events["time"])
        encoded = self.user_ids.dictionary_encode()
        self.users: pa.Array = encoded.dictionary
        self.codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        self.counts = np.bincount(self.codes, minlength=len(self.users))
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)

    def start(self, users: pa.Array) -> np.ndarray:
        """int64: the first row of each user; 0 for one without rows."""
        known = pc.index_in(users, value_set=self.users)
        index = known.fill_null(0).to_numpy(zero_copy_only=False)
        starts = self.starts[index] if len(self.starts) else np.zeros(len(users), np.int64)
        return np.where(known.is_null().to_numpy(zero_copy_only=False), 0, starts)

    def count_before(self, users: pa.Array, moments: np.ndarray) -> np.ndarray:
        """int64: how many rows each user has strictly before the moment.

        Rows (weight 1) and moments (weight 0) are sorted together by user and time, a moment before the rows of the
        same time; the running sum of the weights at a moment, less that at the user's beginning, is the count.
        """
        beginnings = pc.unique(users)
        rows = pa.table(
            {
                "user_id": pa.concat_arrays([self.user_ids, beginnings, users]).cast(pa.large_string()),
                "at": np.concatenate([self.micros, np.full(len(beginnings), np.iinfo(np.int64).min), moments]),
                "weight": np.repeat([1, 0, 0], [len(self.user_ids), len(beginnings), len(users)]),
                "number": np.concatenate([np.full(len(self.user_ids), -1), np.arange(len(beginnings) + len(users))]),
            }
        )
        together = Window().partition_by("bucket").order_by("user_id", "at", "weight")
        running = together.rows_between(Window.unbounded_preceding, Window.current_row)
        counted = (
            daft.from_arrow(rows)
            .with_column("bucket", col("user_id").hash() % lit(BUCKETS))
            .with_column("before", col("weight").sum().over(running))
            .where(col("number") >= lit(0))
            .select("number", "before")
            .to_arrow()
        )
        before = np.zeros(len(beginnings) + len(users), np.int64)
        before[counted["number"].to_numpy()] = counted["before"].to_numpy()
        owner = pc.index_in(users, value_set=beginnings).to_numpy(zero_copy_only=False)
        counts: np.ndarray = before[len(beginnings) :] - before[: len(beginnings)][owner]
        return counts

    def items(self, first: np.ndarray, stop: np.ndarray) -> pa.ListArray:
        """list<item id>: rows first..stop of each."""
        rows, offsets = _slices(first, stop)
        return pa.ListArray.from_arrays(offsets, self.item_ids.take(rows))

    def times(self, first: np.ndarray, stop: np.ndarray) -> pa.ListArray:
        """list<timestamp>: rows first..stop of each."""
        rows, offsets = _slices(first, stop)
        return pa.ListArray.from_arrays(offsets, pa.array(self.micros).take(rows).cast(TIME))

    def distinct_items(self, first: np.ndarray, stop: np.ndarray) -> pa.ListArray:
        """As `items`, each item of a list only where it comes first."""
        rows, _ = _slices(first, stop)
        owner = np.repeat(np.arange(len(first)), stop - first)
        encoded = self.item_ids.dictionary_encode()
        item = encoded.indices.take(rows).to_numpy(zero_copy_only=False).astype(np.int64)
        _, keep = np.unique(owner * max(len(encoded.dictionary), 1) + item, return_index=True)
        keep.sort()
        lengths = np.bincount(owner[keep], minlength=len(first))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), self.item_ids.take(rows.take(pa.array(keep))))


def _slices(first: np.ndarray, stop: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Row numbers of all slices one after the other, and where each begins."""
    lengths = stop - first
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
    return pa.array(rows, pa.int64()), pa.array(offsets, pa.int32())


def _first_of_item(events: pa.Table) -> pa.Table:
    """The earliest event of every user and item."""
    firsts = daft.from_arrow(events.select(["user_id", "item_id", "time"])).groupby("user_id", "item_id")
    return firsts.agg(col("time").min()).to_arrow()


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """One array of plain strings."""
    flat = column.cast(pa.string()).combine_chunks()
    return pa.concat_arrays(flat.chunks) if isinstance(flat, pa.ChunkedArray) else flat


def _micros(column: pa.ChunkedArray) -> np.ndarray:
    """Microseconds since 1970, UTC."""
    return np.asarray(column.cast(pa.int64()).to_numpy())


def _is_in(users: pa.Array, chosen: list[str]) -> np.ndarray:
    """bool: whether each user is one of the chosen."""
    return np.asarray(pc.is_in(users, pa.array(chosen, pa.string())).to_numpy(zero_copy_only=False))
