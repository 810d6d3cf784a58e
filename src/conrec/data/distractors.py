"""Candidate sets for CandAcc: the true next dislike among items that could as well have been it (protocol).

Where the log has exposures, the distractors are what the same user was shown on the day of `next`: each was there to
be disliked. Where it has none (ratings), or too few on that day, they are items that anyone interacted with on that
day, drawn in proportion to how often, so that popularity alone cannot win; a day with too few items is widened
backwards to 2, 4, 8, ... days and at last to the whole log. Never a distractor: an item that the user interacted with
(at any time, where the day's items are drawn; in the window or before the cutoff, where own exposures are).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.progress import track

DAY_US = 86_400_000_000

CANDIDATES = pa.schema([("instance_id", pa.int64()), ("candidates", pa.list_(pa.string()))])
"""`candidates`: the true next dislike first, then the distractors; fewer than asked where the log has too few items."""


def draw_candidates(events: pa.Table, instances: pa.Table, size: int, seed: int) -> pa.Table:
    """The table CANDIDATES for the held-out instances with a dislike before the cutoff, drawn once under the seed.

    `events` is the cleaned log, `size` counts the true item. An instance without any possible distractor is left out.
    """
    held_out = pc.and_(pc.not_equal(instances["split"], "train"), pc.greater(instances["n_dislikes"], 0))
    asked = instances.filter(held_out).select(["instance_id", "user_id", "next", "seen", "future"])
    day_log = _DayLog(events)
    rng = np.random.default_rng(seed)
    ids, candidates = [], []
    for row in track(asked.to_pylist(), "draw distractors"):
        true = day_log.row[row["next"]]
        known = np.array([day_log.row[item] for item in row["seen"] + row["future"]])
        distractors = day_log.draw(row["user_id"], true, known, size - 1, rng)
        if len(distractors):
            ids.append(row["instance_id"])
            candidates.append([day_log.names[item] for item in [true, *distractors.tolist()]])
    return pa.table([pa.array(ids, pa.int64()), pa.array(candidates, pa.list_(pa.string()))], schema=CANDIDATES)


class _DayLog:
    """What was shown to whom, and what everybody interacted with, by day. Items and users are small integers here."""

    def __init__(self, events: pa.Table) -> None:
        items = events["item_id"].combine_chunks().dictionary_encode()
        users = events["user_id"].combine_chunks().dictionary_encode()
        self.names: list[str] = items.dictionary.to_pylist()
        self.row = {name: n for n, name in enumerate(self.names)}
        self._user = {name: n for n, name in enumerate(users.dictionary.to_pylist())}
        item, user = items.indices.to_numpy(), users.indices.to_numpy()
        day = events["time"].cast(pa.int64()).to_numpy() // DAY_US
        kind = events["kind"]
        # An exposure with a value is a lukewarm rating: the user met the item, nobody showed it.
        shown = pc.and_(pc.equal(kind, "exposure"), pc.is_null(events["value"])).to_numpy()
        dislike = pc.equal(kind, "dislike").to_numpy()
        self._shown = _Grouped(user[shown], item[shown], day[shown])
        self._touched = _Grouped(user[~shown], item[~shown], day[~shown])
        self._disliked_on = {
            (u, i): d for u, i, d in zip(user[dislike].tolist(), item[dislike].tolist(), day[dislike].tolist())
        }
        by_day = np.argsort(day[~shown], kind="stable")
        self._days, self._items = day[~shown][by_day], item[~shown][by_day]
        self._counts: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def draw(self, user_id: str, true: int, known: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
        """Up to `wanted` distinct items: own exposures of the true dislike's day, then the day's items."""
        user = self._user[user_id]
        day = self._disliked_on[user, true]
        items, days = self._shown.of(user)
        own = np.setdiff1d(items[days == day], known)
        chosen = rng.permutation(own)[:wanted]
        excluded = np.concatenate([self._touched.of(user)[0], known, chosen])
        first_day, length = int(self._days[0]), 1
        while True:
            pool, count = self._popular(day - length + 1, day)
            free = ~np.isin(pool, excluded)
            if free.sum() >= wanted - len(chosen) or length > day - first_day:
                break
            length *= 2
        if free.sum() < wanted - len(chosen):
            pool, count = self._popular(first_day, int(self._days[-1]))
            free = ~np.isin(pool, excluded)
        # Largest log-weight plus Gumbel noise: a draw without replacement in proportion to the weights.
        keys = np.log(count[free]) + rng.gumbel(size=int(free.sum()))
        return np.concatenate([chosen, pool[free][np.argsort(-keys)[: wanted - len(chosen)]]])

    def _popular(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Items that anyone interacted with on the days first..last, and how often."""
        if (first, last) not in self._counts:
            start, stop = np.searchsorted(self._days, [first, last + 1])
            self._counts[first, last] = np.unique(self._items[start:stop], return_counts=True)
        return self._counts[first, last]


class _Grouped:
    """Items and days of events by user."""

    def __init__(self, users: np.ndarray, items: np.ndarray, days: np.ndarray) -> None:
        order = np.argsort(users, kind="stable")
        self._users, self._items, self._days = users[order], items[order], days[order]

    def of(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """Items and days of one user's events."""
        start, stop = np.searchsorted(self._users, [user, user + 1])
        return self._items[start:stop], self._days[start:stop]
