from __future__ import annotations

import numpy as np
import pytest

from conrec.evaluate.bootstrap import bootstrap


def test_one_instance_a_user_gives_the_textbook_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.binomial(1, 0.3, (2000, 1)).astype(float)
    estimate = bootstrap(np.arange(2000).astype(str), values, 2000)[0]
    half = 1.96 * np.sqrt(values.mean() * (1 - values.mean()) / 2000)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.003)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.003)
    assert estimate.instances == 2000


def test_users_are_resampled_not_instances() -> None:
    """A user's ten equal instances tell as much as one: the interval must not shrink with copies."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(100, 1))
    users = np.arange(100)
    once = bootstrap(users, values, 2000)[0]
    ten = bootstrap(np.repeat(users, 10), np.repeat(values, 10, axis=0), 2000)[0]
    assert ten.high - ten.low == pytest.approx(once.high - once.low, rel=0.02)


def test_it_is_the_brute_force_with_gaps() -> None:
    rng = np.random.default_rng(2)
    users = rng.integers(0, 12, 60)
    values = rng.normal(size=(60, 2))
    values[rng.random((60, 2)) < 0.3] = np.nan
    names = np.unique(users)
    generator = np.random.default_rng(5)
    drawn = np.concatenate([generator.integers(12, size=(50, 12)) for _ in range(4)])
    for column, estimate in enumerate(bootstrap(users, values, 200, seed=5)):
        means = [np.nanmean(np.concatenate([values[users == names[u], column] for u in draw])) for draw in drawn]
        assert [estimate.low, estimate.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())
        assert estimate.mean == pytest.approx(np.nanmean(values[:, column]))


def test_a_seed_gives_the_same_interval() -> None:
    users, values = np.arange(30), np.random.default_rng(3).normal(size=(30, 1))
    assert bootstrap(users, values, 100, 7) == bootstrap(users, values, 100, 7)
    assert bootstrap(users, values, 100, 7) != bootstrap(users, values, 100, 8)


def test_the_words_for_a_difference() -> None:
    users = np.arange(200)
    noise = np.random.default_rng(4).normal(size=200)
    clear, none, worse = bootstrap(users, np.column_stack([noise + 1, noise - noise.mean(), noise - 1]), 300)
    assert (clear.verdict, none.verdict, worse.verdict) == ("better", "not significant", "worse")
    assert clear.significant
    assert not none.significant


def test_nothing_to_average_is_none() -> None:
    empty, nan = bootstrap(np.zeros(0), np.zeros((0, 1)))[0], bootstrap(np.arange(3), np.full((3, 1), np.nan))[0]
    for estimate in (empty, nan):
        assert (estimate.mean, estimate.low, estimate.instances) == (None, None, 0)
        assert estimate.verdict == "not significant"
