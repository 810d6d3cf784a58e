"""The engineer's boosted trees: the yardstick's figures, and nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from conrec.baselines.base import LikeCounts, TrainingData
from conrec.baselines.boosted import Boosted
from conrec.config import DataConfig, SplitConfig
from conrec.data.adapters import movietweetings
from conrec.data.clean import clean
from conrec.data.exposures import replay_pairs, users_to_replay
from conrec.data.instances import as_events, as_items
from conrec.data.knowledge import Knowledge
from conrec.data.split import TimeSplit, plan_split
from conrec.evaluate.replay import measure
from conrec.features.log_view import LogView
from conrec.items.fields import fields_of
from conrec.score.backtest import backtests, signed_only
from tests.features.log_view_for_tests import CONFIG, cut_short, replay_of, small_log_view, split_of
from tests.small_log import CUTS, small_known


def known_of(log_view: LogView) -> TrainingData:
    knowledge, likes = Knowledge(log_view.items, log_view.events), LikeCounts(log_view.items, log_view.events)
    return replace(small_known(log_view.items, log_view.events), knowledge=knowledge, likes=likes)


def fitted(log_view: LogView) -> Boosted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        backtested = backtests(log_view, split_of(log_view), CONFIG)
    system = Boosted(log_view, split_of(log_view), backtested)
    system.fit(known_of(log_view))
    return system


@pytest.mark.slow
@pytest.mark.parametrize("rated", [True, False])
def test_it_learns_and_knows_nothing_from_the_cut_on(rated: bool) -> None:
    log_view = small_log_view(rated=rated)
    replay = signed_only(replay_of(log_view, CUTS[1:2]))
    rows = replay.shown.padded()
    scores = fitted(log_view).score_candidates(replay.instances, rows)
    assert (scores[rows < 0] == -np.inf).all()
    assert roc_auc_score(replay.labels.values > 0, scores[rows >= 0]) > 0.7
    short = fitted(cut_short(log_view, CUTS[1])).score_candidates(replay.instances, rows)
    np.testing.assert_array_equal(scores, short)
    whole = fitted(log_view).scores(replay.instances.take(np.arange(3)))
    np.testing.assert_array_equal(
        np.take_along_axis(whole, np.maximum(rows[:3], 0), 1)[rows[:3] >= 0], scores[:3][rows[:3] >= 0]
    )


def test_with_nothing_to_learn_from_it_says_nothing() -> None:
    log_view = small_log_view()
    system = Boosted(log_view, split_of(log_view), [])
    system.fit(known_of(log_view))
    replay = signed_only(replay_of(log_view, CUTS[1:2]))
    rows = replay.shown.padded()
    assert not system.score_candidates(replay.instances, rows)[rows >= 0].any()


def test_the_boosted_row_of_the_protocols_table(shared_data: Path) -> None:
    """AUC .882; .265 / .366 / .525 of the dislikes at 1, 2 and 5 % of likes lost, another implementation's features."""
    config = SplitConfig()
    log = clean(
        movietweetings.read(shared_data / "movietweetings", DataConfig(dislike_at_most=5, like_at_least=8), None)
    )
    items = as_items(log.items)
    events = as_events(log.events, items)
    first = np.full(len(items), np.datetime64("NaT"), "datetime64[us]")
    first[events.items[::-1]] = events.times[::-1]
    items = replace(items, first_seen=first)
    split = plan_split(events, config)
    assert isinstance(split, TimeSplit)
    catalog = small_known(items, events).catalog
    assert catalog is not None
    log_view = LogView(items, events, catalog, np.zeros((len(items), 1), np.float32), fields_of(log.items))
    horizon = np.timedelta64(7, "D")
    pairs = [
        (user, cutoff) for cutoff in split.cutoffs("test", horizon) for user in users_to_replay(events, cutoff, horizon)
    ]
    replay = replay_pairs(events, pairs, "test", horizon, 50, 100)
    rows = replay.shown.padded()
    system = Boosted(log_view, split, backtests(log_view, split, config))
    system.fit(known_of(log_view))
    report = measure(system.score_candidates(replay.instances, rows)[rows >= 0], replay.labels.values)
    assert report.auc == pytest.approx(0.882, abs=0.004)
    assert list(report.avoided_at.values()) == pytest.approx([0.265, 0.366, 0.525, 0.669], abs=0.015)
