"""EASE (Steck, WWW 2019, arXiv 1905.03375): a linear model of items from items, in closed form.

    min ||X - X B||^2 + l2 ||B||^2  with diag(B) = 0:      P = (X^T X + l2 I)^-1,   B_ij = -P_ij / P_jj  (i != j)
    score(u, j) = sum of B_ij over the items i of the history

X is users by items, 1 where disliked. With positives the most liked items become further columns of X (being liked is
another thing than being disliked, also for the same item); only disliked items are scored. Items not disliked in
training score 0. Time is cubic in the columns: some 10 s for 6,000 on one core.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from conrec.baselines.base import SUFFIX, Inputs, Recommender, TrainingData
from conrec.baselines.sequences import OTHER, PREDICTED, Tokens, UserEvents
from conrec.data.instances import Instances

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
        gram = (x.T @ x).toarray()
        gram[np.diag_indices(len(gram))] += self.l2
        # The matrix is positive definite: by way of its Cholesky factor it takes less than half the time of `inv`.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(gram))).numpy()
        weights = -inverse[:, : self.tokens.targets] / np.diag(inverse)[: self.tokens.targets]
        weights[np.arange(self.tokens.targets), np.arange(self.tokens.targets)] = 0
        self.weights = weights.astype(np.float32)

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
