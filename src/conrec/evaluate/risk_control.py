"""A threshold with a guarantee: how low may it be, so that the likes it costs stay within a budget?

The promise is about R(t), the share of a user's likes that threshold t drops, averaged over users with a like, who are
the units. The second promise is about U(t), the share of a user's items at or under t that the user dislikes.
docs/guarantee.md has the tests as formulas, where they are from, and what they assume.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

BOLDEST = 0.99
"""Of the largest possible bet 1 / (1 - budget), at which one user who loses everything would end all wealth."""


@dataclass(frozen=True)
class Promise:
    """A threshold, or the reason why there is none."""

    threshold: float | None
    """Drop what scores higher. None: too little data to promise anything, so drop nothing."""
    units: int
    """Units (users with a like) that it rests on."""
    needed: int
    """As many units would be needed at least, even if they lost nothing."""
    lost: float | None
    """Share of the likes lost on the very data that chose the threshold, averaged over units."""


def promise(scores: np.ndarray, units: np.ndarray, budget: float, confidence: float | None = 0.95) -> Promise:
    """The lowest threshold that keeps the loss of likes within the budget.

    scores: float [n], one a liked item, higher = rather disliked; units: [n], whose like it is (any labels).
    `confidence` in (0, 1), or None for the promise on average. Equal scores are dropped or kept together.
    ValueError for a budget or confidence outside (0, 1), scores that are NaN, or lengths that differ.
    """
    scores = np.asarray(scores, np.float64)
    if len(scores) != len(units) or np.isnan(scores).any():
        raise ValueError("a score for every like, none of them NaN, and a unit for every score")
    _, owner, likes = np.unique(units, return_inverse=True, return_counts=True)
    needed = units_needed(budget, confidence)
    if not len(likes) or not within(np.zeros(len(likes)), budget, confidence):
        return Promise(None, len(likes), needed, None)

    def losses(threshold: float) -> np.ndarray:
        return np.bincount(owner, scores > threshold, len(likes)) / likes

    # From the highest score on, which drops no like at all, to the lowest: losses only grow.
    candidates = np.unique(scores)[::-1]
    broken = bisect_left(candidates, True, lo=1, key=lambda one: not within(losses(one), budget, confidence))
    threshold = float(candidates[broken - 1])
    return Promise(threshold, len(likes), needed, float(losses(threshold).mean()))


def promise_of_the_rest(
    scores: np.ndarray, disliked: np.ndarray, units: np.ndarray, grid: np.ndarray, budget: float, confidence: float
) -> Promise:
    """The highest threshold up to which what is left holds at most this share of dislikes, averaged over units.

    scores: float [n], of everything shown; disliked: bool [n]; units: [n], whom it was shown to; grid: float [g],
    thresholds to try, ascending and chosen without a look at these data. The promise holds for all of them up to the
    one returned. ValueError as `promise`.
    """
    if len(scores) != len(units) or np.isnan(scores).any():
        raise ValueError("a score for everything shown, none of them NaN, and a unit for every score")
    names, owner = np.unique(units, return_inverse=True)
    found, share = None, None
    for threshold in grid.tolist():
        stays = scores <= threshold
        left, bad = (np.bincount(owner[mask], minlength=len(names)) for mask in (stays, stays & disliked))
        losses = bad / np.maximum(left, 1)
        if not len(names) or not within(losses, budget, confidence):
            break
        found, share = threshold, float(losses.mean())
    return Promise(found, len(names), units_needed(budget, confidence), share)


def promises(
    scores: np.ndarray, units: np.ndarray, segments: np.ndarray, budget: float, confidence: float | None = 0.95
) -> dict[str, Promise]:
    """A threshold for each segment of the likes (str [n]), such that *all* promises hold with the confidence.

    The chance of an error, 1 - confidence, is divided evenly among the segments that have units enough for their
    part of it (Bonferroni); the others are refused. On average nothing needs dividing.
    """
    names, owner = np.unique(np.asarray(segments, str), return_inverse=True)
    own = [(scores[owner == n], units[owner == n]) for n in range(len(names))]
    if confidence is None:
        return {name: promise(*one, budget, None) for name, one in zip(names.tolist(), own)}

    # As many segments as can share, the largest first. Only sizes are looked at, and those spoil no promise.
    sizes = [len(np.unique(users)) for _, users in own]
    largest_first = sorted(range(len(names)), key=lambda n: (-sizes[n], n))
    needed = [units_needed(budget, divided(confidence, count)) for count in range(1, len(names) + 2)]
    shared = max((count for count, n in enumerate(largest_first, 1) if sizes[n] >= needed[count - 1]), default=0)
    found = {str(names[n]): Promise(None, sizes[n], needed[shared], None) for n in largest_first}
    for n in largest_first[:shared]:
        found[str(names[n])] = promise(*own[n], budget, divided(confidence, shared))
    return found


def within(losses: np.ndarray, budget: float, confidence: float | None) -> bool:
    """Whether these losses in [0, 1], one a unit, allow the promise. False if any loss grows where it was False."""
    if not 0 < budget < 1:
        raise ValueError(f"the budget must lie between 0 and 1, not {budget}")
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, not {confidence}")
    if confidence is None:
        return bool((losses.sum() + 1) / (len(losses) + 1) <= budget)
    # The best bet if losses were all or nothing and R(t) a little below the budget.
    best = sqrt(-2 * log(1 - confidence) / (len(losses) * budget * (1 - budget)))
    bet = min(best, BOLDEST / (1 - budget))
    return bool(np.log1p(-bet * (losses - budget)).sum() >= -log(1 - confidence))


def units_needed(budget: float, confidence: float | None) -> int:
    """The smallest number of units with which anything can be promised: with no loss at all."""
    # With no loss the evidence grows with n, and doubling finds where it suffices.
    enough = 1
    while not within(np.zeros(enough), budget, confidence):
        enough *= 2
    return bisect_left(range(enough), True, key=lambda n: n > 0 and within(np.zeros(n), budget, confidence))


def divided(confidence: float, parts: float) -> float:
    """The confidence of a promise that gets one of so many parts of the chance of an error, 1 - confidence.

    If the parts of several promises are a whole, all hold together with `confidence` (Bonferroni).
    """
    return 1 - (1 - confidence) / parts
