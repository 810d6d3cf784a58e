"""Limits on what the filter may drop: never a whole list, nothing for exempt users, nothing in a dry run.

A score says which candidates a user would rather not see; these rules say how many of them may go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Guardrails:
    """The limits that an operator sets."""

    min_keep: int = 1
    """At least this many candidates stay (all of a shorter list)."""
    max_drop_share: float = 0.5
    """At most this share of a list goes (rounded down)."""
    exempt: frozenset[str] = frozenset()
    """Users for whom nothing is scored or dropped."""
    dry_run: bool = False
    """Score and count, but drop nothing."""

    def __post_init__(self) -> None:
        if self.min_keep < 0:
            raise ValueError(f"min_keep must be 0 or more, not {self.min_keep}")
        if not 0 <= self.max_drop_share <= 1:
            raise ValueError(f"max_drop_share must lie between 0 and 1, not {self.max_drop_share}")

    def may_drop(self, candidates: int) -> int:
        """How many of a list of this length may go."""
        # 0.29 * 100 is 28.999999999999996 in floating point and means 29.
        by_share = int(self.max_drop_share * candidates + 1e-9)
        return max(0, min(by_share, candidates - self.min_keep))


def furthest_over(over: np.ndarray, excess: np.ndarray, at_most: int) -> np.ndarray:
    """Which of the candidates over their threshold go: the `at_most` furthest over it, as positions in ascending order.

    over: int [o], positions in the ranked list, ascending; excess: float [o], by how much each is over. Of equals the
    one that the ranker placed lower goes first.
    """
    if len(over) <= at_most:
        return over
    # lexsort sorts by its last key first.
    order = np.lexsort((-over, -excess))
    return np.sort(over[order[:at_most]])
