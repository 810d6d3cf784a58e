"""The score that is served, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.score.factors import ItemFactors, UserFactors, served_scores


def sides(seed: int, d: int) -> tuple[np.ndarray, np.ndarray, UserFactors]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(30, d)), rng.normal(size=30), UserFactors(rng.normal(size=d).astype(np.float32), 0.3)


@pytest.mark.parametrize("d", [0, 4])
def test_the_score_is_its_formula(d: int) -> None:
    vectors, biases, user = sides(1, d)
    rows = np.array([3, 3, 17, 0])
    found = served_scores(ItemFactors.of(vectors, biases), user, rows)
    assert found.dtype == np.float32
    for n, row in enumerate(rows):
        assert found[n] == pytest.approx(0.3 + biases[row] + float(vectors[row] @ user.vector), abs=1e-5)


def test_rows_that_are_none() -> None:
    vectors, biases, user = sides(2, 20)
    items = ItemFactors.of(vectors, biases)
    found = served_scores(items, user, np.array([-1, 29, -30, -(10**9)]))
    np.testing.assert_array_equal(np.isnan(found), [True, False, True, True])
    assert found[1] == served_scores(items, user, np.array([29]))[0]  # whatever stands beside it
    assert served_scores(items, user, np.zeros(0, np.int64)).tolist() == []
    for row in (30, 10**9):
        with pytest.raises(IndexError):
            served_scores(items, user, np.array([0, row]))


@pytest.mark.parametrize("d", [0, 4])
def test_a_table_is_its_two_parts(d: int) -> None:
    vectors, biases, _ = sides(4, d)
    items = ItemFactors.of(vectors, biases)
    assert items.table.dtype == np.float32
    np.testing.assert_array_equal(items.vectors, vectors.astype(np.float32))
    np.testing.assert_array_equal(items.biases, biases.astype(np.float32))


def test_parts_that_do_not_fit() -> None:
    vectors, biases, _ = sides(5, 4)
    with pytest.raises(ValueError, match="size"):
        ItemFactors.of(vectors[:-1], biases)
