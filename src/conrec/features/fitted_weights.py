"""Weights under which the items that were really disliked are likeliest among those that could have been.

A conditional logit (McFadden 1974), for lists and for given candidates alike: each set of items has one target or
several, and the share of probability that softmax gives them is made as large as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from conrec.data.instances import Ragged

LEAST_STD = 1e-3
"""Standard deviation of a feature within a set, in logs: one that differs less between items counts 0."""
FOLDS = 5
STEPS = (0.5, 0.25, 0.125)
"""Of the search around the likeliest weights, as shares of the largest one."""


@dataclass(frozen=True)
class Sets:
    """Sets of items with their features and what came true. Every set holds a target and another item."""

    values: np.ndarray
    """float32 [m, p]: the features of all items of all sets, each less its mean within the set."""
    targets: Ragged
    """bool: the set's items that were disliked."""
    owners: np.ndarray
    """str [n]: whose each set is."""
    stands_for: np.ndarray
    """float32 [m]: how many items of its set each one stands for, itself included."""

    @classmethod
    def of(cls, values: np.ndarray, targets: Ragged, owners: np.ndarray, stands_for: np.ndarray | None = None) -> Sets:
        """Sets that teach something, out of any: values float [m, p], all finite; targets bool; owners str [n]."""
        if stands_for is None:
            stands_for = np.ones(len(values), np.float32)
        hits = np.bincount(targets.owners[targets.values], minlength=len(targets))
        kept = np.flatnonzero((hits > 0) & (hits < targets.lengths))
        inside = np.isin(targets.owners, kept)
        values, stands_for = values[inside].astype(np.float32), stands_for[inside]
        targets = targets.take(kept)
        if len(kept):
            sums = np.add.reduceat(values, targets.offsets[:-1], axis=0)
            values -= (sums / targets.lengths[:, None])[targets.owners]
        return cls(values, targets, owners[kept], stands_for)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: np.ndarray) -> Sets:
        places = Ragged(np.arange(len(self.values)), self.targets.offsets).take(index).values
        return Sets(self.values[places], self.targets.take(index), self.owners[index], self.stands_for[places])

    @staticmethod
    def joined(parts: Sequence[Sets]) -> Sets:
        values, owners, stands_for = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "owners", "stands_for")
        )
        return Sets(values, Ragged.joined([part.targets for part in parts]), owners, stands_for)

    def hits(self, weights: np.ndarray, k: int) -> np.ndarray:
        """float [n]: the chance that a target is among the k items of largest weighted sum, ties in any order."""
        scores, starts = self.values @ weights.astype(np.float32), self.targets.offsets[:-1]
        best = np.maximum.reduceat(np.where(self.targets.values, scores, -np.inf), starts)[self.targets.owners]
        ahead = np.add.reduceat((scores > best).astype(np.int64), starts)
        alike = np.add.reduceat(((scores == best) & ~self.targets.values).astype(np.int64), starts)
        return np.clip((k - ahead) / (1 + alike), 0.0, 1.0)


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
        softmax = sets.stands_for * np.exp(score - top[own])
        total = np.add.reduceat(softmax, starts)
        softmax /= total[own]
        return float(w @ w / 2 - wanted @ w + (np.log(total) + top).sum()), w - wanted + softmax @ x

    weights[differs] = minimize(loss, np.zeros(int(differs.sum())), jac=True, method="L-BFGS-B").x / std[differs]
    return weights


def sharpened(sets: Sets, weights: np.ndarray, k: int) -> np.ndarray:
    """float64 [p]: weights near these that hit more among the first k, by coordinate ascent.

    What makes all targets likely is not yet what puts one of them first. A step is taken where it gains more than one
    standard error of the paired difference.
    """
    if not len(sets):
        return weights
    scale = np.sqrt((sets.values.astype(np.float64) ** 2).mean(axis=0))
    weights, hits = weights.copy(), sets.hits(weights, k)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            size = step * np.abs(weights * scale).max()
            for n in np.flatnonzero(scale >= LEAST_STD):
                for change in (size, -size):
                    other = weights.copy()
                    other[n] += change / scale[n]
                    gain = sets.hits(other, k) - hits
                    if gain.mean() > max(1e-9, gain.std() / np.sqrt(len(gain))):
                        weights, hits, moved = other, hits + gain, True
    return weights


def held_out_hits(sets: Sets, k: int, fit: Callable[[Sets], np.ndarray], seed: int = 0) -> np.ndarray:
    """float [n]: `Sets.hits` of weights that were fitted without the set's user, in five folds of users."""
    users, number = np.unique(sets.owners, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(users))[number] % FOLDS
    found = np.zeros(len(sets))
    for n in range(FOLDS):
        inside, outside = np.flatnonzero(fold == n), np.flatnonzero(fold != n)
        if len(inside):
            found[inside] = sets.take(inside).hits(fit(sets.take(outside)), k)
    return found


def weights_for(sets: Sets, k: int) -> tuple[np.ndarray, list[float], float]:
    """The weights for the first k, float64 [p]; the share of sets that each feature alone hits; that of the weights.

    The share of the weights is held out (`held_out_hits`). They are sharpened where that hits more by a standard error.
    Where one feature alone hits more, it alone has a weight: a combination must not lose to its part.
    """
    alone = [float(sets.hits(one, k).mean()) for one in np.eye(sets.values.shape[1])]
    weights, hits = fit_weights(sets), held_out_hits(sets, k, fit_weights)
    gain = held_out_hits(sets, k, lambda some: sharpened(some, fit_weights(some), k)) - hits
    if len(gain) and gain.mean() > gain.std() / np.sqrt(len(gain)):
        weights, hits = sharpened(sets, weights, k), hits + gain
    together = float(hits.mean()) if len(hits) else 0.0
    if max(alone, default=0.0) > together:
        best = int(np.argmax(alone))
        weights = np.eye(len(alone))[best] * max(1.0, fit_weights(sets)[best])
        together = alone[best]
    return weights, alone, together
