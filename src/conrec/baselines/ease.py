"""EASE (Steck, WWW 2019, arXiv 1905.03375): a linear model of items from items, in closed form.

The weights B are those of `conrec.features.ease`; here l2 is tuned, and a user's score sums them over the items of the
history. X is users by items, 1 where disliked. With positives the most liked items become further columns of X. Only
disliked items are scored; items not disliked in training score 0. Some 10 s for 6,000 columns on one core.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from conrec.baselines.base import SUFFIX, Inputs, Recommender, TrainingData
from conrec.baselines.sequences import OTHER, PREDICTED, Tokens, UserEvents
from conrec.data.instances import Instances
from conrec.features.ease import ease_weights

LIKED_COLUMNS = 4000
"""At most so many liked items are read, the most liked ones."""


class EASE(Recommender):
    """`l2` is the paper's lambda."""

    name = "ease"
    grid = tuple({"l2": l2} for l2 in (30.0, 100.0, 300.0, 1000.0))

    def __init__(self, inputs: Inputs = "dislikes", *, l2: float = 30.0) -> None:
        self.name += SUFFIX[inputs]
        self.inputs, self.l2 = inputs, l2

    def fit(self, known: TrainingData) -> None:
        """Invert the Gram matrix."""
        super().fit(known)
        events, users = UserEvents.of_log(known.events, self.inputs)
        self.tokens = Tokens.of(events, len(known.items))
        self.columns = columns(events, self.tokens, LIKED_COLUMNS)
        x = indicators(events, self.columns, len(users))
        self.weights = ease_weights((x.T @ x).toarray(), self.tokens.targets, self.l2).astype(np.float32)

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        history = indicators(UserEvents.of_instances(instances, self.inputs), self.columns, len(instances))
        result = np.zeros((len(instances), len(self.known.items)), np.float32)
        result[:, self.tokens.rows[: self.tokens.targets]] = history @ self.weights
        return result


def columns(events: UserEvents, tokens: Tokens, at_most: int) -> np.ndarray:
    """int64 [3, n_items]: the column of an item under a mark, -1 for none.

    First the targets in the order of their tokens, then up to `at_most` items with the other mark, the most frequent
    ones (ties to the smaller row).
    """
    n_items = len(tokens.of_row)
    result = np.full((3, n_items), -1)
    result[PREDICTED, tokens.rows[: tokens.targets]] = np.arange(tokens.targets)
    counts = np.bincount(events.rows[events.marks == OTHER], minlength=n_items)
    frequent = np.argsort(-counts, kind="stable")[: min(at_most, int((counts > 0).sum()))]
    result[OTHER, frequent] = tokens.targets + np.arange(len(frequent))
    return result


def indicators(events: UserEvents, columns: np.ndarray, n: int) -> csr_matrix:
    """float64 [n, number of columns]: 1 where an owner's event has a column (see `columns`)."""
    column = columns[events.marks, events.rows]
    kept = column >= 0
    shape = (n, int(columns.max()) + 1)
    return csr_matrix((np.ones(int(kept.sum())), (events.owners[kept], column[kept])), shape)
