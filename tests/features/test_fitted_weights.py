"""Weights of a conditional logit: the most likely ones, and sane where there is little to learn from."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from conrec.data.instances import Ragged, offsets_of
from conrec.features.fitted_weights import Sets, fit_weights, held_out_hits, sharpened, weights_for

SPREAD = np.array([1.0, 2.0, 0.3])


def drawn(seed: int, n: int = 400, weights: tuple[float, ...] = (1.5, -0.5, 0.0), targets: int = 1):
    """Values, targets and owners of sets of 4 to 8 items, of which some were drawn by the softmax under `weights`."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 9, n)
    values = rng.normal(size=(lengths.sum(), len(weights))) * SPREAD
    noisy = values @ weights + rng.gumbel(size=len(values))
    offsets = offsets_of(lengths)
    hit = np.zeros(len(values), bool)
    for start, stop in pairwise(offsets):
        hit[start + np.argsort(-noisy[start:stop])[:targets]] = True
    return values, Ragged(hit, offsets), np.array([f"u{k % 50}" for k in range(n)])


def test_what_drew_the_targets_is_found() -> None:
    found = fit_weights(Sets.of(*drawn(0, n=5000)))
    np.testing.assert_allclose(found * SPREAD, (1.5, -0.5, 0.0) * SPREAD, atol=0.08)


def test_they_are_the_most_likely_under_the_prior() -> None:
    """Against a search without gradients, set by set and item by item; a set of targets alone teaches nothing."""
    values, targets, owners = drawn(1, n=40, targets=2)
    targets.values[targets.offsets[3] : targets.offsets[4]] = True
    targets.values[targets.offsets[5] : targets.offsets[6]] = False
    told = [(values[a:b], targets.values[a:b]) for a, b in pairwise(targets.offsets)]
    told = [(x, hit) for x, hit in told if hit.any() and not hit.all()]
    assert len(told) == 38
    spread = np.sqrt(np.mean(np.concatenate([(x - x.mean(0)) ** 2 for x, _ in told]), 0))

    def loss(w: np.ndarray) -> float:
        total = 0.5 * (w * spread) @ (w * spread)
        for x, hit in told:
            total += np.log(sum(np.exp(one @ w) for one in x)) - (x[hit] @ w).mean()
        return float(total)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000})
    np.testing.assert_allclose(fit_weights(Sets.of(values, targets, owners)), best.x, atol=1e-3)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_units_and_levels_of_a_feature_do_not_matter(seed: int, unit: float) -> None:
    values, targets, owners = drawn(seed, n=30)
    plain = fit_weights(Sets.of(values, targets, owners))
    levels = np.random.default_rng(seed).normal(size=(len(targets), 3))[targets.owners] * 5
    scaled = fit_weights(Sets.of(values * [unit, 1, 1] + levels, targets, owners))
    np.testing.assert_allclose(scaled * [unit, 1, 1], plain, atol=5e-3)


def test_what_is_the_same_within_all_sets_counts_nothing() -> None:
    values, targets, owners = drawn(2)
    values[:, 1] = targets.owners + 1e-6 * values[:, 1]
    found = fit_weights(Sets.of(values, targets, owners))
    assert found[1] == 0
    assert found[0] > 0.5


def test_without_sets_nothing_counts() -> None:
    values, targets, owners = drawn(3, n=4)
    assert not fit_weights(Sets.of(values, targets.of_values(np.zeros(len(values), bool)), owners)).any()
    assert not len(Sets.of(values[:0], targets.take(np.zeros(0, int)), owners[:0]))


def test_hits_are_targets_among_the_first_k() -> None:
    sets, weights = Sets.of(*drawn(4, n=60, targets=2)), np.array([0.7, 0.1, -2.0])
    scores = sets.values @ weights.astype(np.float32)
    for k in (1, 3, 20):
        wanted = []
        for a, b in pairwise(sets.targets.offsets):
            wanted.append(sets.targets.values[a:b][np.argsort(-scores[a:b])[:k]].any())
        assert sets.hits(weights, k).tolist() == wanted
    # Without weights all items are alike: any order is as good as another.
    for k in (1, 3):
        chance = [min(1.0, k / (1 + n - hit)) for n, hit in zip(sets.targets.lengths, [2] * len(sets))]
        np.testing.assert_allclose(sets.hits(np.zeros(3), k), chance)


def test_a_user_is_held_out_of_the_weights_that_rank_for_the_user() -> None:
    """Every user has a taste that no other shares, so what was learned of the user alone cannot help."""
    values, targets, owners = drawn(5, n=50, weights=(0.0, 0.0, 0.0))
    own = np.eye(50)[targets.owners] * targets.values[:, None] * 9.0
    sets = Sets.of(np.hstack([values, own]), targets, owners)
    assert (sets.hits(fit_weights(sets), 1) == 1).all()
    assert held_out_hits(sets, 1, lambda some: sharpened(some, fit_weights(some), 1)).mean() < 0.6


def test_a_combination_does_not_lose_to_its_part() -> None:
    """What makes all targets likely is not what puts one of them first: then the best part stands alone."""
    rng = np.random.default_rng(6)
    n, length = 300, 10
    hit = np.zeros((n, length), bool)
    hit[:, :2] = True
    first = np.where(hit, rng.normal(size=(n, length)), 0.0)
    first[:, 0] += 1.5
    first[:, 1] -= 6.0
    noise = rng.normal(size=(n, length)) + 4.0 * hit * np.array([-1.0, 1.0] + [0.0] * 8)
    values = np.stack([first, noise], -1).reshape(-1, 2)
    targets = Ragged.of(list(hit), bool)
    weights, alone, together = weights_for(Sets.of(values, targets, np.array([f"u{k}" for k in range(n)])), 1)
    assert together >= max(alone)
    found = Sets.of(values, targets, np.array([f"u{k}" for k in range(n)])).hits(weights, 1).mean()
    assert found >= max(alone) - 0.02


@pytest.mark.parametrize("k", [1, 5])
def test_weights_for_lists_say_what_each_feature_hits_alone(k: int) -> None:
    sets = Sets.of(*drawn(7))
    weights, alone, together = weights_for(sets, k)
    assert alone == [sets.hits(one, k).mean() for one in np.eye(3)]
    assert together >= max(alone)
    # A gain of sharpening has to be seen held out.
    best = sharpened(sets, fit_weights(sets), k)
    likeliest = held_out_hits(sets, k, fit_weights)
    sharper = held_out_hits(sets, k, lambda some: sharpened(some, fit_weights(some), k))
    gain = sharper - likeliest
    wanted = best if gain.mean() > gain.std() / np.sqrt(len(gain)) else fit_weights(sets)
    np.testing.assert_allclose(weights, wanted)


def test_sharpened_weights_hit_more_and_never_fewer() -> None:
    """Two kinds of targets: half of them are far out on one feature, and only they can come first."""
    rng = np.random.default_rng(8)
    values, targets, owners = drawn(8, n=500, weights=(1.0, 0.0, 0.0), targets=3)
    firsts = targets.offsets[:-1] + rng.integers(0, 4, len(targets))
    values[firsts, 1] += np.where(targets.values[firsts], 9.0, 0.0)
    sets = Sets.of(values, targets, owners)
    start = np.array([1.0, 0.0, 0.0])
    found = sharpened(sets, start, 1)
    assert sets.hits(found, 1).mean() > sets.hits(start, 1).mean() + 0.02
    assert sets.hits(sharpened(sets, found, 1), 1).mean() >= sets.hits(found, 1).mean()
    np.testing.assert_array_equal(sharpened(sets.take(np.zeros(0, int)), start, 1), start)
