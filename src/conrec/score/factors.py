"""The form in which the history score is served: two small tables and a dot product.

    score(u, i) = b_u + b_i + <p_u, q_i>

Whatever the score learns offline ends in the user factors (b_u, p_u) and the item factors (b_i, q_i).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from conrec.compiled import compiled, prefetch

VALUES, LARGEST = 32, 8
"""Values of an item that are known at most, and those of them, with the largest differences, that a reason can name."""

AHEAD = 16
"""Items whose rows are on their way from memory while one is multiplied."""


@dataclass(frozen=True)
class ItemFactors:
    """What the service knows of every item; row n is item n of the catalogue."""

    table: np.ndarray
    """float32 [n, d + 1]: q and behind it b, in one place, so that an item is read from memory once."""

    @classmethod
    def of(cls, vectors: np.ndarray, biases: np.ndarray) -> ItemFactors:
        """vectors: q, float [n, d]; biases: b, float [n]. ValueError where their lengths differ."""
        return cls(np.hstack([vectors, np.reshape(biases, (-1, 1))]).astype(np.float32, copy=False))

    @property
    def vectors(self) -> np.ndarray:
        """float32 [n, d], a view."""
        return self.table[:, :-1]

    @property
    def biases(self) -> np.ndarray:
        """float32 [n], a view."""
        return self.table[:, -1]


def value_record(dimensions: int, largest: int = LARGEST) -> np.dtype:
    """What the service knows of an item's values (`score.item_values`): their numbers, those of the largest difference
    first and -1 behind the last, and what the largest add to the embedding, which has so many dimensions."""
    return np.dtype([("values", "<i4", (VALUES,)), ("differences", "<f2", (largest, dimensions))])


class UserFactors(NamedTuple):
    """What the service knows of one user."""

    vector: np.ndarray
    """p, float32 [d]."""
    bias: float


def served_scores(items: ItemFactors, user: UserFactors, rows: np.ndarray) -> np.ndarray:
    """Scores of one user's candidates (int [c], rows of the catalogue), float32 [c], higher = rather disliked; nan for
    a row below 0. IndexError for one that is none."""
    # The vector is copied, as a stored one is read-only, for which numba would compile anew.
    found, side = np.empty(len(rows), np.float32), np.array(user.vector, np.float32)
    _products(items.table, rows.astype(np.int64, copy=False), side, np.float32(user.bias), found)
    return found


@compiled(fastmath={"reassoc", "contract"})
def _products(table: np.ndarray, rows: np.ndarray, side: np.ndarray, bias: np.float32, found: np.ndarray) -> None:
    """Fills `found`. BLAS would need a copy of the rows, which takes longer than the products."""
    for n in range(len(rows)):
        soon = rows[min(n + AHEAD, len(rows) - 1)] * table.strides[0]
        for line in range(soon, soon + table.strides[0], 64):
            prefetch(table, line)
        if rows[n] >= len(table):
            raise IndexError("no such row")
        total = bias + table[rows[n], len(side)] if rows[n] >= 0 else np.float32(np.nan)
        for k in range(len(side) if rows[n] >= 0 else 0):
            total += table[rows[n], k] * side[k]
        found[n] = total
