"""Choosing the feature weights on validation: one weight after the other, until no change of one is better."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from pathlib import Path

from conrec.config import PredictConfig
from conrec.features.exposures import ExposureWeights
from conrec.features.item_features import FeatureWeights

Choices = Mapping[str, Sequence[float]]
"""The values that the search may try of each weight."""


def choices_of(config: PredictConfig, features: Collection[str]) -> dict[str, tuple[float, ...]]:
    """What the recipe lets the search try, of the features that are there.

    1 for the prior and 0 for the others come first where they are among it.
    """
    found = {
        "prior": tuple(sorted(config.prior_weights, key=lambda value: value != 1.0)),
        "temperature": tuple(sorted(config.temperatures)),
    }
    named = {
        "co_dislike_score": config.co_dislike_weights,
        "exposure": config.exposures,
        "attribute": config.attributes,
        "propensity": config.propensity_weights,
        "content_similarity": config.content_weights,
    }
    return found | {name: tuple(sorted(values)) for name, values in named.items() if name in features}


def decodings(choices: Choices) -> int:
    """How many ways of decoding the search could choose from: all combinations, since any of them might win."""
    return prod(len(set(values)) for values in choices.values())


def best_weights(
    choices: Choices, measure: Callable[[list[FeatureWeights]], list[float]]
) -> tuple[FeatureWeights, dict[FeatureWeights, float]]:
    """The best weights that coordinate ascent finds, and everything that was tried with its figure.

    `measure` gives the figures of some weights, which it may take together; none is asked for twice. The search begins
    three times, since some features help only with others, and features that say much the same are too much together:
    with the first value of each, and with no prior and of all others the middle value (the larger of two), or the
    largest. Of equals the one that was there first stays.
    """
    tried: dict[FeatureWeights, float] = {}

    def look(weights: list[FeatureWeights]) -> None:
        new = [one for one in weights if one not in tried]
        tried.update(zip(new, measure(new)) if new else ())

    def ascend(best: FeatureWeights) -> FeatureWeights:
        while True:
            before = best
            for name, values in choices.items():
                around = [best._replace(**{name: value}) for value in values]
                look(around)
                best = max(around, key=lambda one: (tried[one], one == best))
            if best == before:
                return best

    ordered = {name: sorted(values) for name, values in choices.items()}
    starts = [{name: values[0] for name, values in choices.items()}]
    starts.append({name: values[0 if name == "prior" else len(values) // 2] for name, values in ordered.items()})
    starts.append({name: values[0 if name == "prior" else -1] for name, values in ordered.items()})
    beginnings = list(dict.fromkeys(FeatureWeights(**start) for start in starts))
    look(beginnings)
    return max([ascend(start) for start in beginnings], key=lambda weights: tried[weights]), tried


def read_weights(folder: Path) -> tuple[FeatureWeights, ExposureWeights]:
    """The weights that a stage `predict` chose, and those of its exposure likelihood, from its folder."""
    table = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
    weights = FeatureWeights(**{name: float(table[name]) for name in FeatureWeights._fields if name in table})
    return weights, ExposureWeights.of_json(table["exposures"])
