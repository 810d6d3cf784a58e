"""What everybody disliked lately: hard to beat, because new items are what people react to."""

from __future__ import annotations

import numpy as np

from conrec.baselines.base import Recommender, per_cutoff
from conrec.data.instances import Instances


class Popularity(Recommender):
    """Number of dislikes in the `days` before the cutoff, or ever."""

    def __init__(self, days: float | None) -> None:
        self.days = days
        self.name = "popularity_all" if days is None else f"popularity_{days:g}d"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items] counts."""
        counts = per_cutoff(instances.cutoffs, lambda cutoff: self.known.knowledge.dislike_counts(cutoff, self.days))
        return counts.astype(np.float32)


class ItemPrior(Recommender):
    """The prior that decoding may use, on its own: what a model must add something to."""

    name = "popularity_decayed"

    def __init__(self, days: float, smoothing: float) -> None:
        self.days, self.smoothing = days, smoothing

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items] natural logarithms; items not on offer have that of the rarest on offer."""
        return per_cutoff(instances.cutoffs, self._log_prior)

    def _log_prior(self, cutoff: np.datetime64) -> np.ndarray:
        prior = self.known.knowledge.prior(cutoff, self.days, self.smoothing)
        # Candidates may include items first seen after the cutoff: they are worth the least, but not impossible.
        return np.log(np.maximum(prior, prior[prior > 0].min())).astype(np.float32)
