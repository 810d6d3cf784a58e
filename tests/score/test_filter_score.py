"""The served form is the score, parts that do not help are left out, and what is saved is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.data.exposures import DISLIKED, LIKED, Replay
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.score.factors import ItemFactors, UserFactors, score
from conrec.score.filter_score import FilterScore, fitting_users
from conrec.score.history import HistoryScore
from conrec.score.similarity import max_cosine_batch
from conrec.stages.filter import combined, padded_rows
from conrec.stages.fit_score import history_scores, weigh
from tests.features.log_view_for_tests import cut_short, replay_of, small_log_view
from tests.score.test_history import fitted
from tests.small_log import CUTS


@pytest.fixture(scope="module")
def log_view() -> LogView:
    return small_log_view()


@pytest.fixture(scope="module")
def history(log_view: LogView) -> HistoryScore:
    return fitted(log_view)


def predictions(replay: Replay, seed: int = 0) -> np.ndarray:
    """int32 [B, 4]: some are shorter, some empty."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(40)[:4] for _ in range(len(replay))]).astype(np.int32)
    lists[np.arange(4) >= rng.integers(0, 5, len(lists))[:, None]] = -1
    return lists


def served(score_: FilterScore, log_view: LogView, replay: Replay, lists: np.ndarray) -> np.ndarray:
    """Everything shown, scored as the service does it, user by user."""
    vectors, biases = score_.user_factors(log_view, replay.instances, lists)
    sides: dict[np.datetime64, ItemFactors] = {}
    result = []
    for n, cutoff in enumerate(replay.instances.cutoffs):
        side = sides.setdefault(cutoff, score_.item_factors(log_view, cutoff))
        user = UserFactors(lists[n][lists[n] >= 0], vectors[n], float(biases[n]))
        result.append(score(side, user, replay.shown[n], score_.cosine_weight).scores)
    return np.concatenate(result)


@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_the_served_form_is_the_score(log_view: LogView, history: HistoryScore, weight: float) -> None:
    replay = replay_of(log_view, CUTS[1:])
    lists, rows = predictions(replay), padded_rows(replay.shown)
    cosine = max_cosine_batch(log_view.catalog.unit, rows, lists)[rows != -1]
    fitted_score = FilterScore(
        "default", weight, history, history_weight=1.3, constant=-0.2, usual_cosine=float(cosine.mean())
    )
    offline = combined(fitted_score, {"history": history_scores(history, log_view, replay)[0]}, cosine)
    np.testing.assert_allclose(served(fitted_score, log_view, replay, lists), offline, atol=1e-5)
    assert fitted_score.item_factors(log_view, CUTS[1]).vectors.shape == (40, fitted_score.dimensions)


def test_the_papers_score_is_the_cosine(log_view: LogView) -> None:
    replay = replay_of(log_view, CUTS[1:2])
    lists, rows = predictions(replay), padded_rows(replay.shown)
    cosine = max_cosine_batch(log_view.catalog.unit, rows, lists)[rows != -1]
    paper = FilterScore.paper()
    assert paper.dimensions == 0
    np.testing.assert_allclose(served(paper, log_view, replay, lists), cosine, atol=1e-6)


def test_the_future_is_not_in_it(log_view: LogView, history: HistoryScore) -> None:
    replay = replay_of(log_view, CUTS[1:2])
    lists = predictions(replay)
    fitted_score = FilterScore("default", 0.5, history, usual_cosine=0.3)
    short = cut_short(log_view, CUTS[1])
    whole = served(fitted_score, log_view, replay, lists)
    np.testing.assert_allclose(served(fitted_score, short, replay, lists), whole, atol=1e-6)


