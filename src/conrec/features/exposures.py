"""What a user is likely to be shown: a dislike needs somebody who was shown the item (docs/decoding.md).

    log p(shown) = log share of the item's category in what the user will meet + log share within its category
    share(u, c) ~ everybody's share of c + sum over k of w_k n_k(u, c)

n_k are the user's events in the category that are of one kind (met, or liked), an event t days ago counting
exp(-t / days_k). The weights make the categories of what training users were shown next most likely.
"""

from collections.abc import Mapping

import numpy as np

from conrec.data.instances import Events, Instances, Items
from conrec.data.knowledge import DAY
from conrec.features.item_features import ItemFeature
from conrec.parallel import Memo

ITEM_DAYS = 7.0
"""Time constant, in days, of what an item was met."""
ITEM_SMOOTHING = 0.1
"""Events that every item has at least."""
LEAST_DAYS = 1.0
"""An item is never taken to be newer."""
LEARNED_FROM = 5000
"""Training instances, the latest ones: a platform changes its ways."""
ROUNDS = 200
"""Of the multiplicative updates; the first fifty do most of it."""

TRACES = tuple((liked, days) for liked in (False, True) for days in (7.0, 28.0, 112.0))
"""What of a user's log may tell what the user will meet: what was liked, or all that was met, and a time constant."""
NAMES = tuple(f"{'liked' if liked else 'met'}, {days:g} days" for liked, days in TRACES)
Weights = Mapping[str, float]
"""How much an event of each trace, by name, counts beside everybody's share, which counts once; 0 without a name."""
USUAL = {NAMES[1]: 1.0}
"""Weights of the traces where there is nothing to learn from."""


class ExposureLikelihood(ItemFeature):
    """How likely a user is to be shown an item, from counts over the log before a cutoff."""

    name = "exposure"

    def __init__(
        self, items: Items, events: Events, known_users: np.ndarray | None = None, weights: Weights = USUAL
    ) -> None:
        """`known_users`, str [n], in `users` mode: items are counted in their whole log, as for the prior.

        An item without a category is of a category of its own kind, "none".
        """
        self._categories = np.unique([category or "" for category in items.categories], return_inverse=True)[1]
        self._width = int(self._categories.max(initial=-1)) + 1
        self._first_seen = items.first_seen
        self._weights = np.array([weights.get(name, 0.0) for name in NAMES])
        self._log = events.by_user
        self._liked = events.is_positive
        self._always: tuple[np.ndarray, np.ndarray] | None = None
        if known_users is not None:
            known = events.of_users(known_users)
            self._always = self._shares(np.bincount(events.items[known], minlength=len(items)))
        self._of_midnight = Memo(self._counted)

    def learn(self, instances: Instances, horizon: np.timedelta64) -> dict[str, float]:
        """The weights under which what users were shown within the horizon is most likely.

        instances: of training, whose horizon ends before what is held out begins.
        """
        shown = self._log.events.shown
        latest = np.sort(np.argsort(instances.cutoffs, kind="stable")[-LEARNED_FROM:])
        counts, totals, owners = (list[np.ndarray]() for _ in range(3))
        users, cutoffs = instances.users[latest], instances.cutoffs[latest]
        before, after = self._log.before(users, cutoffs), self._log.window(users, cutoffs, horizon)
        for n, cutoff in enumerate(cutoffs):
            met = self._categories[self._log.events.items[after[n][shown[after[n]]]]]
            if len(met):
                own = self._categories[self._log.events.items[before[n]]]
                each = np.stack([np.bincount(own, one, self._width) for one in self._traces(before[n], cutoff)])
                counts.append(np.vstack([self._of_day(cutoff)[1][met], each[:, met]]).T)
                totals.append(np.append(1.0, each.sum(axis=1)))
                owners.append(np.full(len(met), len(owners)))
        if not counts:
            return USUAL
        found = most_likely(np.concatenate(counts), np.array(totals), np.concatenate(owners))
        return dict(zip(NAMES, (found[1:] / max(found[0], 1e-12)).tolist()))

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: log p(shown) of every item for each user at its own cutoff."""
        out = np.empty((len(instances), len(self._categories)), np.float32)
        before = self._log.before(instances.users, instances.cutoffs)
        for row, cutoff in enumerate(instances.cutoffs):
            within, everybody = self._of_day(cutoff)
            weight = self._weights @ self._traces(before[row], cutoff)
            own = np.bincount(self._categories[self._log.events.items[before[row]]], weight, self._width)
            out[row] = np.log((everybody + own) / (1.0 + own.sum()))[self._categories] + within
        return out

    def _traces(self, own: np.ndarray, cutoff: np.datetime64) -> np.ndarray:
        """float [traces, e]: how much each of a user's events, at places in the log, counts for each trace."""
        age = (cutoff - self._log.events.times[own]) / DAY
        counts = np.stack([np.exp(-age / days) for _, days in TRACES])
        return np.where(np.array([liked for liked, _ in TRACES])[:, None] & ~self._liked[own], 0.0, counts)

    def _of_day(self, cutoff: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
        """Of events before the midnight before the cutoff: see `_shares`."""
        if self._always is not None:
            return self._always
        return self._of_midnight(cutoff.astype("datetime64[D]").astype("datetime64[us]"))

    def _counted(self, day: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
        known, log = self._log.events.until(day), self._log.events
        age = np.subtract(day, log.times[known]) / DAY
        counts = np.bincount(log.items[known], np.exp(-age / ITEM_DAYS), len(self._categories))
        there = np.where(self._first_seen < day, np.subtract(day, self._first_seen) / DAY, np.inf)
        return self._shares(counts, 1 - np.exp(-np.maximum(there, LEAST_DAYS) / ITEM_DAYS))

    def _shares(self, counts: np.ndarray, of_all: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """float [items], the log of each item's share of its category, and float [categories], their shares.

        `of_all`: the part of the counted time that each item has been there.
        """
        weight = (counts + ITEM_SMOOTHING) / of_all
        of_category = np.bincount(self._categories, weight, self._width)
        return np.log(weight / of_category[self._categories]), of_category / of_category.sum()


def most_likely(counts: np.ndarray, totals: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """float [k] >= 0: the w that maximise the sum over events e of log(w . counts[e] / w . totals[owners[e]]).

    counts: float [events, k], of the category that was met. totals: float [users, k], of all categories. By
    multiplicative updates, none of which makes it worse (minorisation, as in Lee and Seung 1999); the first column
    is positive everywhere, so nothing is divided by 0.
    """
    weights = np.ones(counts.shape[1])
    events = np.bincount(owners, minlength=len(totals))
    for _ in range(ROUNDS):
        gain = counts.T @ (1.0 / (counts @ weights))
        loss = totals.T @ (events / (totals @ weights))
        weights = weights * gain / np.maximum(loss, 1e-12)
    return weights
