"""From a score to the probability of a dislike: how often what scores so is disliked once it is shown.

Isotonic regression (Zadrozny and Elkan 2002) over bins of the replay's exposures, centred (Oron and Flournoy 2017):
each of its steps counts at its mean score, and log-odds are interpolated in between. So a higher score never means a
lower probability, and none is 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS, LEAST = 100, 20
"""Bins at most, and exposures of each at least."""


@dataclass(frozen=True)
class DislikeProbability:
    """Log-odds of a dislike as a function of the score."""

    scores: list[float]
    """Knots, ascending; outside of them the log-odds stay those of the last."""
    log_odds: list[float]
    """At the knots, never falling."""
    average: float
    """Log-odds of a dislike of anything shown, for what has no score."""

    @classmethod
    def fit(cls, scores: np.ndarray, disliked: np.ndarray) -> DislikeProbability | None:
        """Of exposures: float [n], and bool [n] whether each was disliked; None without any."""
        if not len(scores):
            return None
        from sklearn.isotonic import isotonic_regression  # a second that the service need not wait

        order = np.argsort(scores, kind="stable")
        starts = np.linspace(0, len(order), max(1, min(BINS, len(order) // LEAST)), endpoint=False).astype(int)
        counts = np.diff(starts, append=len(order))
        sums, bad = (np.add.reduceat(one[order].astype(np.float64), starts) for one in (scores, disliked))
        step = np.unique(isotonic_regression(bad / counts, sample_weight=counts), return_inverse=True)[1]
        counts, sums, bad = (np.bincount(step, one) for one in (counts, sums, bad))
        share = np.maximum.accumulate((bad + 0.5) / (counts + 1))
        everything = (bad.sum() + 0.5) / (counts.sum() + 1)
        log_odds, average = (np.log(p / (1 - p)) for p in (share, everything))
        return cls((sums / counts).tolist(), log_odds.tolist(), float(average))

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Log-odds, float64 [n]; those of the average for nan."""
        return np.where(np.isnan(scores), self.average, np.interp(scores, self.scores, self.log_odds))


def probability(log_odds: np.ndarray) -> np.ndarray:
    """float64 [n] between 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(log_odds, np.float64))))


def demoted(log_odds: np.ndarray, relevance: np.ndarray | None = None) -> np.ndarray:
    """A new order of a ranked list, int [c] positions: by relevance less the log-odds of a dislike, highest first.

    log_odds: float [c]; relevance: float [c], -log(1), -log(2), ... without one: then what has odds k times those of
    another stands as if it had been ranked k times as far down. Of equals the one that was ahead stays ahead.
    """
    if relevance is None:
        relevance = -np.log(np.arange(1, len(log_odds) + 1))
    return np.argsort(log_odds - relevance, kind="stable")
