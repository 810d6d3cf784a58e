"""Leanings are their formulas, know nothing of the day itself, and count by their exponents."""

import numpy as np
import pytest

from conrec.data.instances import Instances
from conrec.features.co_dislikes import co_dislikes
from conrec.features.item_features import (
    CoDislikes,
    Setting,
    co_dislike_score,
    combine_features,
    content_similarity,
    of_some,
    remembered,
)
from tests.small_log import CUTS, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
CONTENT = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG)


def test_pull_is_the_cosine_to_the_nearest_past_dislike(instances: Instances) -> None:
    some = np.array([5, 0, 9])
    found = content_similarity(instances, CONTENT)(some)
    for row, n in enumerate(some):
        for item in range(N):
            past = instances.dislikes[n]
            nearest = max((float(CONTENT[item] @ CONTENT[j]) for j in past), default=0.0)
            assert found[row, item] == pytest.approx(nearest, abs=1e-5)


def test_follow_sums_what_was_known_at_midnight(instances: Instances) -> None:
    found = co_dislike_score(instances, CoDislikes(LOG, N))(np.arange(len(instances)))
    for n in range(0, len(instances), 7):
        known = co_dislikes(LOG.take(LOG.times < instances.cutoffs[n]), N).toarray()
        expected = np.log1p(10 * known[instances.dislikes[n]].sum(axis=0))
        np.testing.assert_allclose(found[n], expected, atol=1e-5)


def test_a_cut_within_a_day_knows_nothing_of_that_day(instances: Instances) -> None:
    late = Instances(**{**instances.__dict__, "cutoffs": instances.cutoffs + np.timedelta64(17, "h")})
    every = np.arange(len(instances))
    np.testing.assert_array_equal(
        co_dislike_score(late, CoDislikes(LOG, N))(every), co_dislike_score(instances, CoDislikes(LOG, N))(every)
    )


def test_by_users_only_the_known_ones_count_and_at_all_times(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    found = co_dislike_score(instances, CoDislikes(LOG, N, known))(np.arange(len(instances)))
    matrix = co_dislikes(LOG.take(np.isin(LOG.users, known)), N).toarray()
    for n in range(0, len(instances), 9):
        np.testing.assert_allclose(found[n], np.log1p(10 * matrix[instances.dislikes[n]].sum(axis=0)), atol=1e-5)


def test_nothing_after_the_cut_is_looked_at(instances: Instances) -> None:
    cutoff = CUTS[1]
    some = np.flatnonzero(instances.cutoffs == cutoff)
    before = LOG.take(LOG.times < cutoff)
    whole, part = (co_dislike_score(instances, CoDislikes(log, N)) for log in (LOG, before))
    np.testing.assert_array_equal(whole(some), part(some))


def test_a_setting_names_what_counts() -> None:
    item_features = {
        "co_dislike_score": lambda index: np.ones((len(index), 3)),
        "content_similarity": lambda index: np.zeros((len(index), 3)),
    }
    assert combine_features(Setting(prior=2.0), {}) == []
    ((exponent, item_feature),) = combine_features(Setting(co_dislike_score=0.5), item_features)
    assert exponent == 0.5
    assert item_feature is item_features["co_dislike_score"]
    with pytest.raises(KeyError):
        combine_features(Setting(propensity=1.0), item_features)


def test_some_of_the_instances_and_a_remembered_answer() -> None:
    asked: list[list[int]] = []

    def item_feature(index: np.ndarray) -> np.ndarray:
        asked.append(index.tolist())
        return index[:, None] * 1.0

    found = of_some({"content_similarity": remembered(item_feature)}, np.array([7, 3, 5]))["content_similarity"]
    for index in ([2, 0], [2, 0], [1], [1, 2], []):
        assert found(np.array(index, int)).ravel().tolist() == [[7.0, 3.0, 5.0][n] for n in index]
    assert sorted(n for index in asked for n in index) == [3, 5, 7]  # no instance is worked out twice


def test_what_is_remembered_has_a_limit_but_for_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.features.item_features.KEPT", 16)  # two answers of one number
    asked: list[int] = []

    def item_feature(index: np.ndarray) -> np.ndarray:
        asked.append(int(index[0]))
        return index[:, None] * 1.0

    one = remembered(item_feature)
    for n in (0, 1, 2, 2, 0, 1, 3, 2):
        assert one(np.array([n])).tolist() == [[n]]
    assert asked == [0, 1, 2, 3, 2]
