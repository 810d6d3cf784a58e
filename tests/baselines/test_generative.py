"""TIGER, P5-CID and LC-Rec: what they have in common, and that each learns what popularity cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from conrec.baselines import generative
from conrec.baselines.base import TrainingData
from conrec.baselines.generative import Generative
from conrec.baselines.lcrec import LcRec
from conrec.baselines.p5cid import P5Cid
from conrec.baselines.tiger import Tiger
from conrec.baselines.trivial import Popularity
from conrec.config import LmConfig, UtilizeConfig
from conrec.data.instances import Instances, Ragged
from conrec.decode.prompt_dataset import PromptDataset
from tests.baselines.learning import camps, provoked_camps, with_training
from tests.baselines.planted import hit_share

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"prior_days": 14.0, "prior_smoothing": 0.5, "beams": 40, "batch": 16}
LM = LmConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=96, vocabulary=300)


def tiger(**options: Any) -> Generative:
    return Tiger(**SMALL | {"width": 32, "layers": 1, "heads": 2, "epochs": 3, "learning_rate": 3e-3} | options)


def p5cid(**options: Any) -> Generative:
    size = {"width": 32, "layers": 1, "heads": 2, "epochs": 3, "learning_rate": 3e-3, "clusters": 5, "leaf": 12}
    return P5Cid(**SMALL | size | options)


def lcrec(**options: Any) -> Generative:
    learning = {"epochs": 3, "learning_rate": 3e-3, "language_epochs": 1, "asymmetric": 50}
    return LcRec(lm=LM, **SMALL | learning | options)


MAKERS = [tiger, p5cid, lcrec]
Maker = Callable[..., Generative]


@pytest.fixture(scope="module")
def world() -> tuple[TrainingData, Instances]:
    known, test = camps()
    return with_training(known), test


@pytest.fixture(scope="module")
def fitted(world: tuple[TrainingData, Instances]) -> dict[str, Generative]:
    """Each system after half an epoch: its weights say something, whatever it is."""
    systems = {}
    for make in MAKERS:
        system = make(epochs=0.5)
        system.fit(world[0])
        systems[make.__name__] = system
    return systems


@pytest.mark.parametrize("make", MAKERS)
def test_learns_what_follows_what(make: Maker, world: tuple[TrainingData, Instances]) -> None:
    known, test = world
    system = make()
    system.fit(known)
    popularity = Popularity(None)
    popularity.fit(known)
    assert hit_share(popularity.recommend(test, 4), test) < 0.2
    assert hit_share(system.recommend(test, 4), test) > 0.6


# Not P5-CID: where dislikes of one user have nothing in common, its IDs say nothing.
@pytest.mark.parametrize("make", [tiger, lcrec])
def test_positives_help_where_they_say_something(make: Maker) -> None:
    known, test = provoked_camps()
    known = with_training(known)
    system = make(inputs="dislikes+likes", epochs=6)
    system.fit(known)
    popularity = Popularity(None)
    popularity.fit(known)
    assert system.name.endswith("+positives")
    assert hit_share(popularity.recommend(test, 8), test) < 0.25
    assert hit_share(system.recommend(test, 8), test) > 0.33


@pytest.mark.parametrize("name", ["tiger", "p5cid", "lcrec"])
def test_beams_for_every_item_are_exact(
    name: str, world: tuple[TrainingData, Instances], fitted: dict[str, Generative]
) -> None:
    system, test = fitted[name], world[1].take(np.arange(6))
    every = np.tile(np.arange(len(system.codes), dtype=np.int32), (len(test), 1))
    system.beams = len(system.codes)
    # What a user has seen is not on offer to that user: the others share its probability.
    likelihood = system.score_candidates(test, every)
    np.testing.assert_allclose(np.exp(likelihood).sum(1), 1, atol=1e-4)
    assert np.isneginf(likelihood[test.seen.owners, test.seen.values]).all()
    assert (system.recommend(test, 5) == np.argsort(-likelihood, axis=1)[:, :5]).all()
    unseen = replace(test, seen=Ragged(np.zeros(0, np.int32), np.zeros(len(test) + 1, np.int64)))
    likelihood = system.score_candidates(unseen, every)
    assert (system.recommend(unseen, 5) == np.argsort(-likelihood, axis=1)[:, :5]).all()


@pytest.mark.parametrize("make", MAKERS)
def test_a_seed_gives_the_same_weights(make: Maker, world: tuple[TrainingData, Instances]) -> None:
    first, again, other = (make(epochs=0.3, seed=seed) for seed in (1, 1, 2))
    for system in (first, again, other):
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # what the caller drew before says nothing
        system.fit(world[0])
    every = np.tile(np.arange(40), (len(world[1]), 1))
    lists = [system.score_candidates(world[1], every) for system in (first, again, other)]
    assert (lists[0] == lists[1]).all()
    assert (lists[0] != lists[2]).any()


@pytest.mark.parametrize("name", ["tiger", "p5cid", "lcrec"])
def test_neither_the_truth_nor_places_are_looked_at(
    name: str, world: tuple[TrainingData, Instances], fitted: dict[str, Generative]
) -> None:
    system, test = fitted[name], world[1].take(np.arange(30))
    rng = np.random.default_rng(0)
    unseen = [np.setdiff1d(np.arange(40), test.seen[n]) for n in range(len(test))]
    candidates = np.stack([rng.permutation(rows)[:8] for rows in unseen]).astype(np.int32)
    candidates[::5, 6:] = -1
    scores = system.score_candidates(test, candidates)
    assert (np.isneginf(scores) == (candidates < 0)).all()
    order = rng.permutation(8)
    np.testing.assert_allclose(system.score_candidates(test, candidates[:, order]), scores[:, order], atol=1e-5)
    false = rng.integers(0, 40, len(test)).astype(np.int32)
    lied = replace(test, next=false, future=Ragged.of([[n] for n in false]), future_positives=test.positives)
    assert (system.recommend(lied, 5) == system.recommend(test, 5)).all()
    assert (system.score_candidates(lied, candidates) == scores).all()


@pytest.mark.parametrize(
    ("epochs", "of_all", "passes"),
    [(8.0, 2.0, 8.0), (8.0, 0.5, 4.0), (8.0, 0.01, 1.0), (0.5, 0.01, 0.5)],
)
def test_a_large_log_is_passed_over_fewer_times(
    epochs: float, of_all: float, passes: float, world: tuple[TrainingData, Instances], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`of_all`: the instances of an epoch, of those there are."""
    asked: list[float] = []

    def stub(
        policy: object,
        data: PromptDataset,
        targets: object,
        codes: object,
        path: object,
        config: UtilizeConfig,
        **_: object,
    ) -> None:
        asked.append(config.warmup_epochs)
        monkeypatch.setattr(generative, "EPOCH", len(data.instances) * of_all)

    monkeypatch.setattr(generative, "warm_up", stub)
    tiger().fit(world[0])  # says how many there are
    tiger(epochs=epochs).fit(world[0])
    assert asked[1] == pytest.approx(passes)


