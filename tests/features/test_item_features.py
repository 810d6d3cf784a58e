"""Item features are their formulas, know nothing of the day itself, and count by their weights."""

import numpy as np
import pytest

from conrec.data.instances import Instances
from conrec.data.knowledge import Knowledge
from conrec.features.co_dislikes import CoDislikes, co_dislikes
from conrec.features.item_features import (
    AT_ONCE,
    CoDislikeScore,
    ContentSimilarity,
    FeatureWeights,
    ItemFeature,
    LongTail,
    Prior,
)
from tests.small_log import CUTS, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
CONTENT = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG)


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


def test_long_tail_items_are_those_of_few_dislikes_so_far(
    instances: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conrec.data.knowledge.LONG_TAIL", 2)
    found = LongTail(Knowledge(ITEMS, LOG)).log_weight(instances)
    assert 0 < found.mean() < 1
    for n in range(0, len(instances), 7):
        earlier = LOG.take(LOG.is_dislike & (LOG.times < instances.cutoffs[n]))
        assert found[n].tolist() == (np.bincount(earlier.items, minlength=N) < 2).astype(float).tolist()


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
    content, neighbours = ContentSimilarity(CONTENT), CoDislikeScore(CoDislikes(LOG, N))
    features: dict[str, ItemFeature] = {"co_dislike_score": neighbours, "content_similarity": content}
    assert FeatureWeights(prior=2.0, temperature=4.0).of({}) == []
    assert FeatureWeights(co_dislike_score=0.5).of(features) == [(0.5, features["co_dislike_score"])]
    with pytest.raises(KeyError):
        FeatureWeights(propensity=1.0).of(features)


def test_the_prior_is_that_of_midnight_and_of_the_least_popular_for_what_is_new(instances: Instances) -> None:
    late = Instances(**{**instances.__dict__, "cutoffs": instances.cutoffs + np.timedelta64(17, "h")})
    knowledge = Knowledge(ITEMS, LOG)
    found = Prior(knowledge, 14.0, 0.05).log_weight(late)
    for n in range(0, len(instances), 7):
        prior = knowledge.prior(instances.cutoffs[n], 14.0, 0.05)
        wanted = np.where(prior > 0, prior, prior[prior > 0].min())
        np.testing.assert_allclose(found[n], np.log(wanted), rtol=1e-5)


def test_before_the_first_item_no_prior_tells_anything_apart(instances: Instances) -> None:
    first = LOG.times.min()
    early = Instances(**{**instances.__dict__, "cutoffs": np.full(len(instances), first, "datetime64[us]")})
    found = Prior(Knowledge(ITEMS, LOG), 14.0, 0.05).log_weight(early)
    assert np.isfinite(found).all()
    assert (found == found[:, :1]).all()
