"""The rule that platforms use: no more of a category that the user disliked."""

from __future__ import annotations

import numpy as np

from conrec.baselines.base import Recommender, TrainingData, category_numbers
from conrec.baselines.popularity import Popularity
from conrec.data.instances import Instances
from conrec.data.knowledge import DAY

TIE = 1e-3
"""Popularity counts for less than any dislike: it only orders the items within a category."""


class CategoryRule(Recommender):
    """Items of disliked categories first, the more popular first within.

    Without decay a category is disliked or it is not. With decay it has the sum of exp(-age / `decay_days`) over
    its dislikes, so the rule fades and many dislikes weigh more than one. Items without a category are never meant;
    a user without dislikes gets popularity.
    """

    def __init__(self, decay_days: float | None = None) -> None:
        self.decay_days = decay_days
        self.name = "category_rule" if decay_days is None else "category_rule_decay"
        self.popularity = Popularity(14)

    def fit(self, known: TrainingData) -> None:
        """Number the categories."""
        super().fit(known)
        self.popularity.fit(known)
        # Column 0 stands for "no category" and keeps weight 0.
        self.columns = category_numbers(known)
        self.width = 1 + int(self.columns.max(initial=0))

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]: weight of the item's category plus less than `TIE` for popularity."""
        owners, disliked = instances.dislikes.owners, instances.dislikes.values
        weight = np.ones(len(owners))
        if self.decay_days is not None:
            age = (instances.cutoffs[owners] - instances.dislike_times.values) / DAY
            weight = np.exp(-age / self.decay_days)
        cells = owners * self.width + self.columns[disliked]
        table = np.bincount(cells, weight, minlength=len(instances) * self.width)
        table = table.reshape(len(instances), self.width).astype(np.float32)
        table[:, 0] = 0
        if self.decay_days is None:
            table = np.minimum(table, 1)
        return table[:, self.columns] + np.float32(TIE) * relative_popularity(self.popularity, instances)


def relative_popularity(popularity: Popularity, instances: Instances) -> np.ndarray:
    """Popularity as a share of just above its maximum: float32 [B, n_items] in [0, 1)."""
    counts = popularity.scores(instances)
    return counts / (1 + counts.max(axis=1, keepdims=True))
