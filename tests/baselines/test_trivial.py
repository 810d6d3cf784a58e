"""Each trivial system against its definition, written out for one user and one item at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conrec.baselines.base import Recommender, TrainingData
from conrec.baselines.rates import Bias, ItemRate, UserRate
from conrec.baselines.trivial import CategoryRule, ContentNeighbours, Popularity, filter_systems, trivial_systems
from conrec.baselines.with_prior import ItemPrior, WithPrior
from conrec.data.instances import Instances, Ragged
from conrec.evaluate.metrics import candidate_accuracy, hit_any
from tests.small_log import all_instances, small_known, small_log

DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def world() -> tuple[TrainingData, Instances]:
    items, log = small_log()
    return small_known(items, log), all_instances(log)


def fitted(system: Recommender, known: TrainingData) -> Recommender:
    system.fit(known)
    return system


def without_dislikes(instances: Instances) -> Instances:
    """The same users, had they never disliked anything."""
    none = Ragged(np.zeros(0, np.int32), np.zeros(len(instances) + 1, np.int64))
    times = Ragged(np.zeros(0, "datetime64[us]"), none.offsets)
    return replace(instances, dislikes=none, dislike_times=times, n_dislikes=np.zeros(len(instances), np.int64))


@pytest.mark.parametrize("days", [7, 14, 30, None])
def test_popularity_counts_dislikes_before_the_cut(world: tuple[TrainingData, Instances], days: int | None) -> None:
    known, instances = world
    scores = fitted(Popularity(days), known).scores(instances)
    events = known.events
    for n in range(0, len(instances), 9):
        cutoff = instances.cutoffs[n]
        counted = (events.kinds == "dislike") & (events.times < cutoff)
        if days is not None:
            counted &= events.times >= cutoff - days * DAY
        assert scores[n].tolist() == np.bincount(events.items[counted], minlength=40).tolist()


def test_the_rule_names_disliked_categories_first(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    plain, popularity = fitted(CategoryRule(), known).scores(instances), fitted(Popularity(14), known).scores(instances)
    decayed = fitted(CategoryRule(30), known).scores(instances)
    categories = known.items.categories
    for n in range(len(instances)):
        ages = (instances.cutoffs[n] - instances.dislike_times[n]) / DAY
        for item, category in enumerate(categories):
            mine = [categories[d] == category and category is not None for d in instances.dislikes[n]]
            assert (plain[n, item] >= 1) == any(mine)
            assert decayed[n, item] == pytest.approx(float(np.exp(-ages[np.array(mine)] / 30).sum()), abs=1e-3)
        same = np.flatnonzero(plain[n] >= 1)
        by_score, by_popularity = same[np.argsort(plain[n, same])], popularity[n, same]
        assert (np.diff(popularity[n, by_score]) >= 0).all(), by_popularity


@pytest.mark.parametrize("space", ["catalog", "input"])
def test_content_is_the_nearest_past_dislike(
    world: tuple[TrainingData, Instances], space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, instances = world
    assert known.catalog is not None
    vectors = known.catalog.reconstructed if space == "catalog" else known.embeddings
    assert vectors is not None
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    system = fitted(ContentNeighbours(space), known)  # type: ignore[arg-type]
    scores = system.scores(instances)
    for n in range(len(instances)):
        expected = (unit @ unit[instances.dislikes[n]].T).max(axis=1)
        assert np.allclose(scores[n], expected, atol=1e-5)
    monkeypatch.setattr("conrec.baselines.trivial.CELLS_AT_ONCE", 40 * 7)
    assert np.allclose(system.scores(instances), scores, atol=1e-6)


def test_content_needs_its_vectors(world: tuple[TrainingData, Instances]) -> None:
    known, _ = world
    for system, part in ((ContentNeighbours(), "catalog"), (ContentNeighbours("input"), "embeddings")):
        with pytest.raises(ValueError, match=part[:7]):
            system.fit(replace(known, **{part: None}))


@pytest.mark.parametrize("system", [CategoryRule(), CategoryRule(30), ContentNeighbours(), ContentNeighbours("input")])
def test_without_dislikes_it_is_popularity(world: tuple[TrainingData, Instances], system: Recommender) -> None:
    known, instances = world
    empty = without_dislikes(instances)
    expected = fitted(Popularity(14), known).recommend(empty, 8)
    assert (fitted(system, known).recommend(empty, 8) == expected).all()


def test_the_prior_weight_is_the_best_on_validation(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    system = WithPrior(ContentNeighbours(), 14, 0.05, (0.0, 0.1, 1.0))
    system.fit(known)
    tried = system.tune(instances, 5)
    for weight in tried:
        system.weight = weight
        assert tried[weight] == pytest.approx(float(hit_any(system.recommend(instances, 5), instances.future).mean()))
    system.tune(instances, 5)
    assert tried[system.weight] == max(tried.values())
    assert system.tune(without_dislikes(instances), 5) == {}


def test_with_no_weight_it_is_the_system_and_with_a_large_one_the_prior(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    inner, prior = fitted(ContentNeighbours(), known), fitted(ItemPrior(14, 0.05), known)
    mixed = WithPrior(ContentNeighbours(), 14, 0.05)
    mixed.fit(known)
    for mixed.weight, other in ((0.0, inner), (1e4, prior)):
        assert (mixed.recommend(instances, 8) == other.recommend(instances, 8)).all()


def test_candidates_have_a_prior_weight_of_their_own(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    system = WithPrior(ContentNeighbours(), 14, 0.05, (0.0, 0.1, 1.0))
    system.fit(known)
    rng = np.random.default_rng(0)
    others = np.stack([rng.choice(np.setdiff1d(np.arange(40), row), 4, replace=False) for row in instances.next])
    candidates = np.concatenate([instances.next[:, None], others], axis=1).astype(np.int32)
    candidates[::5, 3:] = -1
    system.weight = 0.1
    before = system.recommend(instances, 5)
    tried = system.tune_candidates(instances, candidates)
    assert (system.recommend(instances, 5) == before).all()
    for weight, accuracy in tried.items():
        system.candidate_weight = weight
        counted, right = candidate_accuracy(system.score_candidates(instances, candidates), instances)
        assert accuracy == pytest.approx(float(right[counted].mean()))
    system.tune_candidates(instances, candidates)
    assert tried[system.candidate_weight] == max(tried.values())
    assert system.tune_candidates(instances, np.full_like(candidates, -1)) == {}


def test_rates(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    user, item, bias = (fitted(s, known).scores(instances) for s in (UserRate(), ItemRate(), Bias()))
    for n in range(0, len(instances), 11):
        cutoff = instances.cutoffs[n]
        disliked, liked = known.knowledge.dislike_counts(cutoff), known.likes.before(cutoff)
        base = (disliked.sum() + 1) / (disliked.sum() + liked.sum() + 2)
        d, p = instances.n_dislikes[n], instances.n_positives[n]
        assert user[n] == pytest.approx((d + 3 * base) / (d + p + 3))
        assert item[n] == pytest.approx((disliked + 5 * base) / (disliked + liked + 5), abs=1e-6)
        odds = user[n] / (1 - user[n]) * item[n] / (1 - item[n])
        assert np.exp(bias[n]) == pytest.approx(odds, rel=1e-4)


@pytest.mark.parametrize("system", [UserRate(), ItemRate(), Bias()], ids=lambda system: system.name)
def test_rates_of_candidates_are_those_of_all_items(world: tuple[TrainingData, Instances], system: Recommender) -> None:
    known, instances = world
    candidates = np.random.default_rng(0).integers(-1, 40, (len(instances), 7)).astype(np.int32)
    found, everything = fitted(system, known).score_candidates(instances, candidates), system.scores(instances)
    assert found.dtype == np.float32
    expected = np.take_along_axis(everything, np.maximum(candidates, 0), axis=1)
    np.testing.assert_array_equal(found, np.where(candidates < 0, -np.inf, expected))
    assert system.score_candidates(instances.take(np.zeros(0, int)), candidates[:0]).shape == (0, 7)


def test_every_system_has_its_own_name(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    for systems in (trivial_systems(14, 0.05), filter_systems()):
        names = [system.name for system in systems]
        assert len(set(names)) == len(names)
        for system in systems:
            scores = fitted(system, known).scores(instances)
            assert scores.shape == (len(instances), 40)
            assert scores.dtype == np.float32
            assert np.isfinite(scores).all(), system.name
    assert "popularity_14d" in [system.name for system in trivial_systems(14, 0.05)]


def test_nothing_after_the_cut_changes_a_score() -> None:
    """A system fitted on the log up to the cutoff says the same as one that could have looked further."""
    items, log = small_log()
    instances = all_instances(log)
    first = instances.take(instances.cutoffs == instances.cutoffs.min())
    cut_short = log.take(log.times < first.cutoffs[0])
    whole = small_known(items, log)
    short = small_known(items, cut_short)
    for a, b in zip([*trivial_systems(14, 0.05), *filter_systems()], [*trivial_systems(14, 0.05), *filter_systems()]):
        a.fit(whole)
        b.fit(short)
        assert np.array_equal(a.scores(first), b.scores(first)), a.name
