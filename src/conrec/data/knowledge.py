"""The state of the log on the day of a prediction: items on offer, and how often each was disliked lately.

A static model knows nothing of items that came out after its training; this does, for CoNRec and for every
baseline alike. Nothing here looks at or after the cutoff.
"""

from collections.abc import Callable

import numpy as np

from conrec.data.instances import Events, Instances, Items, Ragged, offsets_of

DAY = np.timedelta64(86_400_000_000, "us")
LONG_TAIL = 5
"""Items with fewer dislikes than this before the cutoff are long-tail (paper: "fewer than five")."""


class Knowledge:
    """Counts over the log before a cutoff.

    In `users` mode (strong generalisation) the log is that of the training users, whose whole history is known;
    counts "ever" then include what came after the cutoff, windows of days end at the cutoff (protocol).
    """

    def __init__(
        self, items: Items, events: Events, known_users: np.ndarray | None = None, *, by_category: bool = False
    ) -> None:
        """`known_users`, str [n]: the training users, in `users` mode. `by_category`: what is on offer to a user are
        unmet items of the categories that the user has an event in (`split.pool`)."""
        mask = events.is_dislike
        if known_users is not None:
            mask &= events.of_users(known_users)
        self.items = len(items)
        self._times = events.times[mask]
        self._rows = events.items[mask]
        self._first_seen = items.first_seen
        self._all_known = known_users is not None
        self.by_category = by_category
        if by_category:
            self._log = events.by_user
            self._categories = np.unique([name or "" for name in items.categories], return_inverse=True)[1]

    def on_offer(self, cutoff: np.datetime64) -> np.ndarray:
        """bool [items]: first seen before the cutoff."""
        return self._first_seen < cutoff

    def scopes(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """The distinct parts of the catalogue on offer, bool [s, items], and which is each user's, int64 [B]: by
        category those in which the user has an event before the cutoff, else the one that is everything."""
        if not self.by_category:
            return np.ones((1, self.items), bool), np.zeros(len(instances), np.int64)
        met, width = self._log.before(instances.users, instances.cutoffs), int(self._categories.max(initial=0)) + 1
        pairs = np.unique(met.owners * width + self._categories[self._log.events.items[met.values]])
        own = Ragged(pairs % width, offsets_of(np.bincount(pairs // width, minlength=len(instances))))
        number: dict[bytes, int] = {}
        which = np.array([number.setdefault(own[n].tobytes(), len(number)) for n in range(len(own))], np.int64)
        parts = [np.isin(self._categories, np.frombuffer(part, pairs.dtype)) for part in number]
        return np.array(parts, bool).reshape(-1, self.items), which

    def excluded(self, instances: Instances, *, include_unseen: bool = False) -> Ragged:
        """Item rows that must not be named to each user whatever the day, ascending: those of `seen`.

        By category these are all that the user met, all outside of the user's scope, and without `include_unseen`
        what was not there at the very cutoff: long lists, to be asked for a few users at a time.
        """
        if not self.by_category:
            return instances.seen
        parts, which = self.scopes(instances)
        excluded = ~parts[which]
        if not include_unseen:
            excluded |= ~(self._first_seen < instances.cutoffs[:, None])
        met = self._log.before(instances.users, instances.cutoffs)
        excluded[met.owners, self._log.events.items[met.values]] = True
        owners, rows = np.nonzero(excluded)
        return Ragged(rows, offsets_of(np.bincount(owners, minlength=len(instances))))

    def dislike_counts(self, cutoff: np.datetime64, days: float | None = None) -> np.ndarray:
        """int64 [items]: dislikes in the `days` before the cutoff, or ever."""
        stop = len(self._times) if self._all_known and days is None else np.searchsorted(self._times, cutoff)
        start = 0 if days is None else np.searchsorted(self._times, cutoff - np.timedelta64(round(days * 24), "h"))
        return np.bincount(self._rows[start:stop], minlength=self.items)

    def long_tail(self, cutoff: np.datetime64) -> np.ndarray:
        """bool [items]: fewer than LONG_TAIL dislikes are known at the cutoff."""
        return self.dislike_counts(cutoff) < LONG_TAIL

    def prior(
        self, cutoff: np.datetime64, days: float, smoothing: float, until: np.datetime64 | None = None
    ) -> np.ndarray:
        """float64 [items], sums to 1: exponentially decayed dislikes (time constant `days`) + `smoothing` for each item
        on offer (`until`: by that moment); 0 for the others (all 0 before the first item was seen)."""
        stop = np.searchsorted(self._times, cutoff)
        age = np.subtract(cutoff, self._times[:stop]) / DAY
        weight = np.bincount(self._rows[:stop], weights=np.exp(-age / days), minlength=self.items)
        if self._all_known:
            weight = np.bincount(self._rows, minlength=self.items).astype(np.float64)
        weight = (weight + smoothing) * self.on_offer(cutoff if until is None else until)
        return weight / max(weight.sum(), np.finfo(np.float64).tiny)


def per_cutoff(cutoffs: np.ndarray, vector: Callable[[np.datetime64], np.ndarray]) -> np.ndarray:
    """Vector of each instance's cutoff, [B, n], computed once per distinct cutoff."""
    moments, which = np.unique(cutoffs, return_inverse=True)
    return np.stack([vector(moment) for moment in moments])[which]
