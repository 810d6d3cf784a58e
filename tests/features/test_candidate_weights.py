"""Weights of a conditional logit: the most likely ones, and sane where there is little to learn from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from conrec.features.candidate_weights import fit_weights


def sets(seed: int, n: int = 400, c: int = 6, weights: tuple[float, ...] = (1.5, -0.5, 0.0)):
    """Candidates of which the first was drawn by the softmax of their parts under `weights`."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(n, c, len(weights))) * [1.0, 2.0, 0.3]
    there = rng.random((n, c)) < 0.9
    score = np.where(there, parts @ weights + rng.gumbel(size=(n, c)), -np.inf)
    chosen = score.argmax(1)
    rows = np.arange(n)
    for array in (parts, there):
        array[rows, 0], array[rows, chosen] = array[rows, chosen].copy(), array[rows, 0].copy()
    return parts, there


def test_what_drew_the_first_is_found():
    parts, there = sets(0, n=4000)
    unit = np.array([1.0, 2.0, 0.3])  # the spread of each part
    np.testing.assert_allclose(fit_weights(parts, there) * unit, (1.5, -0.5, 0.0) * unit, atol=0.06)


def test_they_are_the_most_likely_under_the_prior():
    """Against a search without gradients, set by set and candidate by candidate."""
    parts, there = sets(1, n=40)
    there[3] = False
    there[5, 0] = False
    there[7, 1:] = False
    told = [(x[t], 0) for x, t in zip(parts, there) if t[0] and t.sum() > 1]
    spread = np.sqrt(np.mean(np.concatenate([(x - x.mean(0)) ** 2 for x, _ in told]), 0))

    def loss(w):
        total = 0.5 * (w * spread) @ (w * spread)
        for x, first in told:
            total += np.log(sum(np.exp(one @ w) for one in x)) - x[first] @ w
        return total

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000})
    np.testing.assert_allclose(fit_weights(parts, there), best.x, atol=1e-4)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_units_and_levels_of_a_part_do_not_matter(seed, unit):
    parts, there = sets(seed, n=30)
    plain = fit_weights(parts, there)
    levels = np.random.default_rng(seed).normal(size=(len(parts), 1, 3)) * 5
    scaled = fit_weights(parts * [unit, 1, 1] + levels, there)
    np.testing.assert_allclose(scaled * [unit, 1, 1], plain, atol=2e-3)


def test_what_is_the_same_for_all_candidates_counts_nothing():
    parts, there = sets(2)
    parts[..., 1] = np.arange(len(parts))[:, None] + 1e-6 * parts[..., 1]
    parts[~there] = np.nan
    weights = fit_weights(parts, there)
    assert weights[1] == 0
    assert weights[0] > 0.5


def test_without_sets_nothing_counts():
    parts, there = sets(3, n=4)
    there[:, 0] = False
    assert not fit_weights(parts, there).any()
    assert not fit_weights(parts[:0], there[:0]).any()
