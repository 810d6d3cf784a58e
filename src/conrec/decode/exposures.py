"""What a user is likely to be shown: a dislike needs somebody who was shown the item.

    log p(shown) = log share of the item's category in what the user met + log share of the item within its category

Whatever is in the log counts as met: exposures where a platform logs them, else what the user judged. Recent events
count more; an item that came a day ago has had a day to be met, not weeks, and its count is raised to what it would be
had it always been there. It says nothing of liking; the odds of a dislike, once shown, are another leaning
(`filtering.aversion`).
"""

from __future__ import annotations

import numpy as np

from conrec.data.by_user import ByUser
from conrec.data.instances import Events, Instances, Items
from conrec.data.knowledge import DAY
from conrec.decode.leanings import Leaning

OWN_DAYS, ITEM_DAYS = 21.0, 7.0
"""Time constants, in days, of what a user met and of what an item was met."""
OWN_SMOOTHING, ITEM_SMOOTHING = 0.05, 0.1
"""Events that every category of a user, and every item, has at least."""
LEAST_DAYS = 1.0
"""An item is never taken to be newer."""


class Exposures:
    """Counts over the log before a cut."""

    def __init__(self, items: Items, events: Events, known_users: np.ndarray | None = None) -> None:
        """`known_users`, str [n], in `users` mode: items are counted in their whole log, as for the prior.

        An item without a category is of a category of its own kind, "none".
        """
        self._categories = np.unique([category or "" for category in items.categories], return_inverse=True)[1]
        self._width = int(self._categories.max(initial=-1)) + 1
        self._first_seen = items.first_seen
        self._log = ByUser(events)
        self._always: np.ndarray | None = None
        if known_users is not None:
            known = events.of_users(known_users)
            self._always = self._within(np.bincount(events.items[known], minlength=len(items)))
        self._days: dict[np.datetime64, np.ndarray] = {}

    def of(self, instances: Instances) -> Leaning:
        """float32 [b, items] of instances at some numbers: log p(shown)."""

        def leaning(index: np.ndarray) -> np.ndarray:
            out = np.empty((len(index), len(self._categories)), np.float32)
            for row, n in enumerate(index):
                cut = instances.cuts[n]
                out[row] = self._of_user(instances.users[n], cut)[self._categories] + self._of_day(cut)
            return out

        return leaning

    def _of_user(self, user: str, cut: np.datetime64) -> np.ndarray:
        """float [categories]: log shares."""
        own = self._log.before(user, cut)
        age = -(self._log.events.times[own] - cut) / DAY
        met = self._categories[self._log.events.items[own]]
        weight = OWN_SMOOTHING + np.bincount(met, np.exp(-age / OWN_DAYS), self._width)
        return np.log(weight / weight.sum())

    def _of_day(self, cut: np.datetime64) -> np.ndarray:
        """float [items]: log shares within the category, of events before the midnight before the cut."""
        if self._always is not None:
            return self._always
        day = cut.astype("datetime64[D]").astype("datetime64[us]")
        if day not in self._days:
            known, log = self._log.until(day), self._log.events
            age = -(log.times[known] - day) / DAY
            counts = np.bincount(log.items[known], np.exp(-age / ITEM_DAYS), len(self._categories))
            there = np.where(self._first_seen < day, (day - self._first_seen) / DAY, np.inf)
            self._days[day] = self._within(counts, 1 - np.exp(-np.maximum(there, LEAST_DAYS) / ITEM_DAYS))
        return self._days[day]

    def _within(self, counts: np.ndarray, of_all: np.ndarray | float = 1.0) -> np.ndarray:
        """`of_all`: the share of the counted time that each item has been there."""
        weight = (counts + ITEM_SMOOTHING) / of_all
        return np.log(weight / np.bincount(self._categories, weight, self._width)[self._categories])
