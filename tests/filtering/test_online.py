"""The score that is served, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.filtering.online import ItemSide, UserSide, score


def sides(seed: int, d: int, predicted: int) -> tuple[ItemSide, UserSide]:
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(30, 6)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    items = ItemSide(unit, rng.normal(size=(30, d)).astype(np.float32), rng.normal(size=30).astype(np.float32))
    return items, UserSide(rng.choice(30, predicted, replace=False), rng.normal(size=d).astype(np.float32), 0.3)


@pytest.mark.parametrize(("d", "predicted"), [(0, 5), (4, 5), (4, 0)])
def test_the_score_is_its_formula(d: int, predicted: int) -> None:
    items, user = sides(1, d, predicted)
    rows = np.array([3, 3, 17, 0])
    found = score(items, user, rows, 0.7)
    for n, row in enumerate(rows):
        cosines = [float(items.unit[row] @ items.unit[j]) for j in user.predicted]
        cosine = max(cosines, default=-1.0)
        assert found.cosines[n] == pytest.approx(cosine, abs=1e-6)
        expected = 0.3 + items.biases[row] + float(items.vectors[row] @ user.vector) + 0.7 * cosine
        assert found.scores[n] == pytest.approx(expected, abs=1e-5)
        assert found.nearest[n] == (user.predicted[int(np.argmax(cosines))] if cosines else -1)


def test_the_papers_score_is_the_cosine_alone() -> None:
    items, user = sides(2, 0, 4)
    items = ItemSide(items.unit, items.vectors, np.zeros(30, np.float32))
    found = score(items, UserSide(user.predicted, user.vector, 0.0), np.arange(30), 1.0)
    np.testing.assert_array_equal(found.scores, found.cosines)
