"""Neighbours of what a user disliked: items that the same people disliked.

`ItemKNN` (Deshpande and Karypis, ACM TOIS 2004): shrunk cosine s(j, i) of the users who disliked both
(`features.co_dislikes`), and of each item j only its `neighbours` nearest items; an item's score is the sum of s(j, i)
over the dislikes j of the history. With positives, s is also taken between "liked j" and "disliked i", and likes
count `POSITIVE_WEIGHT`. `SwingNeighbours` does the same with the neighbours and scores of `items.swing`, dislikes
only. Items that nobody disliked in training are no one's neighbours and score 0.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.sparse import csr_matrix, diags

from conrec.baselines.base import SUFFIX, Inputs, Recommender, TrainingData
from conrec.baselines.ease import columns, indicators
from conrec.baselines.sequences import Tokens, UserEvents
from conrec.data.instances import Instances
from conrec.features.co_dislikes import cosine_neighbours
from conrec.items.swing import swing

POSITIVE_WEIGHT = 0.3


class Neighbours(Recommender):
    """Sum of the similarities to the events of a history."""

    inputs: Inputs = "dislikes"

    @abstractmethod
    def similarities(self, events: UserEvents, users: int) -> csr_matrix:
        """Similarities of what may stand in a history to the targets, float [columns, T]."""

    def fit(self, known: TrainingData) -> None:
        """Find the neighbours."""
        super().fit(known)
        events, users = UserEvents.of_log(known.events, self.inputs)
        self.tokens = Tokens.of(events, len(known.items))
        self.columns = columns(events, self.tokens, len(known.items))
        self.similar = self.similarities(events, len(users))

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        history = indicators(UserEvents.of_instances(instances, self.inputs), self.columns, len(instances))
        result = np.zeros((len(instances), len(self.known.items)), np.float32)
        result[:, self.tokens.rows[: self.tokens.targets]] = (history @ self.similar).toarray()
        return result


class ItemKNN(Neighbours):
    """Neighbours by cosine."""

    name = "item_knn"
    grid = tuple(
        {"neighbours": neighbours, "shrinkage": shrinkage} for neighbours in (20, 100) for shrinkage in (3.0, 10.0)
    )

    def __init__(self, inputs: Inputs = "dislikes", *, neighbours: int = 100, shrinkage: float = 3.0) -> None:
        self.name += SUFFIX[inputs]
        self.inputs, self.neighbours, self.shrinkage = inputs, neighbours, shrinkage

    def similarities(self, events: UserEvents, users: int) -> csr_matrix:
        """The nearest of each row, an item itself left out."""
        x = indicators(events, self.columns, users)
        targets = self.tokens.targets
        matrix = cosine_neighbours(x, targets, self.neighbours, self.shrinkage)
        weight = np.where(np.arange(x.shape[1]) < targets, 1.0, POSITIVE_WEIGHT)
        return (diags(weight) @ matrix).tocsr()


class SwingNeighbours(Neighbours):
    """Neighbours by Swing (paper equation 5)."""

    name = "swing_neighbours"
    grid = tuple({"neighbours": neighbours, "alpha2": alpha2} for neighbours in (20, 100) for alpha2 in (0.0, 1.0))

    def __init__(self, *, neighbours: int = 20, alpha2: float = 1.0) -> None:
        self.neighbours, self.alpha2 = neighbours, alpha2

    def similarities(self, events: UserEvents, users: int) -> csr_matrix:
        """Similarities as `items.swing` finds them."""
        log = self.known.events  # in the order of time, which Swing's caps want
        dislikes = log.take(log.kinds == "dislike")
        token = self.tokens.of_row[dislikes.items] - 1
        found, values = swing(dislikes.owners()[1], token, self.tokens.targets, self.neighbours, alpha2=self.alpha2)
        row, place = np.nonzero(found >= 0)
        shape = (self.tokens.targets, self.tokens.targets)
        return csr_matrix((values[row, place], (row, found[row, place])), shape)
