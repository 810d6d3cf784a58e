"""The history score: backtest windows, features, their regression, and that nothing of the future is in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.data.exposures import DISLIKED, LIKED, NEUTRAL, Replay
from conrec.data.split import UserSplit
from conrec.features.log_view import LogView
from conrec.score.backtest import FIRST_HORIZONS, Backtest, backtests
from conrec.score.embedding import EmbeddingSpace
from conrec.score.factors import UserFactors, served_scores
from conrec.score.feature_snapshot import ITEM_SMOOTHING, USER_SMOOTHING, FeatureSnapshot
from conrec.score.history import HistoryAtCutoff, HistoryScore, _rows
from conrec.score.regression import PRODUCTS, Regression, Rows
from tests.features.log_view_for_tests import CONFIG, cut_short, replay_of, small_log_view, split_of, stranger
from tests.small_log import CUTS, START, WEEK


@pytest.fixture(scope="module", params=[True, False], ids=["ratings", "signs"])
def log_view(request: pytest.FixtureRequest) -> LogView:
    return small_log_view(rated=request.param)


def windows_of(log_view: LogView) -> list[Backtest]:
    # The log is short: the first window is its second week.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        return backtests(log_view, split_of(log_view), CONFIG)


def fitted(log_view: LogView) -> HistoryScore:
    return HistoryScore.fit(log_view, np.arange(len(log_view.items)), windows_of(log_view), 0)


def test_backtests_end_before_validation(log_view: LogView, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backtests(log_view, split_of(log_view), CONFIG) == []  # validation begins after four weeks
    monkeypatch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
    assert FIRST_HORIZONS > 1
    found = backtests(log_view, split_of(log_view), CONFIG)
    assert [one.cutoff for one in found] == [CUTS[0] - n * WEEK for n in (2, 1)]
    assert found[0].cutoff >= log_view.events.times[0] + WEEK
    for one in found:
        assert set(one.replay.labels.values.tolist()) == {DISLIKED, LIKED}
        again = replay_of(log_view, [one.cutoff])
        labels = again.labels.values
        assert one.replay.shown.values.tolist() == again.shown.values[labels != NEUTRAL].tolist()


def test_of_a_large_window_some_users_are_asked_evenly(log_view: LogView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
    monkeypatch.setattr("conrec.score.backtest.ENOUGH", 1)
    (whole,) = backtests(log_view, split_of(log_view), CONFIG)
    there = len(whole.replay.shown.values)
    monkeypatch.setattr("conrec.score.backtest.MOST", there)
    (same,) = backtests(log_view, split_of(log_view), CONFIG)
    assert same.replay.instances.users.tolist() == whole.replay.instances.users.tolist()
    monkeypatch.setattr("conrec.score.backtest.MOST", there // 3)
    (part,) = backtests(log_view, split_of(log_view), CONFIG)
    asked = [whole.replay.instances.users.tolist().index(user) for user in part.replay.instances.users.tolist()]
    assert len(asked) == len(whole.replay) * (there // 3) // there
    assert asked == sorted(asked)
    assert asked[-1] == len(whole.replay) - 1
    assert np.diff(asked).max() <= 2 * len(whole.replay) / len(asked)
    assert set(part.replay.labels.values.tolist()) == {DISLIKED, LIKED}


def test_backtests_of_users_do_not_know_whom_they_ask(log_view: LogView) -> None:
    users = np.unique(log_view.events.users)
    split = UserSplit(users[:40], users[40:50], users[50:], log_view.events.times[-1])
    found = backtests(replace(log_view, train_users=users[:40]), split, CONFIG)
    asked = [user for one in found for user in one.replay.instances.users.tolist()]
    assert len(found) == 5
    assert len(asked) == len(set(asked))
    assert set(asked) <= set(users[:40].tolist())
    for one in found:
        assert one.log_view.train_users is not None
        assert not set(one.log_view.train_users) & set(one.replay.instances.users)
        for n, user in enumerate(one.replay.instances.users):
            mine = (log_view.events.users == user) & (log_view.events.kinds == "dislike")
            assert one.replay.instances.cutoffs[n] == log_view.events.times[mine][mine.sum() // 2]


def test_rates_are_counts_before_the_cut(log_view: LogView) -> None:
    embeddings = EmbeddingSpace.fit(log_view.fields, log_view.content, np.arange(len(log_view.items)), 6).of(
        log_view.fields, log_view.content
    )
    rated, exposed = bool(log_view.events.rated.any()), log_view.events.has_exposures
    snapshot = FeatureSnapshot.of(log_view, CUTS[1], embeddings, rated, exposed)
    replay = replay_of(log_view, CUTS[1:2])
    users = snapshot.users(replay.instances)
    log = log_view.events.take(log_view.events.times < CUTS[1])

    def counts(column: np.ndarray, value: object) -> tuple[int, int]:
        mine = column == value
        liked = mine & (log.kinds == "favorite")
        pairs = set(zip(log.users[liked], log.items[liked]))
        return int((mine & (log.kinds == "dislike")).sum()), len(pairs)

    every = log.kinds == "favorite"
    disliked, liked = int((log.kinds == "dislike").sum()), len(set(zip(log.users[every], log.items[every])))
    base = (disliked + 1) / (disliked + liked + 2)
    for row, column, key, smoothing in (
        *((snapshot.item_features[n], log.items, n, ITEM_SMOOTHING) for n in (0, 7, 39)),
        *((users.values[n], log.users, replay.instances.users[n], USER_SMOOTHING) for n in (0, 5, 20)),
    ):
        bad, good = counts(column, key)
        rate = (bad + smoothing * base) / (bad + good + smoothing)
        assert row[0] == pytest.approx(np.log(rate / (1 - rate)))
        assert row[1] == pytest.approx(np.log1p(bad + good))


def test_what_was_shown_and_left_alone_is_an_embedding_where_the_log_has_it(log_view: LogView) -> None:
    score, instances = fitted(log_view), replay_of(log_view, CUTS[1:2]).instances
    snapshot = score.at(log_view, CUTS[1]).snapshot
    assert score.exposed == log_view.events.has_exposures
    assert not fitted(replace(log_view, fields=[{}] * len(log_view.items))).exposed
    assert (snapshot.rates is None) == log_view.events.rated.any()
    if snapshot.rates is None:
        return
    own = np.exp(log_view.attribute_rates.log_weight(instances))
    nobody = np.exp(log_view.attribute_rates.log_weight(stranger(instances))[0])
    wanted = np.log((own + nobody.mean()) / (nobody + nobody.mean()))
    x = np.column_stack([snapshot.item_embeddings, np.ones(len(snapshot.item_embeddings))]).astype(float)
    ridge = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ wanted.T.astype(float))[:-1].T
    embedding = snapshot.users(instances).embeddings[-1]
    np.testing.assert_allclose(embedding, ridge, atol=1e-4)
    # Least squares: it says of the items what the rates say, up to a constant, as far as the space can.
    said = embedding @ snapshot.item_embeddings.T
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(said, wanted) if b.std()]) > 0.5


def test_the_score_is_a_dot_product_of_its_formula(log_view: LogView) -> None:
    score = fitted(log_view)
    replay = replay_of(log_view, CUTS[1:2])
    at_cutoff = score.at(log_view, CUTS[1])
    (vectors, biases), items = at_cutoff.user_factors(replay.instances), at_cutoff.item_factors()
    snapshot = at_cutoff.snapshot
    users, c = snapshot.users(replay.instances), score.regression
    for user, item in ((0, 3), (4, 17), (11, 39)):
        x = np.clip((users.values[user] - c.user_mean) / c.user_scale, -4, 4)
        y = np.clip((snapshot.item_features[item] - c.item_mean) / c.item_scale, -4, 4)

        def quadratic(z: np.ndarray, weights: np.ndarray) -> float:
            pairs = [PRODUCTS * z[m] * z[n] for m in range(len(z)) for n in range(m, len(z))]
            return float(weights @ [*z, *pairs])

        expected = c.intercept + quadratic(x, c.user) + quadratic(y, c.item) + x @ c.product @ y
        for k, one in enumerate(users.embeddings):
            weight = c.embedding[0, k] + c.embedding[1, k] * x[1]
            expected += weight * float(one[user] @ snapshot.item_embeddings[item])
        weight = c.embedding[0, -1] + c.embedding[1, -1] * x[1]
        expected += weight * float(users.latent[user] @ snapshot.latent[item])
        found = biases[user] + items.biases[item] + vectors[user] @ items.vectors[item]
        assert found == pytest.approx(expected, abs=1e-4)


def test_it_learns_what_rates_cannot_say(log_view: LogView) -> None:
    """In the small log every user dislikes one shape; a rate per user and per item does not see it."""
    score, replay = fitted(log_view), replay_of(log_view, CUTS[1:])
    signed = np.flatnonzero(replay.labels.values != NEUTRAL)
    disliked = replay.labels.values[signed] > 0

    def auc(scores: np.ndarray) -> float:
        bad, good = scores[signed][disliked], scores[signed][~disliked]
        return float((bad[:, None] > good).mean())

    def bare(log_view: LogView, cutoff: np.datetime64, replay: Replay) -> Rows:
        """The exposures of one window, all user embeddings 0."""
        snapshot = score.at(log_view, cutoff).snapshot
        rows = _rows(snapshot, replay, np.arange(len(replay)), np.arange(len(replay.shown.values)))
        none = [np.zeros_like(one) for one in rows.users.embeddings]
        return replace(rows, users=replace(rows.users, embeddings=none, latent=np.zeros_like(rows.users.latent)))

    regression = Regression.fit([bare(one.log_view, one.cutoff, one.replay) for one in windows_of(log_view)])
    at = replay.instances.cutoffs
    days = [(cutoff, replay.take(np.flatnonzero(at == cutoff))) for cutoff in np.unique(at)]
    alone = np.concatenate([regression.scores(bare(log_view, cutoff, part)) for cutoff, part in days])
    whole, without = auc(score.replay_scores(log_view, replay)), auc(alone)
    assert without > 0.65
    assert whole > without + 0.03


def test_nothing_from_the_cut_on_changes_a_score(log_view: LogView) -> None:
    score = fitted(log_view)
    instances = replay_of(log_view, CUTS[1:2]).instances
    whole, short = score.at(log_view, CUTS[1]), score.at(cut_short(log_view, CUTS[1]), CUTS[1])

    def exact(day: HistoryAtCutoff) -> list[np.ndarray]:
        """All factors in double precision."""
        known = day.snapshot
        users = score.regression.user_factors(known.users(instances))
        return [*users, *score.regression.item_factors(known.item_features, known.latent, known.item_embeddings)]

    for one, other in zip(exact(whole), exact(short), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    # Nor does validation or test change what was learned.
    again = fitted(cut_short(log_view, CUTS[0]))
    for name, value in score.state().items():
        if not name.startswith("space/"):
            np.testing.assert_allclose(again.state()[name], value, atol=1e-9, err_msg=name)


def test_strangers_and_new_items_get_the_mean(log_view: LogView) -> None:
    score, replay = fitted(log_view), replay_of(log_view, CUTS[1:2])
    at_cutoff = score.at(log_view, CUTS[1])
    (vectors, biases), items = at_cutoff.user_factors(stranger(replay.instances)), at_cutoff.item_factors()
    scores = biases[0] + items.biases + items.vectors @ vectors[0]
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(vectors[0, -score.space.dimensions :], 0, atol=1e-6)  # no embedding
    # At a moment before the log everybody is a stranger and every item is new.
    early = replace(replay.instances.take(np.array([0])), cutoffs=np.array([START - WEEK]))
    at_cutoff = score.at(log_view, START - WEEK)
    (vectors, biases), items = at_cutoff.user_factors(early), at_cutoff.item_factors()
    assert np.isfinite(biases[0] + items.biases + items.vectors @ vectors[0]).all()


def test_it_is_the_same_after_saving(log_view: LogView, tmp_path: Path) -> None:
    score, replay = fitted(log_view), replay_of(log_view, CUTS[1:])
    score.save(tmp_path)
    restored = HistoryScore.load(tmp_path)
    np.testing.assert_array_equal(restored.replay_scores(log_view, replay), score.replay_scores(log_view, replay))


def served(score: HistoryScore, log_view: LogView, replay: Replay) -> np.ndarray:
    """Everything shown, scored as the service does it, user by user."""
    days = {cutoff: score.at(log_view, cutoff) for cutoff in np.unique(replay.instances.cutoffs)}
    items = {cutoff: day.item_factors() for cutoff, day in days.items()}
    found = []
    for n, cutoff in enumerate(replay.instances.cutoffs):
        ((vector,), (bias,)) = days[cutoff].user_factors(replay.instances.take(np.array([n])))
        found.append(served_scores(items[cutoff], UserFactors(vector, float(bias)), replay.shown[n]))
    return np.concatenate(found)


def test_the_served_form_is_the_score(log_view: LogView) -> None:
    score, replay = fitted(log_view), replay_of(log_view, CUTS[1:])
    np.testing.assert_allclose(served(score, log_view, replay), score.replay_scores(log_view, replay), atol=1e-5)


def test_the_future_is_not_in_the_served_form(log_view: LogView) -> None:
    score, replay = fitted(log_view), replay_of(log_view, CUTS[1:2])
    whole = served(score, log_view, replay)
    np.testing.assert_allclose(served(score, cut_short(log_view, CUTS[1]), replay), whole, atol=1e-6)


def test_to_load_and_serve_it_nothing_of_training_is_imported() -> None:
    training = ("torch", "transformers", "sklearn")
    code = f"import sys, conrec.score.history; print(*sorted(set({training!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_one_sign_alone_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="both dislikes and likes"):
        HistoryScore.fit(small_log_view(), np.arange(40), [], 0)
