"""Latent factors: the dense decomposition, few users or items, turning, and that they find what content cannot say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conrec.features.log_view import LogView
from conrec.score.bias import fit_bias_terms, user_bias_terms
from conrec.score.feature_snapshot import FeatureSnapshot
from conrec.score.latent import NOISE, SHRINKAGE, latent_factors, turned
from tests.data.events import events_of
from tests.features.log_view_for_tests import replay_of, small_log_view
from tests.score.test_history import fitted
from tests.small_log import CUTS


def signed(users: int, items: int, events: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, users, events), rng.integers(0, items, events), rng.integers(0, 2, events) * 1.0


def factors_of(users: np.ndarray, items: np.ndarray, targets: np.ndarray, n_items: int) -> np.ndarray:
    terms = fit_bias_terms("logit", users, items, targets, np.zeros((n_items, 0)), int(users.max(initial=0)) + 1)
    return latent_factors(terms, users, items, targets, np.zeros((n_items, 3), np.float32))


def test_they_are_the_leading_part_of_the_dense_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.score.latent.FACTORS", 5)
    users, items, targets = signed(30, 20, 300)
    items[items == 7] = 8  # nobody knows item 7
    terms = fit_bias_terms("logit", users, items, targets, np.zeros((20, 0)), 30)
    bias = user_bias_terms(terms, users, items, targets, 30)
    residuals, counts = np.zeros((30, 20)), np.zeros(20)
    for user, item, target in zip(users, items, targets):
        p = 1 / (1 + np.exp(-bias[user] - terms.items[item]))
        residuals[user, item] += (target - p) / np.sqrt(p * (1 - p) + NOISE)
        counts[item] += 1
    _, sizes, right = np.linalg.svd(residuals)
    dense = (right[:5].T * sizes[:5]) / np.sqrt(counts + SHRINKAGE)[:, None]
    nothing = np.zeros((20, 3), np.float32)
    found = latent_factors(terms, users, items, targets, nothing)
    assert (found.shape, found.dtype) == ((20, 5), np.float32)
    np.testing.assert_allclose(found @ found.T, dense @ dense.T, atol=1e-5)  # whatever the signs
    assert not found[7].any()
    np.testing.assert_array_equal(found, latent_factors(terms, users, items, targets, nothing))


def test_what_few_have_judged_is_like_its_content() -> None:
    """Two camps, told apart by the content of the items; of some items nobody has said anything."""
    rng = np.random.default_rng(2)
    users, items = rng.integers(0, 100, 6000), rng.integers(0, 50, 6000)
    camp = np.where(np.arange(60) % 2, 1.0, -1.0)
    targets = (np.where(users % 2, 1.0, -1.0) * camp[items] > 0) * 1.0
    few = (items < 2) & (np.cumsum(items < 2) > 6)
    users, items, targets = users[~few], items[~few], targets[~few]
    terms = fit_bias_terms("logit", users, items, targets, np.zeros((60, 0)), 100)
    content = (camp[:, None] * [0.6, 0.8]).astype(np.float32)
    without = latent_factors(terms, users, items, targets, np.zeros_like(content))
    found = latent_factors(terms, users, items, targets, content)
    similar, before = found @ found[10:50].T, without @ without[10:50].T
    assert (np.sign(similar.mean(axis=1, where=camp[10:50] > 0)) == camp).all()
    assert not before[50:].any()
    assert np.abs(similar[50:]).min() > 0.2 * np.abs(similar[10:50]).max()
    # The more of its own an item has, the less is added.
    added = np.abs(similar - before).mean(axis=1)
    assert added[50:].min() > added[:2].max() > added[:2].min() > added[10:50].max()


@pytest.mark.parametrize(("users", "items", "events", "f"), [(4, 9, 60, 3), (9, 2, 60, 1), (1, 9, 5, 0), (0, 0, 0, 0)])
def test_with_few_users_or_items_there_are_fewer(users: int, items: int, events: int, f: int) -> None:
    log = signed(users, items, events) if events else (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    found = factors_of(*log, 10)
    assert found.shape == (10, f)
    assert np.isfinite(found).all()


def test_turned_they_are_as_near_to_another_day_as_can_be() -> None:
    users, items, targets = signed(60, 40, 1500)
    day, before = (
        factors_of(users, items, targets, 45),
        factors_of(*(part[:1450] for part in (users, items, targets)), 40),
    )
    found = turned(day, before)
    np.testing.assert_allclose(found @ found.T, day @ day.T, atol=1e-5)
    rng = np.random.default_rng(0)
    distance = np.linalg.norm(found[:40] - before)
    for _ in range(20):
        rotation = np.linalg.qr(rng.normal(size=(day.shape[1],) * 2))[0]
        assert distance < np.linalg.norm(day[:40] @ rotation - before)
    # The other day's dimensions count: padded with 0, or the nearest so many.
    few = day[:, :3]
    np.testing.assert_allclose(turned(few, before) @ turned(few, before).T, few @ few.T, atol=1e-5)
    assert turned(day, before[:, :3]).shape == (45, 3)
    assert not turned(day[:, :0], before).any()


def two_camps(users: int = 80, events: int = 5000) -> LogView:
    """Half of the users dislike every other item and the rest the others; content and fields say nothing of it."""
    view, rng = small_log_view(), np.random.default_rng(1)
    n = len(view.items)
    user, item = rng.integers(0, users, events), rng.integers(0, n, events)
    camp = rng.permutation(n) % 2
    kinds = np.where((user % 2 == camp[item]) ^ (rng.random(events) < 0.1), "dislike", "favorite")
    times = np.sort(rng.choice(view.events.times, events))
    log = events_of(
        np.array([f"u{one:03d}" for one in user]), item.astype(np.int32), times, kinds, np.full(events, np.nan)
    )
    return replace(view, events=log)


def test_a_held_out_users_vector_says_what_content_cannot() -> None:
    view = two_camps()
    replay = replay_of(view, CUTS[1:2])
    held_out = replay.instances.users[::2]
    known = replace(view, train_users=np.setdiff1d(view.events.users, held_out))
    snapshot = FeatureSnapshot.of(known, CUTS[1], np.zeros((len(view.items), 1), np.float32), False, False)
    said = snapshot.users(replay.instances).latent @ snapshot.latent.T
    owners = replay.shown.owners
    scores, labels = said[owners, replay.shown.values][owners % 2 == 0], replay.labels.values[owners % 2 == 0]
    assert (scores[labels > 0][:, None] > scores[labels < 0]).mean() > 0.8


def test_in_users_mode_only_known_users_shape_them() -> None:
    view = small_log_view()
    known = np.unique(view.events.users)[:40]
    log = view.events
    without = replace(view, events=log.take(np.isin(log.users, known)))
    embeddings = np.zeros((len(view.items), 1), np.float32)
    found = [
        FeatureSnapshot.of(replace(one, train_users=known), CUTS[1], embeddings, True, False) for one in (view, without)
    ]
    assert found[0].latent.any()
    np.testing.assert_allclose(found[0].latent, found[1].latent, atol=1e-6)


def test_where_nothing_is_left_over_they_are_nothing() -> None:
    """Everybody likes and dislikes everything: each probability is a half, and each cell is empty."""
    users, items, targets = (part.ravel() for part in np.indices((3, 3, 2)))
    assert not factors_of(users, items, targets * 1.0, 3).any()


def test_a_users_vector_of_the_day_before_goes_with_the_items_of_the_day() -> None:
    """As a snapshot serves it to users who did nothing new."""
    view = two_camps()
    score, instances = fitted(view), replay_of(view, CUTS[1:2]).instances
    before = replace(instances, cutoffs=instances.cutoffs - np.timedelta64(1, "D"))
    days = [score.at(view, one.cutoffs[0]).snapshot for one in (before, instances)]
    old, new = (day.users(one).latent for day, one in zip(days, (before, instances)))
    now = new @ days[1].latent.T
    assert np.corrcoef(now.ravel(), (old @ days[1].latent.T).ravel())[0, 1] > 0.9
    # Signs are those of the day that the score remembers, whatever the decomposition says.
    other = replace(score, latent=-score.latent).at(view, CUTS[1]).snapshot.latent
    np.testing.assert_allclose(other, -days[1].latent, atol=1e-6)
