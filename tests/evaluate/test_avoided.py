"""Dislikes avoided at a budget: the shares themselves, their intervals, and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.evaluate.avoided import dislikes_avoided
from conrec.evaluate.replay import choose_threshold
from conrec.evaluate.results import Difference


def events(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    users, disliked = rng.integers(0, 150, n).astype(str), rng.random(n) < 0.3
    return users, disliked, np.round(rng.normal(size=n) + 1.5 * disliked, 1)  # with ties


def brute_force(scores: np.ndarray, disliked: np.ndarray, budget: float) -> float:
    return float((scores[disliked] > choose_threshold(scores[~disliked], budget)).mean())


def test_the_share_is_that_of_the_threshold_within_the_budget() -> None:
    users, disliked, scores = events()
    other = np.random.default_rng(1).permutation(scores)
    found = dislikes_avoided(users, disliked, {"a": [scores], "b": [scores, other]}, (0.01, 0.02, 0.1), draws=5)
    assert found is not None
    for budget, one in found.of("a").items():
        assert one.mean == pytest.approx(brute_force(scores, disliked, float(budget)))
    for budget, one in found.of("b").items():
        both = [brute_force(x, disliked, float(budget)) for x in (scores, other)]
        assert one.mean == pytest.approx(np.mean(both))


def test_a_draw_is_the_share_of_the_users_drawn() -> None:
    users, disliked, scores = events(800)
    found = dislikes_avoided(users, disliked, {"a": [scores]}, (0.05,), draws=20, seed=3)
    assert found is not None
    names = np.unique(users)
    generator = np.random.default_rng(3)
    for n in range(20):
        drawn = names[generator.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(users == name) for name in drawn])
        assert found.drawn[n, 0, 0] == pytest.approx(brute_force(scores[rows], disliked[rows], 0.05))


def test_intervals_hold_the_truth_and_differences_are_paired() -> None:
    users, disliked, scores = events(6000)
    better = scores + 0.6 * disliked
    found = dislikes_avoided(users, disliked, {"ours": [better], "same": [2 * better], "other": [scores]}, draws=200)
    assert found is not None
    for one in found.of("ours").values():
        low, high = one.ci95
        assert low < one.mean < high
    for one in found.difference("ours", "other").values():
        assert one.verdict == "better"
        assert one.ci95[0] <= one.difference <= one.ci95[1]
    for one in found.difference("ours", "same").values():
        assert one == Difference(0, (0, 0), "not significant")
    assert [one.verdict for one in found.difference("other", "ours").values()] == ["worse"] * 3


def test_a_constant_score_avoids_nothing_and_one_sign_is_nothing_to_trade() -> None:
    users, disliked, _ = events(300)
    found = dislikes_avoided(users, disliked, {"flat": [np.ones(300)]}, draws=10)
    assert found is not None
    assert {one.mean for one in found.of("flat").values()} == {0}
    assert dislikes_avoided(users, np.ones(300, bool), {"flat": [np.ones(300)]}) is None
    assert dislikes_avoided(users[:0], disliked[:0], {"flat": [np.ones(0)]}) is None
