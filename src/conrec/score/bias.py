"""Bias terms: how much a user, or an item, is given to dislikes, each corrected for the other (docs/filter.md).

    z_ui = b_u + b_i,   b_u ~ N(0, s_u^2),   b_i ~ N(<F_i, g>, s_i^2)

is fitted to both at once (crossed random effects; the posterior mode, by Newton steps on users and items in turn), F_i
the item's content. `logit` fits dislike (1) against like (0); `identity` fits ratings turned around (higher = worse)
and scaled to a variance of 1. What then remains of a user is the user embedding: one vector p_u ~ N(0, s^2 I) over the
item embeddings, on top of b_u + b_i.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from conrec.compiled import compiled

Link = Literal["logit", "identity"]

USER_PRIOR_STD = {"logit": 1.0, "identity": 0.5}
ITEM_PRIOR_STD = {"logit": 1.0, "identity": 0.5}
NOISE = 0.6
"""Variance of a rating around b_u + b_i, for `identity`."""
SWEEPS = 4
NEWTON_STEPS = {"logit": 3, "identity": 1}
"""Newton steps; a quadratic is exact after one."""
EXPECTED_AT_0 = {"logit": 0.5, "identity": 0.0}
FEW = 100
"""Events of one user that are always worked out in their own space."""
CELLS_AT_ONCE = 2**16
"""Cells of a batch, users' histories times dimensions; larger ones are slower, for memory has to be cleared first."""


@dataclass(frozen=True)
class BiasTerms:
    """Fitted bias terms of the items; those of users follow from their histories (`user_bias_terms`)."""

    link: Link
    items: np.ndarray
    """float64 [n]: b_i."""
    prior: np.ndarray
    """float64 [n]: <F_i, g>, what the content alone says."""


def fit_bias_terms(
    link: Link, users: np.ndarray, items: np.ndarray, targets: np.ndarray, features: np.ndarray, n_users: int
) -> BiasTerms:
    """users, items: int [m]; targets: float [m], in [0, 1] for `logit`; features: float [n_items, f], no constant."""
    n = len(features)
    b_u, b_i, prior = np.zeros(n_users), np.zeros(n), np.zeros(n)
    user_precision, item_precision = USER_PRIOR_STD[link] ** -2, ITEM_PRIOR_STD[link] ** -2
    for _ in range(SWEEPS):
        for _ in range(2):
            slope, curvature = _derivatives(link, b_u[users] + b_i[items], targets)
            gradient = np.bincount(users, slope, n_users) - user_precision * b_u
            b_u = b_u + gradient / (np.bincount(users, curvature, n_users) + user_precision)
        for _ in range(2):
            slope, curvature = _derivatives(link, b_u[users] + b_i[items], targets)
            seen = np.bincount(items, curvature, n)
            gradient = np.bincount(items, slope, n) - item_precision * (b_i - prior)
            b_i = b_i + gradient / (seen + item_precision)
        # An item says as much about g as its own data outweighs the prior; `free` is b_i before shrinkage.
        free = prior + (b_i - prior) * (seen + item_precision) / np.maximum(seen, 1e-9)
        weight = np.where(seen > 1e-9, seen / (seen / item_precision + 1), 0)
        gram, moment = np.eye(features.shape[1] + 1), np.zeros(features.shape[1] + 1)
        for some, x in _with_constant(features):
            gram += (x * weight[some, None]).T @ x
            moment += (x * weight[some, None]).T @ np.where(weight[some] > 0, free[some], 0)
        slopes = np.linalg.solve(gram, moment)
        for some, x in _with_constant(features):
            prior[some] = x @ slopes
    return BiasTerms(link, b_i, prior)