def test_the_prior_is_weighed_on_validation(
    world: tuple[TrainingData, Instances], fitted: dict[str, Generative]
) -> None:
    known, test = world
    assert known.validation is not None
    system = fitted["tiger"]
    tried = system.tune(known.validation, 3)
    assert system.weight == max(tried, key=lambda w: tried[w])
    for weight, figure in tried.items():
        system.weight = weight
        assert hit_share(system.recommend(known.validation, 3), known.validation) == pytest.approx(figure)
    candidates = np.concatenate([known.validation.next[:, None], np.tile([3, 8, 13], (len(known.validation), 1))], 1)
    tried = system.tune_candidates(known.validation, candidates.astype(np.int32))
    assert set(tried) == {0.0, *generative.WEIGHTS}
    assert system.candidate_weight == max(tried, key=lambda w: tried[w])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generative, "TUNING_INSTANCES", 2)
        ends = known.validation.take(np.array([0, len(known.validation) - 1]))
        assert system.tune(known.validation, 3) == system.tune(ends, 3)
    nobody = test.take(np.zeros(0, np.int64))
    assert system.tune(nobody, 3) == {}
    assert system.tune_candidates(nobody, np.zeros((0, 4), np.int32)) == {}
    assert system.recommend(nobody, 3).shape == (0, 3)


def test_without_a_catalogue_the_systems_that_need_one_say_so(world: tuple[TrainingData, Instances]) -> None:
    bare = replace(world[0], catalog=None)
    for make in (tiger, lcrec):
        with pytest.raises(ValueError, match="catalogue"):
            make().fit(bare)
