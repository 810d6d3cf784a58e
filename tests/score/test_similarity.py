from __future__ import annotations

import numpy as np
import pytest

from conrec.score.similarity import NOTHING_NEAR, max_cosine, max_cosine_batch
from conrec.sid.catalog import unit_rows


@pytest.fixture
def unit() -> np.ndarray:
    return unit_rows(np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32))


def test_one_user_is_the_brute_force(unit: np.ndarray) -> None:
    scores, nearest = max_cosine(unit[:30], unit[30:])
    for n in range(30):
        cosines = [float(np.dot(unit[n], unit[m])) for m in range(30, 50)]
        assert scores[n] == pytest.approx(max(cosines), abs=1e-6)
        assert nearest[n] == int(np.argmax(cosines))


def test_a_predicted_item_itself_scores_one_and_never_more(unit: np.ndarray) -> None:
    scores, nearest = max_cosine(unit, unit)
    assert np.allclose(scores, 1, atol=1e-6)
    assert (scores <= 1).all()
    assert (nearest == np.arange(50)).all()


def test_without_predictions_nothing_is_near(unit: np.ndarray) -> None:
    scores, nearest = max_cosine(unit, unit[:0])
    assert (scores == NOTHING_NEAR).all()
    assert (nearest == -1).all()
    assert (max_cosine_batch(unit, np.array([[1, 2]]), np.zeros((1, 0), int)) == NOTHING_NEAR).all()


@pytest.mark.parametrize("rows_at_once", [1, 3, 1000])
def test_a_batch_is_its_users_one_by_one(unit: np.ndarray, rows_at_once: int) -> None:
    rng = np.random.default_rng(2)
    candidates, predicted = rng.integers(-1, 50, (7, 9)), rng.integers(-1, 50, (7, 4))
    predicted[3] = -1
    batch = max_cosine_batch(unit, candidates, predicted, rows_at_once)
    for user in range(7):
        alone, _ = max_cosine(unit[candidates[user]], unit[predicted[user][predicted[user] >= 0]])
        alone[candidates[user] < 0] = NOTHING_NEAR
        assert np.allclose(batch[user], alone, atol=1e-6)
