"""Weights of the features where given candidates are ranked (not in the paper).

Lists are made by a search that each choice of weights has to run again, so few can be tried. Candidates are given: the
weights are those under which the true ones are likeliest on validation, a conditional logit (McFadden 1974).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

LEAST_STD = 1e-3
"""Standard deviation of a feature within a set, in logs: one that differs less between candidates counts 0."""


def fit_weights(parts: np.ndarray, there: np.ndarray) -> np.ndarray:
    """float64 [p]: the weights w under which softmax(parts @ w) gives each set's first candidate the most.

    parts: float [n, c, p], finite where `there`, bool [n, c], is true; other places are no candidates. A set whose
    first is not there is left out. The weights of parts brought to the same standard deviation have a standard normal
    prior, so few sets do not say much, and without any all weights are 0.
    """
    some = there[:, 0] & (there.sum(1) > 1)
    x, there = np.where(there[..., None], parts, 0.0)[some].astype(np.float64), there[some]
    if not len(x):
        return np.zeros(parts.shape[-1])
    x = np.where(there[..., None], x - (x.sum(1) / there.sum(1)[:, None])[:, None], 0.0)
    std = np.sqrt((x**2).sum((0, 1)) / there.sum())
    differs = std >= LEAST_STD
    x = x[..., differs] / std[differs]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = np.where(there, x @ w, -np.inf)
        score -= score.max(1, keepdims=True)
        total = np.exp(score).sum(1)
        share = np.exp(score) / total[:, None]
        likelihood = (score[:, 0] - np.log(total)).sum()
        gradient = x[:, 0].sum(0) - np.einsum("nc,ncp->p", share, x)
        return w @ w / 2 - likelihood, w - gradient

    weights = np.zeros(len(std))
    weights[differs] = minimize(loss, np.zeros(int(differs.sum())), jac=True, method="L-BFGS-B").x / std[differs]
    return weights
