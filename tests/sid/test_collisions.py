"""After the repair every item has an ID of its own wherever there are enough, and none moves without need."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.errors import ConrecError
from conrec.sid import collisions
from conrec.sid.collisions import repair
from conrec.sid.kmeans import assign


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


def test_ids_of_earlier_items_stay_theirs() -> None:
    words = [np.array([[0.0], [1.0], [5.0]], np.float32)]
    latents = np.array([[0.1]], np.float32)
    assert repair(latents, assign(latents, words), words, taken={(0,)}).tolist() == [[1]]


def test_more_items_than_ids_is_one_clear_line() -> None:
    words = [np.zeros((2, 1), np.float32)]
    with pytest.raises(ConrecError, match=r"3 items for 2 semantic IDs; raise sid\.codes"):
        repair(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.int32), words)
