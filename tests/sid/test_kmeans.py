"""Residual k-means and the greedy codes, against their definitions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.sid.kmeans import assign, nearest, reconstruct, refine, residual_kmeans, revive


def blobs(n: int = 400, d: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d)) * 3
    return (centres[rng.integers(0, 12, n)] + rng.normal(size=(n, d))).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 1000))
def test_codes_are_the_nearest_codewords_level_by_level(n: int, size: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    words = [rng.normal(size=(size, 4)).astype(np.float32) for _ in range(levels)]
    codes = assign(x, words)
    residual = x.copy()
    for level in range(levels):
        distance = ((residual[:, None] - words[level][None]) ** 2).sum(axis=2)
        chosen = distance[np.arange(n), codes[:, level]]
        np.testing.assert_allclose(chosen, distance.min(axis=1), rtol=1e-4, atol=1e-5)
        residual -= words[level][codes[:, level]]
    np.testing.assert_allclose(reconstruct(codes, words), x - residual, atol=1e-5)


def test_blocks_do_not_change_the_nearest() -> None:
    x, words = blobs(), blobs(20, seed=1)
    np.testing.assert_array_equal(nearest(x, words), nearest(x, words, block=7))


def test_every_level_reduces_the_error_and_refining_never_raises_it() -> None:
    x = blobs()
    words = residual_kmeans(x, (16, 16, 16), seed=0)
    codes = assign(x, words)
    errors = [((x - reconstruct(codes[:, :n], words[:n])) ** 2).sum() for n in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    refined = refine(x, words)
    assert ((x - reconstruct(assign(x, refined), refined)) ** 2).sum() < errors[2]


def test_same_seed_same_codewords() -> None:
    x = blobs()
    for a, b in zip(residual_kmeans(x, (8, 8), seed=3), residual_kmeans(x, (8, 8), seed=3)):
        np.testing.assert_array_equal(a, b)


def test_dead_codes_come_to_life() -> None:
    x = blobs()
    words = residual_kmeans(x, (8, 8), seed=0)
    words[0][5] = 1000
    codes = assign(x, words)
    before = ((x - reconstruct(codes, words)) ** 2).sum()
    revive(x, codes, words, 0, np.bincount(codes[:, 0], minlength=8) == 0)
    codes = assign(x, words)
    assert (codes[:, 0] == 5).any()
    assert ((x - reconstruct(codes, words)) ** 2).sum() < before
