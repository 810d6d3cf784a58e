"""Item features are their formulas, know nothing of the day itself, and count by their weights."""

import numpy as np
import pytest

from conrec.data.instances import Instances
from conrec.features.co_dislikes import CoDislikes, co_dislikes
from conrec.features.item_features import (
    AT_ONCE,
    CoDislikeScore,
    ContentSimilarity,
    FeatureWeights,
    ItemFeature,
    Remembered,
)
from tests.small_log import CUTS, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
CONTENT = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG)


class Numbered(ItemFeature):
    """Says of every user its place in a list, and notes who was asked for."""

    name = "numbered"

    def __init__(self, users: list[str]) -> None:
        self._users = users
        self.asked: list[list[int]] = []

    def log_weight(self, instances: Instances) -> np.ndarray:
        places = [self._users.index(user) for user in instances.users]
        self.asked.append(places)
        return np.array(places, float)[:, None] + np.arange(3) / 10


def test_content_similarity_is_the_cosine_to_the_nearest_past_dislike(instances: Instances) -> None:
    some = instances.take(np.array([5, 0, 9]))
    found = ContentSimilarity(CONTENT).log_weight(some)
    for row in range(3):
        for item in range(N):
            nearest = max((float(CONTENT[item] @ CONTENT[j]) for j in some.dislikes[row]), default=0.0)
            assert found[row, item] == pytest.approx(nearest, abs=1e-5)


def test_the_co_dislike_score_sums_what_was_known_at_midnight(instances: Instances) -> None:
    found = CoDislikeScore(CoDislikes(LOG, N)).log_weight(instances)
    for n in range(0, len(instances), 7):
        known = co_dislikes(LOG.take(LOG.times < instances.cutoffs[n]), N).toarray()
        expected = np.log1p(10 * known[instances.dislikes[n]].sum(axis=0))
        np.testing.assert_allclose(found[n], expected, atol=1e-5)


def test_a_cutoff_within_a_day_knows_nothing_of_that_day(instances: Instances) -> None:
    late = Instances(**{**instances.__dict__, "cutoffs": instances.cutoffs + np.timedelta64(17, "h")})
    feature = CoDislikeScore(CoDislikes(LOG, N))
    np.testing.assert_array_equal(feature.log_weight(late), feature.log_weight(instances))


def test_by_users_only_the_known_ones_count_and_at_all_times(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    found = CoDislikeScore(CoDislikes(LOG, N, known)).log_weight(instances)
    matrix = co_dislikes(LOG.take(np.isin(LOG.users, known)), N).toarray()
    for n in range(0, len(instances), 9):
        np.testing.assert_allclose(found[n], np.log1p(10 * matrix[instances.dislikes[n]].sum(axis=0)), atol=1e-5)


def test_nothing_after_the_cutoff_is_looked_at(instances: Instances) -> None:
    some = instances.take(instances.cutoffs == CUTS[1])
    before = LOG.take(LOG.times < CUTS[1])
    whole, part = (CoDislikeScore(CoDislikes(log, N)).log_weight(some) for log in (LOG, before))
    np.testing.assert_array_equal(whole, part)


def test_of_candidates_it_is_the_log_weight_of_these_items(instances: Instances) -> None:
    assert len(instances) > 2 * AT_ONCE
    feature = ContentSimilarity(CONTENT)
    rows = np.random.default_rng(1).integers(0, N, (len(instances), 4))
    wanted = np.take_along_axis(feature.log_weight(instances), rows, 1)
    np.testing.assert_array_equal(feature.of_candidates(instances, rows), wanted)


def test_weights_name_what_counts() -> None:
    features: dict[str, ItemFeature] = {"co_dislike_score": Numbered([]), "content_similarity": Numbered([])}
    assert FeatureWeights(prior=2.0, temperature=4.0).of({}) == []
    assert FeatureWeights(co_dislike_score=0.5).of(features) == [(0.5, features["co_dislike_score"])]
    with pytest.raises(KeyError):
        FeatureWeights(propensity=1.0).of(features)


def people(instances: Instances, count: int) -> Instances:
    """So many users at one moment."""
    some = instances.take(np.zeros(count, int))
    return Instances(**{**some.__dict__, "users": np.array([f"p{n}" for n in range(count)])})


def test_a_remembered_feature_is_the_feature_and_asks_it_once(instances: Instances) -> None:
    some = people(instances, 3)
    feature = Numbered(some.users.tolist())
    found = Remembered(feature)
    assert found.name == "numbered"
    for index in ([2, 0], [2, 0], [1], [1, 2], []):
        assert found.log_weight(some.take(np.array(index, int)))[:, 0].tolist() == index
    assert feature.asked == [[2, 0], [1], []]
    later = Instances(**{**some.__dict__, "cutoffs": some.cutoffs + np.timedelta64(1, "D")})
    found.log_weight(later.take(np.array([1])))
    assert feature.asked[-1] == [1]  # another cutoff is another question


def test_what_is_remembered_has_a_limit_but_for_the_last_answer(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conrec.features.item_features.REMEMBERED", 2 * 3 * 8)  # two answers of three numbers
    some = people(instances, 4)
    feature = Numbered(some.users.tolist())
    found = Remembered(feature)
    for n in (0, 1, 2, 2, 0, 1, 3, 2):
        assert found.log_weight(some.take(np.array([n])))[0, 0] == n
    assert feature.asked == [[0], [1], [2], [3], [2]]
