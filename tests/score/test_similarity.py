from __future__ import annotations

import numpy as np
import pytest

from conrec.score.similarity import NOTHING_NEAR, max_cosine
from conrec.sid.catalog import unit_rows


@pytest.fixture
def unit() -> np.ndarray:
    return unit_rows(np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32))


def test_a_predicted_item_itself_scores_one_and_never_more(unit: np.ndarray) -> None:
    rows = np.arange(50)[None]
    scores = max_cosine(unit, rows, rows)
    assert np.allclose(scores, 1, atol=1e-6)
    assert (scores <= 1).all()


def test_without_predictions_nothing_is_near(unit: np.ndarray) -> None:
    assert (max_cosine(unit, np.array([[1, 2]]), np.zeros((1, 0), int)) == NOTHING_NEAR).all()


@pytest.mark.parametrize("rows_at_once", [1, 3, 1000])
def test_it_is_the_brute_force(unit: np.ndarray, rows_at_once: int) -> None:
    rng = np.random.default_rng(2)
    candidates, predicted = rng.integers(-1, 50, (7, 9)), rng.integers(-1, 50, (7, 4))
    predicted[3] = -1
    scores = max_cosine(unit, candidates, predicted, rows_at_once)
    for user in range(7):
        named = [row for row in predicted[user] if row >= 0]
        for place, row in enumerate(candidates[user]):
            cosines = [float(np.dot(unit[row], unit[one])) for one in named] if row >= 0 else []
            assert scores[user, place] == pytest.approx(max(cosines, default=NOTHING_NEAR), abs=1e-6)
