"""Candidate sets for CandAcc: the true next dislike among items that could as well have been it (protocol).

Where the log has exposures, the distractors are what the same user was shown on the day of `next`: each was there to
be disliked. Where it has none (ratings), or too few on that day, they are items that anyone interacted with on that
day, drawn in proportion to how often, so that popularity alone cannot win; a day with too few items is widened
backwards to 2, 4, 8, ... days and at last to the whole log. Never a distractor: an item that the user interacted with
(at any time, where the day's items are drawn; in the window or before the cutoff, where own exposures are), or one that
is excluded for the user (`data.knowledge`).
"""

from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.data.instances import Events, Instances, Items, Ragged
from conrec.data.user_log import UserLog
from conrec.progress import track

CANDIDATES = pa.schema([("instance_id", pa.int64()), ("candidates", pa.list_(pa.string()))])
"""`candidates`: the true next dislike first, then the distractors; fewer than asked where the log has too few items."""

Excluded = Callable[[Instances], Ragged]


def draw_candidates(
    events: Events, instances: Instances, size: int, seed: int, excluded: Excluded = attrgetter("seen")
) -> tuple[np.ndarray, Ragged]:
    """The numbers of the instances for which there is a distractor, int64 [n], and their candidates, rows of items.

    Drawn once under the seed. `events` is the cleaned log, `size` counts the true item, which comes first. `excluded`:
    rows that must not be named.
    """
    log = _DayLog(events, instances, excluded)
    rng = np.random.default_rng(seed)
    numbers, candidates = [], []
    for n in track(range(len(instances)), "draw distractors"):
        distractors = log.draw(n, size - 1, rng)
        if len(distractors):
            numbers.append(n)
            candidates.append(np.append(instances.next[n], distractors))
    return np.array(numbers, np.int64), Ragged.of(candidates)


def candidates_table(
    events: Events, items: Items, instances: Instances, size: int, seed: int, excluded: Excluded = attrgetter("seen")
) -> pa.Table:
    """The table CANDIDATES: `draw_candidates` for the held-out instances with a dislike before the cutoff."""
    asked = instances.take((instances.split != "train") & (instances.n_dislikes > 0))
    numbers, candidates = draw_candidates(events, asked, size, seed, excluded)
    ids = pa.array(items.ids, pa.string()).take(pa.array(candidates.values))
    lists = pa.ListArray.from_arrays(pa.array(candidates.offsets, pa.int32()), ids)
    return pa.table([pa.array(asked.ids[numbers], pa.int64()), lists], schema=CANDIDATES)


def rows_of(lists: pa.ChunkedArray, ids: Sequence[str], k: int) -> np.ndarray:
    """Lists of item ids as int32 [B, k] rows, cut or filled with -1; -2 for an id that is no item."""
    row_of = {item: row for row, item in enumerate(ids)}
    result = np.full((len(lists), k), -1, np.int32)
    for n, own in enumerate(lists.to_pylist()):
        rows = [row_of.get(item, -2) for item in (own or [])[:k]]
        result[n, : len(rows)] = rows
    return result


def read_candidates(prepared: Path, instances: Instances, items: Items) -> np.ndarray:
    """int32 [B, c]: the candidates of each instance, the true next first; rows of -1 where there are none."""
    table = pq.read_table(prepared / "candidates.parquet")
    lists = dict(zip(table["instance_id"].to_pylist(), table["candidates"].to_pylist()))
    width = max((len(ids) for ids in lists.values()), default=0)
    chosen = pa.chunked_array([pa.array([lists.get(n, []) for n in instances.ids.tolist()], pa.list_(pa.string()))])
    return rows_of(chosen, items.ids, width)


class _DayLog:
    """The exposures of each user, and the interactions of everybody, by day.

    Items are numbered in the order in which the log first names them; one that it never names has no number.
    """

    def __init__(self, events: Events, instances: Instances, excluded: Excluded) -> None:
        rows, first = np.unique(events.items, return_index=True)
        self._rows = rows[np.argsort(first)]
        self._number = np.full(1 + int(rows.max(initial=0)), -1)
        self._number[self._rows] = np.arange(len(rows))
        # An exposure with a value is a neutral rating: the user met the item, nobody showed it.
        touched = ~events.exposed
        dislikes, self._touched = UserLog(events.take(events.is_dislike)), UserLog(events.take(touched))
        self._instances, self._excluded, self._users = instances, excluded, dislikes.number(instances.users)
        following = dislikes.order[dislikes.position(self._users, instances.cutoffs)]
        self._days = dislikes.events.times[following].astype("datetime64[D]")
        """The day of each instance's `next`."""
        exposures = events.take(events.shown if events.has_exposures else ~touched)
        start, end = np.maximum(self._days, instances.cutoffs), self._days + np.timedelta64(1, "D")
        own = UserLog(exposures).window(instances.users, start, end - start)
        self._shown = own.of_values(self._number[exposures.items[own.values]])
        self._log_days = self._touched.events.times.astype("datetime64[D]")
        self._log_items = self._number[self._touched.events.items]
        self._popular = cache(self._counted)

    def draw(self, n: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
        """Up to `wanted` distinct item rows for instance n: own exposures of `next`'s day, then the day's items."""
        day, first_day, length = self._days[n], self._log_days[0], 1
        never = self._excluded(self._instances.take(np.array([n]))).values
        known = np.append(never, self._instances.future[n])
        known = self._number[known[known < len(self._number)]]
        chosen = rng.permutation(np.setdiff1d(self._shown[n], known))[:wanted]
        excluded = np.concatenate([self._log_items[self._touched.of(self._users[n])], known, chosen])
        while True:
            pool, count = self._popular(day - (length - 1), day)
            free = ~np.isin(pool, excluded)
            if free.sum() >= wanted - len(chosen) or length > (day - first_day).astype(int):
                break
            length *= 2
        if free.sum() < wanted - len(chosen):
            pool, count = self._popular(first_day, self._log_days[-1])
            free = ~np.isin(pool, excluded)
        # Largest log-weight plus Gumbel noise: a draw without replacement in proportion to the weights.
        keys = np.log(count[free]) + rng.gumbel(size=int(free.sum()))
        return self._rows[np.concatenate([chosen, pool[free][np.argsort(-keys)[: wanted - len(chosen)]]])]

    def _counted(self, first: np.datetime64, last: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
        """Items that anyone interacted with on the days first..last, and how often."""
        start, stop = np.searchsorted(self._log_days, [first, last + 1])
        return np.unique(self._log_items[start:stop], return_counts=True)
