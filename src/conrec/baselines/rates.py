"""The formulas that an engineer writes in an afternoon, and that a filter must beat (protocol, filter replay).

A rate is dislikes / (dislikes + positives) before the cutoff, smoothed towards the rate of the whole log. They score
what is shown; as lists of items they mean little (a user's rate is the same for every item).
"""

import numpy as np

from conrec.baselines.base import Recommender, per_cutoff
from conrec.data.instances import Instances

USER_SMOOTHING = 3.0
ITEM_SMOOTHING = 5.0


class UserRate(Recommender):
    """Share of a user's signed events that are dislikes."""

    name = "user_rate"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items], the same in each row; in (0, 1)."""
        base = per_cutoff(instances.cutoffs, self._base)
        signed = instances.n_dislikes + instances.n_positives
        rate = (instances.n_dislikes[:, None] + USER_SMOOTHING * base) / (signed[:, None] + USER_SMOOTHING)
        return np.broadcast_to(rate.astype(np.float32), (len(instances), len(self.known.items)))

    def _base(self, cutoff: np.datetime64) -> np.ndarray:
        return np.array([base_rate(self, cutoff)])


class ItemRate(Recommender):
    """Share of an item's signed events that are dislikes."""

    name = "item_rate"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items] in (0, 1)."""
        return per_cutoff(instances.cutoffs, self._rate).astype(np.float32)

    def _rate(self, cutoff: np.datetime64) -> np.ndarray:
        dislikes, likes = self.known.knowledge.dislike_counts(cutoff), self.known.likes.before(cutoff)
        return (dislikes + ITEM_SMOOTHING * base_rate(self, cutoff)) / (dislikes + likes + ITEM_SMOOTHING)


class Bias(Recommender):
    """logit(item rate) + logit(user rate): a filter that does not beat this is not worth deploying."""

    name = "bias"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        parts = []
        for system in (UserRate(), ItemRate()):
            system.fit(self.known)
            rate = system.scores(instances)
            parts.append(np.log(rate) - np.log1p(-rate))
        return parts[0] + parts[1]


def base_rate(system: Recommender, cutoff: np.datetime64) -> float:
    """Rate of the whole log before the cutoff, itself smoothed by one dislike in two so that it is never 0 or 1."""
    dislikes = system.known.knowledge.dislike_counts(cutoff).sum()
    likes = system.known.likes.before(cutoff).sum()
    return float((dislikes + 1) / (dislikes + likes + 2))
