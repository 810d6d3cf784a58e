"""Places kept for long-tail items: what a list keeps, what it gains, and in which order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.decode.long_tail import with_long_tail

N, K = 12, 6


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray, int]:
    """Lists in the order of their weights, some items of which may not be listed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = np.where(rng.random((3, N)) < draw(st.floats(0.1, 1.0)), rng.random((3, N)) + 0.01, 0.0)
    weight[:, 0] = 0.5
    order = np.argsort(-weight, axis=1)[:, :K]
    share = np.take_along_axis(weight, order, 1) / weight.sum(axis=1, keepdims=True)
    items = np.where(share > 0, order, -1).astype(np.int32)
    with np.errstate(divide="ignore"):
        scores = np.log(share).astype(np.float32)
    return (items, scores), weight, rng.random((3, N)) < 0.5, draw(st.integers(0, K))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_a_list_has_as_many_long_tail_items_as_it_can_and_is_else_as_it_was(case) -> None:
    (items, scores), weight, tail, places = case
    before = items.copy()
    found, of_found = with_long_tail((items, scores), weight, tail, places)
    np.testing.assert_array_equal(items, before)
    for row in range(3):
        old, new = items[row][items[row] >= 0], found[row][found[row] >= 0]
        assert len(set(new)) == len(new) >= len(old)
        assert (weight[row, new] > 0).all()
        possible = int((tail[row] & (weight[row] > 0)).sum())
        assert tail[row, new].sum() >= min(places, possible)
        stayed = [item for item in old if item in new]
        assert list(new[: len(stayed)]) == stayed  # in the old order, and first
        assert tail[row, new[len(stayed) :]].all()
        gone = [item for item in old if item not in new]
        assert not tail[row, gone].any()
        others = [item for item in old if not tail[row, item]]
        assert gone == others[len(others) - len(gone) :]  # the last ones
        added = new[len(stayed) :]
        left_out = np.setdiff1d(np.flatnonzero(tail[row] & (weight[row] > 0)), new)
        assert not len(added) or not len(left_out) or weight[row, added].min() >= weight[row, left_out].max()
        assert list(of_found[row]) == sorted(of_found[row], reverse=True)
        if tail[row, old].sum() >= places:
            np.testing.assert_array_equal(found[row], items[row])


def test_an_empty_list_gains_what_there_is() -> None:
    nothing = np.full((1, 3), -1, np.int32), np.full((1, 3), -np.inf, np.float32)
    weight, tail = np.array([[0.2, 0.3, 0.5, 0.0]]), np.array([[True, True, False, True]])
    items, scores = with_long_tail(nothing, weight, tail, 3)
    assert items.tolist() == [[1, 0, -1]]
    np.testing.assert_allclose(scores[0, :2], np.log([0.3, 0.2]), rtol=1e-6)
