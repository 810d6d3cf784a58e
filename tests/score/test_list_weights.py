"""Weights of the item features: learned on backtest windows, and on nothing that came after them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.config import PredictConfig
from conrec.data.instances import Instances
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError
from conrec.features.exposures import USUAL
from conrec.features.item_features import ItemFeature
from conrec.score.backtest import Backtest, backtests
from conrec.score.list_features import list_features
from conrec.score.list_weights import HARD, LONG_TAIL_STEPS, ListWeights, _hard, learn_list_weights, prior_alone
from tests.features.log_view_for_tests import CONFIG, cut_short, small_log_view, split_of

VIEW = small_log_view()
LOG = VIEW.events.take(split_of(VIEW).may_learn(VIEW.events))
PREDICT = PredictConfig(k=5, features=("content_similarity", "co_dislike_score", "attribute"))


@pytest.fixture(scope="module")
def windows() -> list[Backtest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        return backtests(VIEW, split_of(VIEW), CONFIG)


def learn(windows: list[Backtest], config: PredictConfig = PREDICT) -> ListWeights:
    return learn_list_weights(config, windows, LOG, USUAL, None, 10, 0)


def test_they_name_every_feature_and_lose_to_none(windows: list[Backtest]) -> None:
    found = learn(windows)
    names = {"content_similarity", "co_dislike_score", "attribute", "prior"}
    assert found.lists.keys() == found.candidates.keys() == found.alone.keys() == names
    assert found.cases > 50
    assert found.together >= max(found.alone.values())
    weights = found.of_lists()
    assert (weights.prior, weights.exposure) == (found.lists["prior"], 0.0)


def test_left_out_a_feature_leaves_what_is_learned_without_it(windows: list[Backtest], tmp_path: Path) -> None:
    found = learn_list_weights(PREDICT, windows, LOG, USUAL, None, 10, 0, left_out=True)
    assert replace(found, without={}) == learn(windows)
    assert list(found.without) == [*PREDICT.features, "prior"]
    for name in PREDICT.features:
        others = tuple(one for one in PREDICT.features if one != name)
        assert found.without[name] == learn(windows, replace(PREDICT, features=others))
    assert found.without["prior"] == learn(windows, replace(PREDICT, prior=False))
    found.save(tmp_path)
    assert ListWeights.load(tmp_path) == found


def test_the_long_tail_gets_as_much_as_costs_no_more_than_allowed(
    windows: list[Backtest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conrec.data.knowledge.LONG_TAIL", 20)
    free, dear = (learn(windows, replace(PREDICT, long_tail_cost=cost)) for cost in (1.0, 0.0))
    assert free.long_tail == LONG_TAIL_STEPS[-1] > dear.long_tail >= 0
    assert free.of_lists().long_tail == free.long_tail
    assert replace(free, long_tail=0.0) == replace(dear, long_tail=0.0)


def test_they_know_nothing_from_the_end_of_the_windows_on(windows: list[Backtest]) -> None:
    end = windows[-1].cutoff + np.timedelta64(CONFIG.horizon_days, "D")
    early = [replace(one, log_view=cut_short(one.log_view, end)) for one in windows]
    assert learn(early) == learn(windows)


def test_windows_are_worked_on_in_any_order(windows: list[Backtest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.score.list_weights.HARD", 2)  # so that some items are drawn

    def backwards(work: Callable[[int], object], parts: list[int], title: str) -> list[object]:
        found = {part: work(part) for part in reversed(parts)}
        return [found[part] for part in parts]

    expected = learn(windows)
    monkeypatch.setattr("conrec.score.list_weights.map_parts", backwards)
    assert len(windows) > 1
    assert learn(windows) == expected


class Told(ItemFeature):
    """Knows the future, more or less."""

    name = "told"

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def log_weight(self, instances: Instances) -> np.ndarray:
        found = np.random.default_rng(len(instances)).normal(size=(len(instances), len(VIEW.items))) * self._noise
        for n in range(len(instances)):
            found[n, instances.future[n]] += 1
        return found


def test_what_decides_gets_the_weight(windows: list[Backtest], monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"noise": Told(100.0), "told": Told(0.5)}
    monkeypatch.setattr("conrec.score.list_weights.list_features", lambda *_: features)
    found = learn(windows)
    for weights in (found.lists, found.candidates):
        assert weights["told"] > 1
        assert abs(weights["noise"]) < 0.1
    assert found.together > 0.9 > found.alone["noise"]


def test_without_windows_all_count_the_same() -> None:
    found = learn([])
    assert found.cases == 0
    assert set(found.lists.values()) == {1.0}
    assert found.lists.keys() == found.candidates.keys() == {*PREDICT.features, "prior"}


def test_features_are_those_of_the_recipe() -> None:
    config = replace(PREDICT, prior=False, features=("attribute", "propensity"))
    found = list_features(config, VIEW, Knowledge(VIEW.items, VIEW.events), USUAL, None)
    assert list(found) == ["attribute"]  # no history score, no propensity
    assert prior_alone(PREDICT).of_lists().prior == 1.0
    assert prior_alone(replace(PREDICT, prior=False)).of_lists().prior == 0.0


def test_of_a_large_catalogue_the_first_of_every_feature_are_kept() -> None:
    rng = np.random.default_rng(1)
    weights, wanted = rng.normal(size=(5000, 3)), np.array([7, 4321])
    rows = np.flatnonzero(rng.random(5000) < 0.9)
    tail = rng.random(5000) < 0.1
    found, stands_for = _hard(weights, rows, wanted, tail, rng)
    assert len(found) < 6.5 * HARD
    assert stands_for.sum() == pytest.approx(len(rows), rel=1e-5)
    assert (stands_for[np.isin(found, wanted)] == 1).all()
    assert np.isin(found, rows).all()
    assert np.isin(np.intersect1d(wanted, rows), found).all()
    for column in weights.T:
        assert np.isin(rows[np.argsort(-column[rows])[:HARD]], found).all()
    np.testing.assert_array_equal(_hard(weights, rows[:50], wanted, tail, rng)[0], rows[:50])


def test_saved_and_loaded(windows: list[Backtest], tmp_path) -> None:
    found = learn(windows)
    found.save(tmp_path)
    assert ListWeights.load(tmp_path) == found
    (tmp_path / "weights.json").write_text("{}")
    with pytest.raises(ConrecError, match="run the weights stage again"):
        ListWeights.load(tmp_path)
