"""FDSA reads features, S3-Rec learns from them: both must lose when the features are somebody else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conrec.baselines.base import TrainingData, category_numbers
from conrec.baselines.fdsa import FDSA, Features
from conrec.baselines.s3rec import S3Rec, attributes
from conrec.data.instances import Instances
from conrec.features.sequences import Tokens, UserEvents, training_windows
from tests.baselines.planted import families, hit_share

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world() -> tuple[TrainingData, Instances]:
    known, test = families()
    heads = test.next < 8
    return replace(known, validation=None), test.take(heads)


def shuffled(known: TrainingData) -> TrainingData:
    """The same log, but every item has the features of another."""
    assert known.embeddings is not None
    order = np.random.default_rng(1).permutation(len(known.items))
    categories = [known.items.categories[n] for n in order]
    return replace(known, items=replace(known.items, categories=categories), embeddings=known.embeddings[order])


def test_fdsa_needs_the_right_features(world: tuple[TrainingData, Instances]) -> None:
    known, test = world
    shares = []
    for one in (known, shuffled(known)):
        system = FDSA(loss="softmax", width=32, epochs=8, learning_rate=5e-3)
        system.cells = 256
        system.fit(one)
        shares.append(hit_share(system.recommend(test, 1), test))
    assert shares[0] > 0.9
    assert shares[1] < 0.75


def test_vanilla_attention_over_features(world: tuple[TrainingData, Instances]) -> None:
    known, _ = world
    assert known.embeddings is not None
    log, _ = UserEvents.of_log(known.events, "dislikes")
    tokens = Tokens.of(log, len(known.items))
    torch.manual_seed(0)
    features = Features(tokens, category_numbers(known), known.embeddings, 6)
    with torch.no_grad():
        found = features(torch.tensor([[4, 0]]))[0, 0]
        row = tokens.rows[3]
        unit = known.embeddings[row] / np.linalg.norm(known.embeddings[row])
        values = [
            features.categories.weight[category_numbers(known)[row]],
            features.project(torch.from_numpy(unit)),
        ]
        strength = torch.softmax(torch.stack([features.attention(v) for v in values]), 0)
        assert torch.allclose(found, strength[0] * values[0] + strength[1] * values[1], atol=1e-6)


def test_s3rec_pretraining_learns_whose_attributes_are_whose(world: tuple[TrainingData, Instances]) -> None:
    known, _ = world
    losses = []
    for epochs in (0, 20):
        system = pretrained(known, epochs, 0)
        log, _ = UserEvents.of_log(known.events, "dislikes")
        windows = training_windows(log, system.tokens, system.length)
        with torch.no_grad():
            losses.append(system.objectives(windows, torch.Generator().manual_seed(0)))
    assert set(losses[0]) == {"AAP", "MIP", "MAP", "SP"}
    for name in losses[0]:
        assert float(losses[1][name]) < 0.85 * float(losses[0][name]), name
    with torch.no_grad():
        items = system.network.items.weight[1 : len(system.tokens)]
        table = system.network.maps["AAP"](items) @ system.network.attributes.T
    categories = category_numbers(known)[system.tokens.rows] - 1
    assert (table[:, :8].argmax(1).numpy() == categories).mean() > 0.8


def test_s3rec_needs_the_right_features(world: tuple[TrainingData, Instances]) -> None:
    """Rare items are alike by their attributes before the first next item is learned."""
    known, test = world
    right, wrong = (
        hit_share(pretrained(one, 20, 3).recommend(test, 1), test) for one in (known, shuffled(known))
    )  # fmt: skip
    assert right > 0.85
    assert wrong < 0.6


def pretrained(known: TrainingData, pretraining: int, epochs: int) -> S3Rec:
    system = S3Rec(loss="softmax", width=32, epochs=epochs, learning_rate=5e-3, pretraining_epochs=pretraining)
    system.cells = 256
    system.fit(known)
    return system


def test_attributes_are_the_category_and_one_cluster(world: tuple[TrainingData, Instances]) -> None:
    known, _ = world
    table = attributes(known, 0)
    assert (table[:, :8].argmax(1) + 1 == category_numbers(known)).all()
    assert (table[:, 8:].sum(1) == 1).all()
    nameless = replace(known, items=replace(known.items, categories=[None, *known.items.categories[1:]]))
    assert attributes(nameless, 0)[0, :8].sum() == 0


def test_without_embeddings_it_says_so(world: tuple[TrainingData, Instances]) -> None:
    for system in (FDSA(), S3Rec()):
        with pytest.raises(ValueError, match="embeddings"):
            system.fit(replace(world[0], embeddings=None))
