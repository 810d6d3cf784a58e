"""The systems that need no training: every table has them.

Popularity, the rule that platforms use, and neighbours by content and by what others disliked; for the filter also the
rates of `baselines.rates`.
"""

from typing import Literal

import numpy as np

from conrec.baselines.base import Recommender, TrainingData, category_numbers
from conrec.baselines.rates import Bias, ItemRate, UserRate
from conrec.baselines.with_prior import ItemPrior, WithPrior
from conrec.data.instances import Instances
from conrec.data.knowledge import DAY, per_cutoff
from conrec.features.item_features import CoDislikeScore
from conrec.sid.catalog import unit_rows

DECAY_DAYS = 30.0
TIE = 1e-3
"""Popularity counts for less than any dislike: it only orders the items within a category."""
CELLS_AT_ONCE = 2**24
"""Cosines held at a time."""


def trivial_systems(prior_days: float, prior_smoothing: float) -> list[Recommender]:
    """Baselines for lists of items; those with a `+prior` in their name want `tune` on validation first."""
    plain = [*_rules_and_content(), CoDislikes()]
    return [
        *(Popularity(days) for days in (7, 14, 30, None)),
        ItemPrior(prior_days, prior_smoothing),
        *plain,
        *(WithPrior(system, prior_days, prior_smoothing) for system in plain),
    ]


def filter_systems() -> list[Recommender]:
    """Baselines for the filter replay."""
    return [Popularity(14), *_rules_and_content(), UserRate(), ItemRate(), Bias()]


def _rules_and_content() -> list[Recommender]:
    return [CategoryRule(), CategoryRule(DECAY_DAYS), ContentNeighbours("catalog"), ContentNeighbours("input")]


class Popularity(Recommender):
    """Number of dislikes in the `days` before the cutoff, or ever: hard to beat, because new items are what people
    react to."""

    def __init__(self, days: float | None) -> None:
        self.days = days
        self.name = "popularity_all" if days is None else f"popularity_{days:g}d"

    def scores(self, instances: Instances) -> np.ndarray:
        counts = per_cutoff(instances.cutoffs, lambda cutoff: self.known.knowledge.dislike_counts(cutoff, self.days))
        return counts.astype(np.float32)

    def relative(self, instances: Instances) -> np.ndarray:
        """The scores as a share of just above their maximum: float32 [B, n_items] in [0, 1)."""
        counts = self.scores(instances)
        return counts / (1 + counts.max(axis=1, keepdims=True))


class CategoryRule(Recommender):
    """The rule that platforms use: items of disliked categories first, the more popular first within.

    Without decay a category is disliked or it is not. With decay it has the sum of exp(-age / `decay_days`) over
    its dislikes, so the rule fades and many dislikes weigh more than one. Items without a category are never meant;
    a user without dislikes gets popularity.
    """

    def __init__(self, decay_days: float | None = None) -> None:
        self.decay_days = decay_days
        self.name = "category_rule" if decay_days is None else "category_rule_decay"
        self.popularity = Popularity(14)

    def fit(self, known: TrainingData) -> None:
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
        return table[:, self.columns] + np.float32(TIE) * self.popularity.relative(instances)


class ContentNeighbours(Recommender):
    """Largest cosine to any past dislike, in one of two spaces.

    `content_neighbours` compares in the catalogue's space (rebuilt from the codes), as the paper's filter does;
    `content_neighbours_input` compares the embeddings that the quantiser was given, with nothing lost.
    A user without dislikes gets popularity.
    """

    def __init__(self, space: Literal["catalog", "input"] = "catalog") -> None:
        self.space = space
        self.requires = ("catalog",) if space == "catalog" else ("embeddings",)
        self.name = "content_neighbours" if space == "catalog" else "content_neighbours_input"
        self.popularity = Popularity(14)

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        self.popularity.fit(known)
        if self.space == "catalog":
            assert known.catalog is not None
            self.unit = known.catalog.unit
        else:
            assert known.embeddings is not None
            self.unit = unit_rows(known.embeddings)

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items] cosines; popularity in [0, 1) for users without dislikes."""
        lengths = instances.dislikes.lengths
        result = np.empty((len(instances), len(self.unit)), np.float32)
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            result[empty] = self.popularity.relative(instances.take(empty))
        some = np.flatnonzero(lengths)
        budget = max(1, CELLS_AT_ONCE // max(1, len(self.unit)))
        for part in np.split(some, np.flatnonzero(np.diff(np.cumsum(lengths[some]) // budget)) + 1):
            if len(part):
                disliked = instances.dislikes.take(part)
                cosine = self.unit[disliked.values] @ self.unit.T
                result[part] = np.maximum.reduceat(cosine, disliked.offsets[:-1], axis=0)
        return result


class CoDislikes(Recommender):
    """Neighbours of the day, log(1 + 10 s): s is the sum of an item's similarities to the user's past dislikes.

    The similarities of `ItemKNN`, but counted anew every day like popularity, as CoNRec's decoding counts them.
    """

    name = "co_dislikes"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        assert self.known.co_dislikes is not None
        return CoDislikeScore(self.known.co_dislikes).log_weight(instances)
