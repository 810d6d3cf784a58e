"""The propensity is the history score of every item, on each instance's own day."""

import numpy as np
import pytest

from conrec.score.backtest import backtests
from conrec.score.history import HistoryScore
from conrec.score.propensity import Propensity
from tests.features.log_view_for_tests import CONFIG, cut_short, replay_of, small_log_view, split_of
from tests.small_log import CUTS

PAST = small_log_view()


@pytest.fixture(scope="module")
def history() -> HistoryScore:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        return HistoryScore.fit(PAST, np.arange(len(PAST.items)), backtests(PAST, split_of(PAST), CONFIG), 0)


def test_every_item_gets_the_score_of_the_instances_own_day(history: HistoryScore) -> None:
    instances = replay_of(PAST, CUTS).instances
    some = np.random.default_rng(0).permutation(len(instances))[:25]
    found = Propensity(history, PAST).log_weight(instances.take(some))
    for row, n in enumerate(some):
        one = instances.take(np.array([n]))
        at_cutoff = history.at(PAST, one.cutoffs[0])
        items, (own, bias) = at_cutoff.item_factors(), at_cutoff.user_factors(one)
        np.testing.assert_allclose(found[row], items.vectors @ own[0] + items.biases + bias[0], rtol=1e-4, atol=1e-4)


def test_nothing_after_the_cut_is_looked_at(history: HistoryScore) -> None:
    instances = replay_of(PAST, CUTS[:1]).instances
    before = cut_short(PAST, CUTS[0])
    np.testing.assert_allclose(
        Propensity(history, PAST).log_weight(instances), Propensity(history, before).log_weight(instances), atol=1e-5
    )


def test_saved_and_loaded(history: HistoryScore, tmp_path) -> None:
    history.save(tmp_path)
    again = HistoryScore.load(tmp_path)
    some = replay_of(PAST, CUTS[:1]).instances.take(np.arange(4))
    np.testing.assert_array_equal(Propensity(again, PAST).log_weight(some), Propensity(history, PAST).log_weight(some))
