"""EASE (Steck, WWW 2019, arXiv 1905.03375) as an item feature: what of a user's history speaks for a dislike.

    min ||X - X B||^2 + l2 ||B||^2  with diag(B) = 0:      P = (X^T X + l2 I)^-1,   B_ij = -P_ij / P_jj  (i != j)
    score(u, j) = sum of B_ij over the items i that u disliked, and over those that u liked

X is users by items, 1 where disliked; what is liked has further columns, for being liked is another thing than being
disliked, also for the same item. Only the weights of each column that are largest in size are kept (docs/decoding.md).
"""

import numpy as np
import torch
from scipy.sparse import csr_matrix

from conrec.data.instances import Instances
from conrec.features.item_features import ItemFeature
from conrec.features.log_view import LogView
from conrec.parallel import Memo

L2 = 100.0
DISLIKED, LIKED = 3000, 2000
"""Columns at most, the most frequent ones: time is cubic in them, some 3 s for 5,000 on one core."""
FEWEST = 2
"""Items of fewer dislikes have no column."""
WEIGHTS = 300
"""Of each column, so that those of many weeks fit into memory."""
NONE = -1


def ease_weights(gram: np.ndarray, targets: int, l2: float) -> np.ndarray:
    """B for the first `targets` columns, float64 [columns, targets]. gram: X^T X, float64 [columns, columns]."""
    regular = gram + l2 * np.eye(len(gram))
    # The matrix is positive definite: by way of its Cholesky factor it takes less than half the time of `inv`.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(regular))).numpy()
    weights = -inverse[:, :targets] / np.diag(inverse)[:targets]
    weights[np.arange(targets), np.arange(targets)] = 0
    return weights


class Ease(ItemFeature):
    """The score of EASE on the log before the week of a cutoff; in `users` mode on the known users' whole log."""

    name = "ease"

    def __init__(self, log_view: LogView) -> None:
        self._log_view, self._before = log_view, Memo(self._fitted)

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: the scores in standard deviations; 0 for an item without a column and for a user without
        a history."""
        feedback, items = self._log_view.told, len(self._log_view.items)
        out = np.zeros((len(instances), items), np.float32)
        places, owners = feedback.histories(instances)
        rows, likes, signed = feedback.items[places], feedback.signs[places] < 0, feedback.signs[places] != 0
        weeks = instances.cutoffs.astype("datetime64[W]")
        for week in np.unique(weeks):
            column, weights = self._before(week if self._log_view.train_users is None else np.datetime64(0, "W"))
            columns = column[likes.astype(np.int64), rows]
            own = signed & (columns != NONE) & (weeks[owners] == week)
            shape = len(instances), weights.shape[0]
            history = csr_matrix((np.ones(int(own.sum()), np.float32), (owners[own], columns[own])), shape)
            history.data[:] = 1  # a user may have disliked an item twice
            found = np.flatnonzero(weeks == week)
            targets = np.flatnonzero(column[0] != NONE)
            out[np.ix_(found, targets)] = (history[found] @ weights).toarray()[:, column[0, targets]]
        return out / np.maximum(out.std(axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def _fitted(self, week: np.datetime64) -> tuple[np.ndarray, csr_matrix]:
        """The column of each item, int64 [2, items]: as disliked and as liked; and B, float32 [columns, targets]."""
        feedback, n = self._log_view.told, len(self._log_view.items)
        known = feedback.known(week.astype("datetime64[us]"), self._log_view.train_users)
        users, items, signs = feedback.users[known], feedback.items[known], feedback.signs[known]
        column, width = np.full((2, n), NONE), 0
        for kind, (sign, most) in enumerate(((1, DISLIKED), (-1, LIKED))):
            counts = np.bincount(items[signs == sign], minlength=n)
            kept = np.argsort(-counts, kind="stable")[:most]
            kept = kept[counts[kept] >= FEWEST]
            column[kind, kept] = width + np.arange(len(kept))
            width += len(kept)
        targets = int((column[0] != NONE).sum())
        columns = column[(signs < 0).astype(np.int64), items]
        own = (signs != 0) & (columns != NONE)
        _, owners = np.unique(users[own], return_inverse=True)
        x = csr_matrix((np.ones(len(owners)), (owners, columns[own])), (int(owners.max(initial=-1)) + 1, width))
        x.data[:] = 1
        weights = ease_weights((x.T @ x).toarray(), targets, L2)
        if len(weights) > WEIGHTS:
            least = -np.partition(-np.abs(weights), WEIGHTS - 1, axis=0)[WEIGHTS - 1]
            weights[np.abs(weights) < least] = 0
        return column, csr_matrix(weights.astype(np.float32))
