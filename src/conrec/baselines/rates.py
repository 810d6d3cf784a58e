"""The formulas that an engineer writes in an afternoon, and that a filter must beat (protocol, filter replay).

A rate is dislikes / (dislikes + positives) before the cutoff, smoothed towards the rate of the whole log. They score
what is shown; as lists of items they mean little (a user's rate is the same for every item).
"""

import numpy as np

from conrec.baselines.base import CandidateScorer, Recommender
from conrec.data.instances import Instances

USER_SMOOTHING = 3.0
ITEM_SMOOTHING = 5.0


class UserRate(CandidateScorer):
    """Share of a user's signed events that are dislikes; in (0, 1)."""

    name = "user_rate"

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """float32 [B, c], the same in each row; -inf where a row is -1."""
        moments, which = np.unique(instances.cutoffs, return_inverse=True)
        smoothing = USER_SMOOTHING * np.array([base_rate(self, moment) for moment in moments])[which]
        signed = instances.n_dislikes + instances.n_positives
        rate = ((instances.n_dislikes + smoothing) / (signed + USER_SMOOTHING)).astype(np.float32)
        return np.where(candidates < 0, np.float32(-np.inf), rate[:, None])


class ItemRate(CandidateScorer):
    """Share of an item's signed events that are dislikes; in (0, 1)."""

    name = "item_rate"

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        moments, which = np.unique(instances.cutoffs, return_inverse=True)
        rates = np.array([self._rate(moment) for moment in moments], np.float32).reshape(-1, len(self.known.items))
        return np.where(candidates < 0, np.float32(-np.inf), rates[which[:, None], np.maximum(candidates, 0)])

    def _rate(self, cutoff: np.datetime64) -> np.ndarray:
        dislikes, likes = self.known.knowledge.dislike_counts(cutoff), self.known.likes.before(cutoff)
        return (dislikes + ITEM_SMOOTHING * base_rate(self, cutoff)) / (dislikes + likes + ITEM_SMOOTHING)


class Bias(CandidateScorer):
    """logit(item rate) + logit(user rate): a filter that does not beat this is not worth deploying."""

    name = "bias"

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        parts = []
        for system in (UserRate(), ItemRate()):
            system.fit(self.known)
            rate = system.score_candidates(instances, np.maximum(candidates, 0))
            parts.append(np.log(rate) - np.log1p(-rate))
        return np.where(candidates < 0, np.float32(-np.inf), parts[0] + parts[1])


def base_rate(system: Recommender, cutoff: np.datetime64) -> float:
    """Rate of the whole log before the cutoff, itself smoothed by one dislike in two so that it is never 0 or 1."""
    dislikes = system.known.knowledge.dislike_counts(cutoff).sum()
    likes = system.known.likes.before(cutoff).sum()
    return float((dislikes + 1) / (dislikes + likes + 2))
