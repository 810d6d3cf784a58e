"""Whether the language model takes part: only where validation says that it is significantly better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conrec.config import PredictConfig, Recipe
from conrec.data.instances import Instances
from conrec.decode.candidates import CandidateSets
from conrec.features.item_features import FeatureWeights
from conrec.stages import predict
from tests.small_log import all_instances, small_log

ITEMS, LOG = small_log(users=80, items=60, events=1200)
WITHOUT = math.inf
WEIGHTS = FeatureWeights(prior=0.0, attribute=1.5)


@pytest.fixture(scope="module")
def held_out() -> Instances:
    return Instances.joined([all_instances(LOG, name) for name in ("validation", "test")])


class Told:
    """A decoder whose lists hit a given share of the future dislikes, by the temperature of its policy."""

    features = ("attribute", "prior")

    def __init__(self, hits: dict[float, float], of_test: float = 0.5) -> None:
        self.inputs = SimpleNamespace(recipe=Recipe(predict=PredictConfig(temperatures=tuple(hits))))
        self.load = None if list(hits) == [WITHOUT] else object()
        self._hits, self._of_test, self.asked = hits, of_test, set[str]()

    def predict(self, instances: Instances, weights: Sequence[FeatureWeights], title: str) -> list[tuple[Any, Any]]:
        self.asked |= set(instances.split.tolist())
        first = np.array([instances.future[n][0] for n in range(len(instances))])
        found = []
        for one in weights:
            assert one._replace(temperature=1.0) == WEIGHTS  # those of the features stay as they were learned
            share = np.where(instances.split == "validation", self._hits[one.temperature], self._of_test)
            hit = np.arange(len(first)) % 100 < 100 * share
            found.append((np.where(hit, first, -1)[:, None], np.zeros((len(first), 1))))
        return found


@pytest.mark.parametrize(
    ("hits", "chosen"),
    [
        ({WITHOUT: 0.5}, WITHOUT),
        ({WITHOUT: 0.5, 4.0: 0.9, 1.0: 0.7}, 4.0),
        ({WITHOUT: 0.5, 4.0: 0.51, 1.0: 0.2}, WITHOUT),  # better, but not significantly
        ({WITHOUT: 0.5, 4.0: 0.4}, WITHOUT),
        ({4.0: 0.3, 1.0: 0.4}, 1.0),  # a recipe may insist on it
    ],
)
def test_in_lists_it_joins_only_where_validation_finds_it_significantly_better(
    hits: dict[float, float], chosen: float, held_out: Instances
) -> None:
    decoder = Told(hits)
    weights, tried = predict._choose_temperature(decoder, WEIGHTS, held_out)  # type: ignore[arg-type]
    assert weights == WEIGHTS._replace(temperature=chosen)
    assert tried == {one: pytest.approx(share, abs=0.06) for one, share in hits.items()}
    assert decoder.asked == {"validation"}


@pytest.mark.parametrize(("policy", "joins"), [(3.0, True), (0.05, False), (-3.0, True)])
def test_candidates_are_ranked_with_it_where_validation_finds_it_significantly_better(
    policy: float, joins: bool, held_out: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    """policy: how far the true ones stand out in its likelihood; where they stand back it counts against them."""
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.tile(np.arange(len(ITEMS)), (len(held_out), 1)), axis=1)[:, :5]
    sets, shape = CandidateSets(np.arange(len(held_out)), rows), rows.shape
    values, there = rng.normal(size=(*shape, 2)), np.ones(shape, bool)
    values[:, 0, 0] += 1.0
    likelihood = rng.normal(size=shape)
    likelihood[:, 0] += policy
    likelihood[held_out.split == "test"] = 0.0  # what it says there counts nothing
    monkeypatch.setattr(predict, "policy_scores", lambda *_: likelihood)
    weights, decoder = {"attribute": 2.0, "prior": 0.5}, Told({WITHOUT: 0.5, 4.0: 0.5})
    scores, counts = predict._rank_candidates(decoder, weights, sets, (values, there), held_out)  # type: ignore[arg-type]
    if joins:
        assert counts["policy"] * policy > 0.1
        assert counts["attribute"] / counts["prior"] == pytest.approx(4.0)
    else:
        assert counts == {"policy": 0.0, "attribute": 2.0, "prior": 0.5}
        np.testing.assert_allclose(scores, values @ [2.0, 0.5])
