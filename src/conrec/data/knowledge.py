"""The state of the log on the day of a prediction: items on offer, and how often each was disliked lately.

A static model knows nothing of items that came out after its training; this does, for CoNRec and for every
baseline alike. Nothing here looks at or after the cutoff.
"""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Events, Items

DAY = np.timedelta64(86_400_000_000, "us")


class Knowledge:
    """Counts over the log before a cutoff.

    In `users` mode (strong generalisation) the log is that of the training users, whose whole history is known;
    counts "ever" then include what came after the cutoff, windows of days end at the cutoff (protocol).
    """

    def __init__(self, items: Items, events: Events, known_users: np.ndarray | None = None) -> None:
        """`known_users`, str [n]: the training users, in `users` mode."""
        mask = events.is_dislike
        if known_users is not None:
            mask &= events.of_users(known_users)
        self.items = len(items)
        self._times = events.times[mask]
        self._rows = events.items[mask]
        self._first_seen = items.first_seen
        self._all_known = known_users is not None

    def on_offer(self, cutoff: np.datetime64) -> np.ndarray:
        """bool [items]: first seen before the cutoff."""
        return self._first_seen < cutoff

    def dislike_counts(self, cutoff: np.datetime64, days: float | None = None) -> np.ndarray:
        """int64 [items]: dislikes in the `days` before the cutoff, or ever."""
        stop = len(self._times) if self._all_known and days is None else np.searchsorted(self._times, cutoff)
        start = 0 if days is None else np.searchsorted(self._times, cutoff - np.timedelta64(round(days * 24), "h"))
        return np.bincount(self._rows[start:stop], minlength=self.items)

    def prior(self, cutoff: np.datetime64, days: float, smoothing: float) -> np.ndarray:
        """float64 [items], sums to 1: exponentially decayed dislikes (time constant `days`) + `smoothing`
        for each item on offer; 0 for the others (all 0 before the first item was seen)."""
        stop = np.searchsorted(self._times, cutoff)
        age = np.subtract(cutoff, self._times[:stop]) / DAY
        weight = np.bincount(self._rows[:stop], weights=np.exp(-age / days), minlength=self.items)
        if self._all_known:
            weight = np.bincount(self._rows, minlength=self.items).astype(np.float64)
        weight = (weight + smoothing) * self.on_offer(cutoff)
        return weight / max(weight.sum(), np.finfo(np.float64).tiny)
