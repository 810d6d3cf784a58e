"""Weights under which the items that were really disliked are likeliest among those that could have been.

A conditional logit (McFadden 1974), for lists and for given candidates alike: each set of items has one target or
several, and the share of probability that softmax gives them is made as large as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from conrec.data.instances import Ragged

LEAST_STD = 1e-3
"""Standard deviation of a feature within a set, in logs: one that differs less between items counts 0."""
FOLDS = 5


@dataclass(frozen=True)
class Sets:
    """Sets of items with their features and what came true. Every set holds a target and another item."""

    values: np.ndarray
    """float32 [m, p]: the features of all items of all sets, each less its mean within the set."""
    targets: Ragged
    """bool: the set's items that were disliked."""
    owners: np.ndarray
    """str [n]: whose each set is."""

    @classmethod
    def of(cls, values: np.ndarray, targets: Ragged, owners: np.ndarray) -> Sets:
        """Sets that teach something, out of any: values float [m, p], all finite; targets bool; owners str [n]."""
        hits = np.bincount(targets.owners[targets.values], minlength=len(targets))
        kept = np.flatnonzero((hits > 0) & (hits < targets.lengths))
        values = values[np.isin(targets.owners, kept)].astype(np.float32)
        targets = targets.take(kept)
        if len(kept):
            sums = np.add.reduceat(values, targets.offsets[:-1], axis=0)
            values -= (sums / targets.lengths[:, None])[targets.owners]
        return cls(values, targets, owners[kept])

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: np.ndarray) -> Sets:
        """The sets at `index`, int [k]."""
        places = Ragged(np.arange(len(self.values)), self.targets.offsets).take(index).values
        return Sets(self.values[places], self.targets.take(index), self.owners[index])

    def hits(self, weights: np.ndarray, k: int) -> np.ndarray:
        """bool [n]: a target is among the k items of largest weighted sum."""
        scores, starts = self.values @ weights.astype(np.float32), self.targets.offsets[:-1]
        best = np.maximum.reduceat(np.where(self.targets.values, scores, -np.inf), starts)
        ahead = np.add.reduceat((scores > best[self.targets.owners]).astype(np.int64), starts)
        return np.asarray(ahead < k)


def fit_weights(sets: Sets) -> np.ndarray:
    """float64 [p]: the weights w under which softmax(values @ w) gives the targets of each set the most.

    The weights of features brought to the same standard deviation have a standard normal prior, so few sets do not say
    much, and without any all weights are 0.
    """
    weights = np.zeros(sets.values.shape[1])
    if not len(sets):
        return weights
    std = np.sqrt((sets.values.astype(np.float64) ** 2).mean(axis=0))
    differs = std >= LEAST_STD
    x = sets.values[:, differs] / std[differs].astype(np.float32)
    own, starts = sets.targets.owners, sets.targets.offsets[:-1]
    share = sets.targets.values / np.add.reduceat(sets.targets.values.astype(np.int64), starts)[own]
    wanted = share @ x.astype(np.float64)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = (x @ w.astype(np.float32)).astype(np.float64)
        top = np.maximum.reduceat(score, starts)
        softmax = np.exp(score - top[own])
        total = np.add.reduceat(softmax, starts)
        softmax /= total[own]
        return float(w @ w / 2 - wanted @ w + (np.log(total) + top).sum()), w - wanted + softmax @ x

    weights[differs] = minimize(loss, np.zeros(int(differs.sum())), jac=True, method="L-BFGS-B").x / std[differs]
    return weights


def held_out_hits(sets: Sets, k: int, seed: int = 0) -> np.ndarray:
    """bool [n]: `Sets.hits` of weights that were fitted without the set's user, in five folds of users."""
    users, number = np.unique(sets.owners, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(users))[number] % FOLDS
    found = np.zeros(len(sets), bool)
    for n in range(FOLDS):
        inside, outside = np.flatnonzero(fold == n), np.flatnonzero(fold != n)
        if len(inside):
            found[inside] = sets.take(inside).hits(fit_weights(sets.take(outside)), k)
    return found


def weights_for(sets: Sets, k: int) -> tuple[np.ndarray, list[float], float]:
    """The weights for the first k, float64 [p]; the share of sets that each feature alone hits; that of the weights.

    The share of the weights is held out (`held_out_hits`). Where one feature alone hits more, it alone has a weight:
    a combination must not lose to its part.
    """
    weights, alone = fit_weights(sets), [float(sets.hits(one, k).mean()) for one in np.eye(sets.values.shape[1])]
    together = float(held_out_hits(sets, k).mean())
    if max(alone, default=0.0) > together:
        best = int(np.argmax(alone))
        weights = np.eye(len(alone))[best] * max(1.0, fit_weights(sets)[best])
        together = alone[best]
    return weights, alone, together
