"""The form in which every score is served: two small tables and a dot product.

    score(u, i) = b_u + b_i + <p_u, q_i> + w * max over the predicted dislikes j of u of cos(i, j)

The paper's score (its offline filtering) is w = 1 and nothing else; the history score is w = 0. Whatever a score learns
offline ends in the user factors (b_u, p_u) and the item factors (b_i, q_i), and serving it costs the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conrec.score.similarity import largest_cosine, max_cosine

VALUES, LARGEST = 32, 8
"""Values of an item that are known at most, and those of them, with the largest differences, that a reason can name."""


class ItemFactors:
    """What the service knows of every item; row n is item n of the catalogue."""

    def __init__(self, unit: np.ndarray, vectors: np.ndarray, biases: np.ndarray) -> None:
        """unit: float [n, D], rows of length 1, rebuilt from the codes (`Catalog.unit`); vectors: q, float [n, d], d
        may be 0; biases: float [n]. ValueError where their lengths differ.
        """
        self.table = np.hstack([unit, vectors, np.reshape(biases, (-1, 1))]).astype(np.float32, copy=False)
        """float32 [n, D + d + 1]: all there is to an item in one place, so that it is read from memory once."""
        self.features = unit.shape[1]
        """D."""

    @classmethod
    def of_table(cls, table: np.ndarray, dimensions: int) -> ItemFactors:
        """Of a `table` with vectors of so many dimensions (d), which is not copied. ValueError where it has none."""
        side = cls.__new__(cls)
        side.table, side.features = table, table.shape[1] - dimensions - 1
        if side.features < 1:
            columns = table.shape[1]
            raise ValueError(f"a table of {columns} columns, of which {dimensions} are vectors and one is a bias")
        return side

    @property
    def unit(self) -> np.ndarray:
        """float32 [n, D]; a view, of which single rows are to be had cheaply by `unit_of`."""
        return self.table[:, : self.features]

    @property
    def vectors(self) -> np.ndarray:
        """float32 [n, d], a view."""
        return self.table[:, self.features : -1]

    @property
    def biases(self) -> np.ndarray:
        """float32 [n], a view."""
        return self.table[:, -1]

    def unit_of(self, rows: np.ndarray) -> np.ndarray:
        """float32 [c, D]: unit rows of some items (int [c])."""
        return self.table.take(rows, axis=0)[:, : self.features]


def value_record(dimensions: int, largest: int = LARGEST) -> np.dtype:
    """What the service knows of an item's values (`score.item_values`): their numbers, those of the largest difference
    first and -1 behind the last, and what the largest add to the embedding, which has so many dimensions."""
    return np.dtype([("values", "<i4", (VALUES,)), ("differences", "<f2", (largest, dimensions))])


@dataclass(frozen=True)
class UserFactors:
    """What the service knows of one user."""

    predicted: np.ndarray
    """int [p], rows of the predicted dislikes, best first; may be empty."""
    vector: np.ndarray
    """p, float32 [d]."""
    bias: float


def score(
    items: ItemFactors, user: UserFactors, rows: np.ndarray, cosine_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of one user's candidates (int [c], rows of the catalogue), float32 [c], higher = rather disliked; and the
    predicted item (its row) that each comes closest to, int64 [c], -1 without any."""
    candidates = items.table.take(rows, axis=0)
    cosines, which = max_cosine(candidates[:, : items.features], items.unit_of(user.predicted))
    nearest = user.predicted[which].astype(np.int64) if len(user.predicted) else which
    return _sum(items, user, candidates, cosine_weight, cosines), nearest


def scores_alone(items: ItemFactors, user: UserFactors, rows: np.ndarray, cosine_weight: float) -> np.ndarray:
    """The scores of `score`, float32 [c], for less than half the time: which prediction was nearest is left out."""
    candidates = items.table.take(rows, axis=0)
    cosines = largest_cosine(candidates[:, : items.features], items.unit_of(user.predicted)) if cosine_weight else None
    return _sum(items, user, candidates, cosine_weight, cosines)


def _sum(
    items: ItemFactors, user: UserFactors, candidates: np.ndarray, cosine_weight: float, cosines: np.ndarray | None
) -> np.ndarray:
    """The formula above, float32 [c]. candidates: their rows of the items' table."""
    side = np.empty(len(user.vector) + 1, np.float32)
    side[:-1], side[-1] = user.vector, 1.0
    scores: np.ndarray = candidates[:, items.features :] @ side  # b_i stands behind q_i
    scores += np.float32(user.bias)
    if cosines is not None:
        scores += np.float32(cosine_weight) * cosines
    return scores
