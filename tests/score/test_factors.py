"""The score that is served, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.score.factors import ItemFactors, UserFactors, score, scores_alone
from conrec.score.similarity import max_cosine


def sides(seed: int, d: int, predicted: int) -> tuple[ItemFactors, UserFactors]:
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(30, 6)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    items = ItemFactors(unit, rng.normal(size=(30, d)).astype(np.float32), rng.normal(size=30).astype(np.float32))
    return items, UserFactors(rng.choice(30, predicted, replace=False), rng.normal(size=d).astype(np.float32), 0.3)


@pytest.mark.parametrize(("d", "predicted"), [(0, 5), (4, 5), (4, 0)])
def test_the_score_is_its_formula(d: int, predicted: int) -> None:
    items, user = sides(1, d, predicted)
    rows = np.array([3, 3, 17, 0])
    scores, nearest = score(items, user, rows, 0.7)
    for n, row in enumerate(rows):
        cosines = [float(items.unit[row] @ items.unit[j]) for j in user.predicted]
        cosine = max(cosines, default=-1.0)
        expected = 0.3 + items.biases[row] + float(items.vectors[row] @ user.vector) + 0.7 * cosine
        assert scores[n] == pytest.approx(expected, abs=1e-5)
        assert nearest[n] == (user.predicted[int(np.argmax(cosines))] if cosines else -1)


def test_the_papers_score_is_the_cosine_alone() -> None:
    items, user = sides(2, 0, 4)
    items = ItemFactors(items.unit, items.vectors, np.zeros(30, np.float32))
    scores, _ = score(items, UserFactors(user.predicted, user.vector, 0.0), np.arange(30), 1.0)
    cosines, _ = max_cosine(items.unit, items.unit[user.predicted])
    np.testing.assert_allclose(scores, cosines, atol=1e-6)


@pytest.mark.parametrize(
    ("d", "predicted", "weight"), [(0, 5, 1.0), (4, 5, 0.7), (4, 0, 0.7), (4, 5, 0.0), (0, 3, 0.0)]
)
def test_the_scores_alone_are_those_of_score(d: int, predicted: int, weight: float) -> None:
    items, user = sides(3, d, predicted)
    rows = np.array([3, 3, 17, 0])
    np.testing.assert_array_equal(scores_alone(items, user, rows, weight), score(items, user, rows, weight)[0])


@pytest.mark.parametrize("d", [0, 4])
def test_a_table_is_its_three_parts(d: int) -> None:
    items, user = sides(4, d, 5)
    again = ItemFactors.of_table(items.table, d)
    for name in ("unit", "vectors", "biases"):
        np.testing.assert_array_equal(getattr(again, name), getattr(items, name))
    assert items.vectors.shape == (30, d)
    rows = np.arange(30)
    np.testing.assert_array_equal(again.unit_of(rows[5:9]), items.unit[5:9])
    np.testing.assert_array_equal(scores_alone(again, user, rows, 0.7), scores_alone(items, user, rows, 0.7))


def test_parts_that_do_not_fit() -> None:
    items, _ = sides(5, 4, 1)
    with pytest.raises(ValueError, match="size"):
        ItemFactors(items.unit, items.vectors[:-1], items.biases)
    with pytest.raises(ValueError, match="table of 11 columns"):
        ItemFactors.of_table(items.table, 10)
