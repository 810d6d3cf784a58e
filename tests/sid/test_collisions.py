"""After the repair every item has an ID of its own wherever there are enough, and none moves without need."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.errors import ConrecError
from conrec.sid import collisions
from conrec.sid.collisions import repair
from conrec.sid.kmeans import assign, reconstruct


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    share=st.floats(0.1, 1),
    spread=st.sampled_from([0.0, 0.1, 1.0]),
    limit=st.sampled_from([1, 1 << 18]),
    seed=st.integers(0, 9999),
)
def test_unique_whenever_there_is_room(sizes: list[int], share: float, spread: float, limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = max(1, int(share * np.prod(sizes)))
    latents = (rng.normal(size=(n, 3)) * spread).astype(np.float32)
    words = [rng.normal(size=(size, 3)).astype(np.float32) for size in sizes]
    codes = assign(latents, words)
    before = codes.copy()
    whole, collisions.MAX_COMBINATIONS = collisions.MAX_COMBINATIONS, limit
    try:
        repaired = repair(latents, codes, words)
    finally:
        collisions.MAX_COMBINATIONS = whole
    np.testing.assert_array_equal(codes, before)
    assert repaired.dtype == np.int32
    assert (repaired >= 0).all()
    assert (repaired < np.array(sizes)).all()
    ids = list(map(tuple, repaired.tolist()))
    assert len(set(ids)) == n
    # Every ID that was in use stays with one of the items that had it.
    for sid in set(map(tuple, codes.tolist())):
        owners = [row for row in range(n) if tuple(codes[row].tolist()) == sid]
        assert any(ids[row] == sid for row in owners)
        if len(owners) == 1:
            assert ids[owners[0]] == sid


def test_the_nearest_keeps_its_id_and_the_other_gets_the_nearest_free_code() -> None:
    words = [np.array([[0.0], [100.0]], np.float32), np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)]
    latents = np.array([[0.4], [0.1], [0.9]], np.float32)
    assert repair(latents, assign(latents, words), words).tolist() == [[0, 2], [0, 0], [0, 1]]


def test_a_full_prefix_spills_to_the_nearest_free_pair() -> None:
    words = [np.array([[0.0], [50.0], [-9.0]], np.float32), np.array([[0.0], [1.0]], np.float32)]
    latents = np.array([[0.0], [1.0], [0.3]], np.float32)
    # (0, 0) and (0, 1) are taken; of the others -9 + 1 is nearest to 0.3.
    assert repair(latents, assign(latents, words), words).tolist() == [[0, 0], [0, 1], [2, 1]]


def brute_force(latents: np.ndarray, codes: np.ndarray, words: list[np.ndarray]) -> list[tuple[int, ...]]:
    """The rule, item by item: the nearest free ID under the longest prefix that has one."""
    error = ((latents - reconstruct(codes, words)) ** 2).sum(axis=1)
    ids = [tuple(code) for code in codes.tolist()]
    every = list(itertools.product(*(range(len(level)) for level in words)))
    used: set[tuple[int, ...]] = set()
    homeless = []
    for row in np.argsort(error, kind="stable").tolist():
        (homeless.append(row) if ids[row] in used else used.add(ids[row]))  # type: ignore[func-returns-value]
    for row in homeless:
        for kept in range(len(words) - 1, -1, -1):
            free = [sid for sid in every if sid[:kept] == ids[row][:kept] and sid not in used]
            if free:
                break
        distances = [((latents[row] - sum(w[c] for w, c in zip(words, sid))) ** 2).sum() for sid in free]
        ids[row] = free[int(np.argmin(distances))]
        used.add(ids[row])
    return ids


@pytest.mark.parametrize("seed", range(12))
def test_each_moves_to_the_nearest_free_id(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [rng.normal(size=(size, 6)).astype(np.float32) for size in rng.integers(2, 6, rng.integers(1, 4))]
    n = int(rng.uniform(0.5, 1) * np.prod([len(level) for level in words]))
    latents = rng.normal(size=(n, 6)).astype(np.float32)
    if seed % 2:  # items alike
        latents = latents[rng.integers(0, max(1, n // 4), n)]
    codes = assign(latents, words)
    assert list(map(tuple, repair(latents, codes, words).tolist())) == brute_force(latents, codes, words)


@pytest.mark.parametrize(("items", "spread"), [(20_000, 0.0), (1_500, 1e-4)])
def test_many_items_alike_take_no_time(items: int, spread: float) -> None:
    rng = np.random.default_rng(0)
    words = [rng.normal(size=(512, 64)).astype(np.float32) / (level + 1) for level in range(3)]
    latents = (rng.normal(size=64) + spread * rng.normal(size=(items, 64))).astype(np.float32)
    start = time.process_time()
    ids = repair(latents, assign(latents, words), words)
    # Searched anew for each, it took 0.13 s an item beyond the first 512.
    assert time.process_time() - start < 30
    assert len(np.unique(ids, axis=0)) == items


def test_ids_of_earlier_items_stay_theirs() -> None:
    words = [np.array([[0.0], [1.0], [5.0]], np.float32)]
    latents = np.array([[0.1]], np.float32)
    assert repair(latents, assign(latents, words), words, taken={(0,)}).tolist() == [[1]]


def test_more_items_than_ids_is_one_clear_line() -> None:
    words = [np.zeros((2, 1), np.float32)]
    with pytest.raises(ConrecError, match=r"3 items for 2 semantic IDs; raise sid\.codes"):
        repair(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.int32), words)
