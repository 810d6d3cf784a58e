"""Dislikes avoided at a budget of likes lost: intervals and paired differences, by resampling users.

Each draw takes as many users as there are, with replacement, and sets every system's threshold anew on the likes that
were drawn, so that what the threshold owes to chance is in the interval, too. Neutral exposures do not count here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conrec.evaluate.bootstrap import interval
from conrec.evaluate.results import Difference, Estimate, Verdict

BUDGETS = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Avoided:
    """Share of the dislikes that every system avoids at every budget."""

    names: tuple[str, ...]
    budgets: tuple[float, ...]
    value: np.ndarray
    """float64 [systems, budgets]: shares on the data itself, mean over seeds."""
    drawn: np.ndarray
    """float64 [draws, systems, budgets]: shares in each bootstrap draw, nan where it held no dislike or no like."""

    def of(self, name: str) -> dict[str, Estimate]:
        """One system: budget ("0.01") -> share of dislikes avoided."""
        row = self.names.index(name)
        return {
            f"{budget:g}": Estimate(float(self.value[row, n]), interval(self.drawn[:, row, n]))
            for n, budget in enumerate(self.budgets)
        }

    def difference(self, ours: str, other: str) -> dict[str, Difference]:
        """Paired lead of `ours`: budget -> how much more it avoids on the same exposures."""
        a, b = self.names.index(ours), self.names.index(other)
        result = {}
        for n, budget in enumerate(self.budgets):
            low, high = interval(self.drawn[:, a, n] - self.drawn[:, b, n])
            verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "not significant"
            result[f"{budget:g}"] = Difference(float(self.value[a, n] - self.value[b, n]), (low, high), verdict)
        return result


def dislikes_avoided(
    users: np.ndarray,
    disliked: np.ndarray,
    scores: Mapping[str, Sequence[np.ndarray]],
    budgets: Sequence[float] = BUDGETS,
    draws: int = 1000,
    seed: int = 0,
) -> Avoided | None:
    """Share of the dislikes that each system avoids at each budget of likes lost.

    users: [m] owner of each exposure; disliked: bool [m], the others are likes; scores: system -> for each of its
    seeds float [m], higher = rather drop. Systems with several seeds count with their mean. None where there are no
    dislikes or no likes.
    """
    if disliked.all() or not disliked.any():
        return None
    names, owner = np.unique(users, return_inverse=True)
    columns = [(name, _Sorted(one, disliked, owner, budgets)) for name, seeds in scores.items() for one in seeds]
    values = np.array([column.avoided(np.ones(len(names))) for _, column in columns])
    generator = np.random.default_rng(seed)
    drawn = np.empty((draws, *values.shape))
    for n in range(draws):
        times = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names)).astype(np.float64)
        drawn[n] = [column.avoided(times) for _, column in columns]
    place = [[n for n, (name, _) in enumerate(columns) if name == system] for system in scores]
    value = np.stack([values[rows].mean(axis=0) for rows in place])
    means = np.stack([drawn[:, rows].mean(axis=1) for rows in place], axis=1)
    return Avoided(tuple(scores), tuple(budgets), value, means)


class _Sorted:
    """Exposures of one system from the highest score down, as far as the budgets of a draw may reach."""

    def __init__(self, scores: np.ndarray, disliked: np.ndarray, owner: np.ndarray, budgets: Sequence[float]) -> None:
        order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
        ordered = np.asarray(scores, np.float64)[order]
        self._budgets = budgets
        self._likes, self._dislikes = (
            np.bincount(owner[mask], minlength=owner.max() + 1) for mask in (~disliked, disliked)
        )
        # In a draw the first likes may weigh less than they do here, but hardly less than a quarter.
        reach = np.searchsorted(np.cumsum(~disliked[order]), 4 * max(budgets) * (~disliked).sum(), side="right")
        last = np.searchsorted(-ordered, -ordered[min(reach, len(order) - 1)], side="right")
        order, ordered = order[:last], ordered[:last]
        self._owner, self._liked = owner[order], ~disliked[order]
        # The first event of each group of equal scores: they are dropped or kept together.
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def avoided(self, times: np.ndarray) -> list[float]:
        """Share of dislikes avoided at each budget, with user n counted `times[n]` times."""
        likes, dislikes = times @ self._likes, times @ self._dislikes
        if not likes or not dislikes:
            return [np.nan] * len(self._budgets)
        weight = times[self._owner]
        lost = np.cumsum(np.add.reduceat(weight * self._liked, self._starts))
        gone = np.cumsum(np.add.reduceat(weight * ~self._liked, self._starts))
        groups = [np.searchsorted(lost, budget * likes + 1e-9, side="right") for budget in self._budgets]
        return [float(gone[n - 1] / dislikes) if n else 0.0 for n in groups]