def test_only_parts_that_help_weigh_anything() -> None:
    rng = np.random.default_rng(0)
    history, cosine, useless = rng.normal(size=(3, 4000))
    disliked = rng.random(4000) < 1 / (1 + np.exp(-(2 * history + cosine)))
    users = rng.integers(0, 300, 4000)
    found = FilterScore("default").weighed(history, cosine, disliked, users)
    assert found.history_weight == pytest.approx(2, abs=0.3)
    assert found.cosine_weight == pytest.approx(1, abs=0.2)
    against = FilterScore("default").weighed(history, -cosine, disliked, users)
    assert against.cosine_weight == 0
    assert replace(against, usual_cosine=0) == replace(
        FilterScore("default").weighed(history, -2 * cosine - useless, disliked, users), usual_cosine=0
    )  # left out, it leaves no trace
    few = FilterScore("default").weighed(history[:150], cosine[:150], disliked[:150], users[:150])
    assert (few.history_weight, few.cosine_weight) == (1, 0)


def test_a_third_of_the_users_may_be_fitted_to_and_always_the_same() -> None:
    users = np.array([f"u{n}" for n in range(6000)])
    chosen = fitting_users(users)
    assert 0.31 < chosen.mean() < 0.36
    # Everywhere and for ever, or a calibration would be made on users that an older score was fitted to.
    assert np.flatnonzero(chosen[:20]).tolist() == [1, 3, 4, 11, 12, 13, 14, 15, 16]
    some = np.random.default_rng(0).permutation(6000)[:500].repeat(2)
    np.testing.assert_array_equal(fitting_users(users[some]), chosen[some])
    assert fitting_users(users[:0]).shape == (0,)


def test_the_labels_of_the_others_are_not_looked_at() -> None:
    rng = np.random.default_rng(1)
    parts = {"history": rng.normal(size=3000)}
    cosine, users = rng.normal(size=3000), rng.integers(0, 300, 3000).astype(str)
    labels = np.where(rng.random(3000) < 1 / (1 + np.exp(-parts["history"] - cosine)), DISLIKED, LIKED)
    score_, fitted_on = weigh(FilterScore("default"), parts, cosine, labels, users)
    assert score_.cosine_weight > 0
    np.testing.assert_array_equal(fitted_on, fitting_users(users))
    others = np.where(fitted_on, labels, -labels)
    assert weigh(FilterScore("default"), parts, cosine, others, users)[0] == score_
    mine = np.where(fitted_on, -labels, labels)
    assert weigh(FilterScore("default"), parts, cosine, mine, users)[0] != score_


def test_with_few_labels_nothing_is_fitted_to_anybody() -> None:
    rng = np.random.default_rng(2)
    parts, cosine = {"history": rng.normal(size=500)}, rng.normal(size=500)
    labels = np.where(rng.random(500) < 0.5, DISLIKED, LIKED)  # a third of the 250 of each sign is too few
    score_, fitted_on = weigh(FilterScore("default"), parts, cosine, labels, np.arange(500).astype(str))
    assert not fitted_on.any()
    assert (score_.history_weight, score_.cosine_weight) == (1, 0)


def test_it_is_the_same_after_saving(log_view: LogView, history: HistoryScore, tmp_path: Path) -> None:
    replay = replay_of(log_view, CUTS[1:2])
    lists = predictions(replay)
    whole = FilterScore("default", 0.4, history, history_weight=1.1, constant=0.3, usual_cosine=0.2)
    whole.save(tmp_path / "score")
    again = FilterScore.load(tmp_path / "score")
    assert replace(again, history=None) == replace(whole, history=None)
    np.testing.assert_array_equal(served(again, log_view, replay, lists), served(whole, log_view, replay, lists))
    FilterScore.paper().save(tmp_path / "paper")
    assert FilterScore.load(tmp_path / "paper") == FilterScore.paper()


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for text in (None, "{", '{"name": "default"}'):
        if text is not None:
            (tmp_path / "score.json").write_text(text)
        with pytest.raises(ConrecError, match=r"no readable score .* run the filter stage again") as error:
            FilterScore.load(tmp_path)
        assert "\n" not in str(error.value)
