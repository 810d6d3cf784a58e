"""Crossed random effects: how hard a user is to please, how hard an item is to like, each corrected for the other.

A plain rate of dislikes blames a strict item's users and a strict user's items. Here

    z_ui = b_u + b_i,   b_u ~ N(0, s_u^2),   b_i ~ N(<F_i, g>, s_i^2)

is fitted to both at once (its posterior mode, by Newton steps on users and items in turn), with an item's prior mean
taken from its content F, so that a new item starts where items like it stand. `logit` fits dislike (1) against like
(0); `identity` fits ratings turned around (higher = worse) and scaled to a variance of 1. A user's taste is what then
remains: one vector p_u ~ N(0, s^2 I) over the item's features, on top of b_u + b_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Link = Literal["logit", "identity"]

USER_SPREAD = {"logit": 1.0, "identity": 0.5}
ITEM_SPREAD = {"logit": 1.0, "identity": 0.5}
NOISE = 0.6
"""Variance of a rating around b_u + b_i (identity)."""
SWEEPS = 4
NEWTON_STEPS = {"logit": 3, "identity": 1}
"""A quadratic is exact after one."""


@dataclass(frozen=True)
class Effects:
    """Fitted item effects; those of users follow from their histories (`user_effects`)."""

    link: Link
    items: np.ndarray
    """float64 [n]: b_i."""
    prior: np.ndarray
    """float64 [n]: <F_i, g>, what the content alone says."""


def fit_effects(
    link: Link, users: np.ndarray, items: np.ndarray, targets: np.ndarray, features: np.ndarray, n_users: int
) -> Effects:
    """users, items: int [m]; targets: float [m], in [0, 1] for `logit`; features: float [n_items, f], a 1 included."""
    n = len(features)
    b_u, b_i, prior = np.zeros(n_users), np.zeros(n), np.zeros(n)
    user_precision, item_precision = USER_SPREAD[link] ** -2, ITEM_SPREAD[link] ** -2
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
        gram = (features * weight[:, None]).T @ features + np.eye(features.shape[1])
        prior = features @ np.linalg.solve(gram, (features * weight[:, None]).T @ np.where(weight > 0, free, 0))
    return Effects(link, b_i, prior)


def user_effects(effects: Effects, owner: np.ndarray, items: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    """b_u of n users from their histories, float64 [n]: event e is of user owner[e], on items[e] with targets[e]."""
    precision = USER_SPREAD[effects.link] ** -2
    b_u = np.zeros(n)
    for _ in range(NEWTON_STEPS[effects.link]):
        slope, curvature = _derivatives(effects.link, b_u[owner] + effects.items[items], targets)
        gradient = np.bincount(owner, slope, n) - precision * b_u
        b_u = b_u + gradient / (np.bincount(owner, curvature, n) + precision)
    return b_u


def user_tastes(
    link: Link,
    owner: np.ndarray,
    offsets: np.ndarray,
    targets: np.ndarray,
    features: np.ndarray,
    n: int,
    spread: float,
) -> np.ndarray:
    """p_u of n users, float32 [n, d], its prior's standard deviation being `spread` in every direction.

    Event e is of user owner[e] (ascending), offsets[e] is its b_u + b_i, features[e] the item's, float [m, d].
    """
    bounds = np.searchsorted(owner, np.arange(n + 1))
    tastes = np.zeros((n, features.shape[1]), np.float32)
    for user in np.flatnonzero(np.diff(bounds)):
        part = slice(bounds[user], bounds[user + 1])
        tastes[user] = _taste(link, offsets[part], targets[part], features[part], spread)
    return tastes


def _taste(link: Link, offsets: np.ndarray, targets: np.ndarray, x: np.ndarray, spread: float) -> np.ndarray:
    """Newton for one user, in the smaller of the two spaces: events [e, e] or features [d, d]."""
    if len(x) <= x.shape[1]:
        kernel, dual = spread**2 * (x @ x.T), np.zeros(len(x))
        for _ in range(NEWTON_STEPS[link]):
            z = kernel @ dual
            slope, curvature = _derivatives(link, offsets + z, targets)
            dual = np.linalg.solve(kernel + np.diag(1 / curvature), z + slope / curvature)
        return spread**2 * (dual @ x)
    taste = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS[link]):
        slope, curvature = _derivatives(link, offsets + x @ taste, targets)
        hessian = (x * curvature[:, None]).T @ x + np.eye(x.shape[1]) / spread**2
        taste = taste + np.linalg.solve(hessian, slope @ x - taste / spread**2)
    return taste


def _derivatives(link: Link, z: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First derivative and minus the second of the log-likelihood in z."""
    if link == "identity":
        return (targets - z) / NOISE, np.full(len(z), 1 / NOISE)
    p = 1 / (1 + np.exp(-z))
    return targets - p, p * (1 - p) + 1e-6
