"""Swing equals its equation, written out naively, and its caps do what they say."""

import time
from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.items.swing import swing

NO_CAPS = {"max_users": 10**6, "max_items": 10**6}


def by_the_equation(
    users: list[int], items: list[int], n_items: int, alpha1: float, alpha2: float, theta: float, min_overlap: int
) -> np.ndarray:
    """float64 [n_items, n_items]: Swi(i, j), as the docstring of conrec.items.swing states it."""
    of_user, of_item = defaultdict(set), defaultdict(set)
    for u, i in zip(users, items):
        of_user[u].add(i)
        of_item[i].add(u)
    result = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            both = of_item[i] & of_item[j]
            for u in both:
                for v in both - {u} if i != j else ():
                    overlap = len(of_user[u] & of_user[v])
                    if overlap >= min_overlap:
                        w = (len(of_user[u]) + alpha1) * (len(of_user[v]) + alpha1)
                        result[i, j] += w**-theta / (overlap + alpha2)
            result[i, j] /= max(1, len(of_item[j])) ** 0.5
    return result


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 11)), max_size=60),
    alpha1=st.floats(0, 9),
    alpha2=st.floats(0.1, 3),
    theta=st.floats(0, 1),
    min_overlap=st.integers(1, 4),
)
def test_equals_the_equation(
    events: list[tuple[int, int]], alpha1: float, alpha2: float, theta: float, min_overlap: int
) -> None:
    shape = {"alpha1": alpha1, "alpha2": alpha2, "theta": theta, "min_overlap": min_overlap}
    users, items = [u for u, _ in events], [i for _, i in events]
    neighbours, scores = swing(np.array(users, int), np.array(items, int), 12, 12, **shape, **NO_CAPS)
    expected = by_the_equation(users, items, 12, **shape)
    found = np.zeros((12, 12))
    for i in range(12):
        real = neighbours[i] >= 0
        found[i, neighbours[i][real]] = scores[i][real]
        assert (np.diff(scores[i]) <= 0).all()
        assert len(set(neighbours[i][real])) == real.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)


def test_only_the_best_are_kept_and_rows_are_padded() -> None:
    # 0, 1, 2 share two users, 3 only one: it has no swing.
    users = np.array([0, 0, 0, 1, 1, 1, 1])
    items = np.array([0, 1, 2, 0, 1, 2, 3])
    one, _ = swing(users, items, 5, 1)
    assert one[:, 0].tolist() == [1, 0, 0, -1, -1]
    three, scores = swing(users, items, 5, 3)
    assert three[0].tolist() == [1, 2, -1]
    assert scores[0, 2] == 0
    assert three.dtype == np.int32
    assert scores.dtype == np.float32


def test_the_cap_on_items_keeps_the_newest() -> None:
    users = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    items = np.array([9, 9, 1, 1, 2, 2, 3, 3])
    neighbours, _ = swing(users, items, 10, 12, max_items=3)
    assert (neighbours[9] == -1).all()
    assert not (neighbours == 9).any()
    without, _ = swing(users[2:], items[2:], 10, 12, max_items=3)
    np.testing.assert_array_equal(neighbours, without)


def test_the_cap_on_users_is_seeded_and_still_finds_the_neighbours() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 2)
    items = np.stack([np.zeros(300, int), rng.integers(1, 3, 300)], axis=1).ravel()
    first, scores = swing(users, items, 3, 12, max_users=50)
    again, same = swing(users, items, 3, 12, max_users=50)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(scores, same)
    assert set(first[0][:2]) == {1, 2}
    _, exact = swing(users, items, 3, 12)
    assert 0 < scores[0, 0] < exact[0, 0]


def test_nothing_in_nothing_out() -> None:
    neighbours, scores = swing(np.zeros(0, int), np.zeros(0, int), 3, 12)
    assert (neighbours == -1).all()
    assert not scores.any()


def test_a_hundred_thousand_dislikes_take_a_moment() -> None:
    rng = np.random.default_rng(1)
    users = rng.integers(0, 10_000, 100_000)
    items = np.minimum(rng.zipf(1.2, 100_000), 5000) - 1
    swing(users[:10], items[:10], 5000, 20)  # compiled
    started = time.perf_counter()
    swing(users, items, 5000, 20)
    assert time.perf_counter() - started < 10
