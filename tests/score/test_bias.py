"""Bias terms and user embeddings against a general optimiser, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from conrec.score import bias as effects
from conrec.score.bias import BiasTerms, Link, fit_bias_terms, user_bias_terms, user_embeddings

LINKS: list[Link] = ["logit", "identity"]


def loss(link: Link, z: np.ndarray, targets: np.ndarray) -> float:
    """Minus the log-likelihood, up to a constant."""
    if link == "identity":
        return float(((targets - z) ** 2).sum() / (2 * effects.NOISE))
    return float((np.logaddexp(0, z) - targets * z).sum())


def drawn(link: Link, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if link == "identity":
        return z + rng.normal(size=len(z)) * effects.NOISE**0.5
    return (rng.random(len(z)) < 1 / (1 + np.exp(-z))) * 1.0


@pytest.mark.parametrize("link", LINKS)
def test_a_users_effect_is_the_posterior_mode(link: Link) -> None:
    rng = np.random.default_rng(0)
    found = BiasTerms(link, rng.normal(size=20), np.zeros(20))
    owner, items = np.repeat([0, 2, 3], [1, 6, 40]), rng.integers(0, 20, 47)
    targets = drawn(link, found.items[items], rng)
    modes = user_bias_terms(found, owner, items, targets, 4)
    for user in range(4):
        mine = owner == user

        def objective(b: np.ndarray, mine: np.ndarray = mine) -> float:
            z = b[0] + found.items[items[mine]]
            return loss(link, z, targets[mine]) + b[0] ** 2 / (2 * effects.USER_PRIOR_STD[link] ** 2)

        assert modes[user] == pytest.approx(minimize(objective, [0.0]).x[0], abs=2e-3)
    assert modes[1] == 0  # without a history


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("events", [3, 60])
def test_a_user_embedding_is_the_posterior_mode_whichever_space_is_smaller(link: Link, events: int) -> None:
    rng = np.random.default_rng(events)
    features, offsets = rng.normal(size=(events, 8)), rng.normal(size=events)
    targets = drawn(link, offsets + features[:, 0], rng)
    (found,) = user_embeddings(link, np.zeros(events, int), offsets, targets, features, 1, 0.3)

    def objective(p: np.ndarray) -> float:
        return loss(link, offsets + features @ p, targets) + float(p @ p) / (2 * 0.3**2)

    assert found == pytest.approx(minimize(objective, np.zeros(8)).x, abs=2e-3)


@pytest.mark.parametrize("link", LINKS)
def test_a_user_embedding_does_not_depend_on_whose_else_is_asked_for(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "CELLS_AT_ONCE", 200)  # several batches
    rng = np.random.default_rng(5)
    lengths = np.array([3, 0, 20, 8, 9, 1, 5, 5, 31, effects.FEW + 1])
    owner, events = np.repeat(np.arange(10), lengths), int(lengths.sum())
    features, offsets = rng.normal(size=(events, 8)), rng.normal(size=events)
    targets = drawn(link, offsets + features[:, 0], rng)
    together = user_embeddings(link, owner, offsets, targets, features, 10, 0.3)
    for user in range(10):
        own = owner == user
        (alone,) = user_embeddings(link, owner[own] * 0, offsets[own], targets[own], features[own], 1, 0.3)
        np.testing.assert_allclose(together[user], alone, atol=1e-6)


@pytest.mark.parametrize("link", LINKS)
def test_strict_users_are_not_held_against_the_item(link: Link) -> None:
    """Two items equally good, one of them rated by strict users only."""
    rng = np.random.default_rng(1)
    strict = np.repeat([1.5, -1.5], 100)
    users = np.repeat(np.arange(200), 31)
    # Everybody rates thirty common items, and one that only those alike rate.
    items = np.tile(np.append(np.arange(2, 32), -1), 200)
    items[items < 0] = np.where(np.arange(200) < 100, 0, 1)
    targets = drawn(link, strict[users], rng)
    found = fit_bias_terms(link, users, items, targets, np.zeros((32, 0)), 200)
    one, other = (targets[items == item].mean() for item in (0, 1))
    naive = one - other if link == "identity" else np.log(one / (1 - one)) - np.log(other / (1 - other))
    assert naive > 2
    assert abs(found.items[0] - found.items[1]) < 0.3 * naive


@pytest.mark.parametrize("link", LINKS)
def test_an_item_nobody_met_stands_where_items_like_it_do(link: Link) -> None:
    rng = np.random.default_rng(2)
    kind = np.arange(60) % 2
    features = kind[:, None]
    users, items = rng.integers(0, 80, 4000), rng.integers(0, 50, 4000)
    found = fit_bias_terms(link, users, items, drawn(link, 2.0 * kind[items] - 1, rng), features, 80)
    np.testing.assert_allclose(found.items[50:], found.prior[50:], atol=0.05)
    assert found.items[51::2].min() > found.items[50::2].max() + 1


@pytest.mark.parametrize("link", LINKS)
def test_without_any_event_all_is_zero(link: Link) -> None:
    nothing = np.zeros(0, int)
    found = fit_bias_terms(link, nothing, nothing, nothing * 1.0, np.zeros((5, 0)), 3)
    assert not found.items.any()
    assert not user_bias_terms(found, nothing, nothing, nothing * 1.0, 3).any()
    assert not user_embeddings(link, nothing, nothing, nothing, np.zeros((0, 4)), 3, 0.1).any()
