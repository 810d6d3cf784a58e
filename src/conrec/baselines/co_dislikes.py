"""Neighbours of the day: what was disliked, up to the day of the prediction, by those who disliked the same.

The same similarities as `baselines.knn`, but counted anew every day like popularity, as CoNRec's decoding counts them
(`features.item_features`): no training, and so at home among the trivial systems.
"""

from __future__ import annotations

import numpy as np

from conrec.baselines.base import Recommender
from conrec.data.instances import Instances
from conrec.features.item_features import CoDislikeScore


class CoDislikes(Recommender):
    """log(1 + 10 s), s the sum of an item's similarities to the user's past dislikes."""

    name = "co_dislikes"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        assert self.known.co_dislikes is not None
        return CoDislikeScore(self.known.co_dislikes).log_weight(instances)
