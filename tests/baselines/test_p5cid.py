"""Collaborative indexing: IDs that are all different, the same each time, and together where dislikes are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from conrec.baselines.p5cid import collaborative_codes, dislike_graph
from tests.data.events import events_of
from tests.small_log import START, small_log


def graph_of(groups: int, size: int, alone: int, seed: int = 0) -> csr_array:
    """Items in groups that are disliked together, a few pairs across, and some that nobody dislikes."""
    n = groups * size + alone
    rng = np.random.default_rng(seed)
    dense = np.zeros((n, n))
    for g in range(groups):
        block = slice(g * size, (g + 1) * size)
        dense[block, block] = rng.random((size, size)) < 0.8
    across = rng.integers(0, groups * size, (groups * 2, 2))
    dense[across[:, 0], across[:, 1]] = 1
    dense = np.triu(dense, 1)
    return csr_array(dense + dense.T)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 60), st.integers(2, 8), st.integers(2, 20))
def test_a_valid_code_for_every_item(groups: int, size: int, alone: int, clusters: int, leaf: int) -> None:
    graph = graph_of(groups, size, alone)
    codes = collaborative_codes(graph, clusters=clusters, leaf=leaf, seed=0)
    assert codes.shape[0] == graph.shape[0]
    assert codes.min() >= 0
    assert len(np.unique(codes, axis=0)) == len(codes)
    path, number = codes[:, :-1], codes[:, -1]
    # A path ends once: after the first 0 there are only zeros, and no item's path is the beginning of another's.
    ended = np.logical_or.accumulate(path == 0, axis=1)
    assert (path[ended] == 0).all()
    names = {tuple(row[row > 0].tolist()) for row in path}
    for name in names:
        assert not any(other[: len(name)] == name for other in names if other != name)
    assert number.max() < leaf
    assert (path <= max(clusters + 1, -(-graph.shape[0] // leaf))).all()


def test_deterministic_and_together_where_dislikes_are() -> None:
    graph = graph_of(4, 25, 10)
    codes = collaborative_codes(graph, clusters=4, leaf=30, seed=0)
    assert (codes == collaborative_codes(graph, clusters=4, leaf=30, seed=0)).all()
    first = codes[:100, 0].reshape(4, 25)
    assert all(np.bincount(row).max() >= 23 for row in first)
    assert len({int(np.bincount(row).argmax()) for row in first}) == 4
    assert not np.isin(codes[100:, 0], first).any()


def test_groups_without_a_link_get_the_same_ids_each_time() -> None:
    """Equal eigenvalues leave open which vectors are found: they must not be drawn anew at each call."""
    graph = csr_array(np.kron(np.eye(60), 1 - np.eye(2)))
    codes = [collaborative_codes(graph, clusters=6, leaf=20, seed=0) for _ in range(5)]
    assert all((other == codes[0]).all() for other in codes)


def test_the_graph_counts_users_who_disliked_both() -> None:
    _, log = small_log()
    graph = dislike_graph(log, 40).toarray()
    disliked = {user: set(log.items[(log.users == user) & (log.kinds == "dislike")].tolist()) for user in log.users}
    for a, b in [(0, 1), (3, 7), (12, 30), (39, 2), (5, 5)]:
        together = sum(a in items and b in items for items in disliked.values())
        assert graph[a, b] == (together if a != b else 0)


def test_a_log_without_dislikes_is_numbered_all_the_same() -> None:
    empty = events_of(np.array(["u"]), np.array([3], np.int32), np.array([START]), np.array(["favorite"]), np.ones(1))
    codes = collaborative_codes(dislike_graph(empty, 50), clusters=4, leaf=10, seed=0)
    assert len(np.unique(codes, axis=0)) == 50


@pytest.mark.parametrize("items", [1, 5])
def test_few_items_are_one_part(items: int) -> None:
    codes = collaborative_codes(csr_array((items, items)), clusters=4, leaf=10, seed=0)
    assert codes.tolist() == [[n] for n in range(items)]
