"""What looks like something the user disliked before."""

from __future__ import annotations

from typing import Literal

import numpy as np

from conrec.baselines.base import Recommender, TrainingData
from conrec.baselines.category_rule import relative_popularity
from conrec.baselines.popularity import Popularity
from conrec.data.instances import Instances
from conrec.sid.catalog import unit_rows

CELLS_AT_ONCE = 2**24


class ContentNeighbours(Recommender):
    """Largest cosine to any past dislike, in one of two spaces.

    `content_neighbours` compares in the catalogue's space (rebuilt from the codes), as the filter does;
    `content_neighbours_input` compares the embeddings that the quantiser was given, with nothing lost.
    A user without dislikes gets popularity.
    """

    def __init__(self, space: Literal["catalog", "input"] = "catalog") -> None:
        self.space = space
        self.requires = ("catalog",) if space == "catalog" else ("embeddings",)
        self.name = "content_neighbours" if space == "catalog" else "content_neighbours_input"
        self.popularity = Popularity(14)

    def fit(self, known: TrainingData) -> None:
        """Take the unit rows of the space."""
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
            result[empty] = relative_popularity(self.popularity, instances.take(empty))
        some = np.flatnonzero(lengths)
        budget = max(1, CELLS_AT_ONCE // max(1, len(self.unit)))
        for part in np.split(some, np.flatnonzero(np.diff(np.cumsum(lengths[some]) // budget)) + 1):
            if len(part):
                disliked = instances.dislikes.take(part)
                cosine = self.unit[disliked.values] @ self.unit.T
                result[part] = np.maximum.reduceat(cosine, disliked.offsets[:-1], axis=0)
        return result