def _with_constant(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the features, 65,536 at a time and float64, with a 1 before them."""
    for start in range(0, len(features), 65536):
        some = slice(start, start + 65536)
        yield some, np.hstack([np.ones((len(features[some]), 1)), features[some]])


def user_bias_terms(terms: BiasTerms, owner: np.ndarray, items: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    """b_u of n users from their histories, float64 [n]: event e is of user owner[e], on items[e] with targets[e]."""
    precision = USER_PRIOR_STD[terms.link] ** -2
    b_u, b_i = np.zeros(n), terms.items[items]
    for _ in range(NEWTON_STEPS[terms.link]):
        slope, curvature = _derivatives(terms.link, b_u[owner] + b_i, targets)
        gradient = np.bincount(owner, slope, n) - precision * b_u
        b_u = b_u + gradient / (np.bincount(owner, curvature, n) + precision)
    return b_u


def user_embeddings(
    link: Link, owner: np.ndarray, offsets: np.ndarray, targets: np.ndarray, items: np.ndarray, n: int, prior_std: float
) -> np.ndarray:
    """User embeddings p_u of n users, float32 [n, d]; the prior has this standard deviation in every direction.

    Event e is of user owner[e] (ascending), offsets[e] is its b_u + b_i, items[e] the item's embedding, float [m, d].
    """
    if n == 1 and len(owner):  # at a request: batches take three times as long as the user
        x = items.astype(np.float64)
        if len(x) > max(FEW, x.shape[1]):
            return _embeddings(link, offsets[None], targets[None], x[None], prior_std).astype(np.float32)
        dual = _dual(prior_std**2 * (x @ x.T), offsets, targets, link == "logit", NEWTON_STEPS[link])
        return (prior_std**2 * (dual @ x)).astype(np.float32)[None]
    starts = np.searchsorted(owner, np.arange(n + 1))
    lengths, d = np.diff(starts), items.shape[1]
    found = np.zeros((n, d), np.float32)
    # Histories of like length together, and those of more events than dimensions apart: little is added to any.
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    batch = np.cumsum(lengths[order] * d) // CELLS_AT_ONCE
    for users in np.split(order, np.flatnonzero(np.diff(batch) | np.diff(lengths[order] > d)) + 1):
        events = np.arange(lengths[users].max(initial=0))
        there = events < lengths[users, None]
        place = np.where(there, starts[users, None] + events, 0)
        # Behind its end a history goes on with an item at the origin and what was expected of it.
        offset, target = np.where(there, offsets[place], 0.0), np.where(there, targets[place], EXPECTED_AT_0[link])
        found[users] = _embeddings(link, offset, target, items[place] * there[..., None], prior_std)
    return found


def _embeddings(link: Link, offsets: np.ndarray, targets: np.ndarray, x: np.ndarray, prior_std: float) -> np.ndarray:
    """Newton for b users with e events each, x [b, e, d], in the smaller of the two spaces: events or dimensions."""
    _, e, d = x.shape
    if e <= d:
        kernel, dual = prior_std**2 * (x @ x.mT), np.zeros(offsets.shape)
        for _ in range(NEWTON_STEPS[link]):
            z, matrices = _times(kernel, dual), kernel.copy()
            slope, curvature = _derivatives(link, offsets + z, targets)
            matrices.reshape(len(x), e * e)[:, :: e + 1] += 1 / curvature
            dual = _solved(matrices, z + slope / curvature)
        return prior_std**2 * _times(x.mT, dual)
    found = np.zeros((len(x), d))
    for _ in range(NEWTON_STEPS[link]):
        slope, curvature = _derivatives(link, offsets + _times(x, found), targets)
        hessian = (x * curvature[..., None]).mT @ x + np.eye(d) / prior_std**2
        found = found + _solved(hessian, _times(x.mT, slope) - found / prior_std**2)
    return found


@compiled(fastmath={"reassoc", "contract"})
def _dual(kernel: np.ndarray, offsets: np.ndarray, targets: np.ndarray, logit: bool, steps: int) -> np.ndarray:
    """`_embeddings` of one user in the space of its events, float64 [e]: what each event adds of its item."""
    e = len(offsets)
    dual, z, right, lower = np.zeros(e), np.empty(e), np.empty(e), np.empty((e, e))
    for _ in range(steps):
        for i in range(e):
            z[i] = np.dot(kernel[i], dual)
        # By Cholesky, row by row: (kernel + 1 / curvature) dual = z + slope / curvature.
        for i in range(e):
            p = 1 / (1 + np.exp(-offsets[i] - z[i]))
            slope = targets[i] - (p if logit else offsets[i] + z[i])
            noise = 1 / (p * (1 - p) + 1e-6) if logit else 1.0
            right[i] = z[i] + slope * noise
            for j in range(i + 1):
                rest = kernel[i, j]
                for k in range(j):
                    rest -= lower[i, k] * lower[j, k]
                lower[i, j] = rest / lower[j, j] if j < i else np.sqrt(rest + (noise if logit else NOISE))
            for k in range(i):
                right[i] -= lower[i, k] * right[k]
            right[i] /= lower[i, i]
        for i in range(e - 1, -1, -1):
            dual[i] = right[i] / lower[i, i]
            for k in range(i):
                right[k] -= lower[i, k] * dual[i]
    return dual


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return (matrices @ vectors[..., None])[..., 0]


def _solved(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrices, vectors[..., None])[..., 0]


def _derivatives(link: Link, z: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First derivative and minus the second of the log-likelihood in z."""
    if link == "identity":
        return (targets - z) / NOISE, np.full(z.shape, 1 / NOISE)
    p = 1 / (1 + np.exp(-z))
    return targets - p, p * (1 - p) + 1e-6
