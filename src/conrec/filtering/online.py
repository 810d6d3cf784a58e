"""The form in which every score is served: two small tables and a dot product.

    score(u, i) = b_u + b_i + <p_u, q_i> + w * max over the predicted dislikes j of u of cos(i, j)

The paper's score (its offline filtering) is w = 1 and nothing else. Whatever a better score learns offline ends in
the user's side (b_u, p_u) and the item's side (b_i, q_i); what is left to do online costs the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conrec.filtering.similarity import largest_cosine, max_cosine


@dataclass(frozen=True)
class ItemSide:
    """What the service knows of every item; row n is item n of the catalogue."""

    unit: np.ndarray
    """float32 [n, D], rows of length 1, rebuilt from the codes (`Catalog.unit`)."""
    vectors: np.ndarray
    """q, float32 [n, d]; d may be 0."""
    biases: np.ndarray
    """float32 [n]."""


@dataclass(frozen=True)
class UserSide:
    """What the service knows of one user."""

    predicted: np.ndarray
    """int [p], rows of the predicted dislikes, best first; may be empty."""
    vector: np.ndarray
    """p, float32 [d]."""
    bias: float


@dataclass(frozen=True)
class Scored:
    """Scores of one user's candidates."""

    scores: np.ndarray
    """float32 [c], higher = rather disliked."""
    cosines: np.ndarray
    """float32 [c] in [-1, 1]: the paper's score (`NOTHING_NEAR` for a user without predictions)."""
    nearest: np.ndarray
    """int64 [c]: the predicted item (its row in the catalogue) that a candidate comes closest to, -1 without any."""


def score(items: ItemSide, user: UserSide, rows: np.ndarray, cosine_weight: float) -> Scored:
    """Score candidates (int [c], rows of the catalogue) for one user."""
    cosines, which = max_cosine(items.unit.take(rows, axis=0), items.unit.take(user.predicted, axis=0))
    nearest = user.predicted[which].astype(np.int64) if len(user.predicted) else which
    return Scored(_sum(items, user, rows, cosine_weight, cosines), cosines, nearest)


def scores_alone(items: ItemSide, user: UserSide, rows: np.ndarray, cosine_weight: float) -> np.ndarray:
    """`score(...).scores`, float32 [c], for half the time: which prediction was nearest is left out."""
    cosines = largest_cosine(items.unit.take(rows, axis=0), items.unit.take(user.predicted, axis=0))
    return _sum(items, user, rows, cosine_weight, cosines)


def _sum(items: ItemSide, user: UserSide, rows: np.ndarray, cosine_weight: float, cosines: np.ndarray) -> np.ndarray:
    """The formula above, float32 [c]."""
    scores = items.biases.take(rows) + np.float32(user.bias)
    scores += np.float32(cosine_weight) * cosines
    if len(user.vector):
        scores += items.vectors.take(rows, axis=0) @ user.vector
    return scores
