"""A policy with the item features that decoding adds to it, ready to predict for any instances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from conrec.config import LmConfig, Recipe
from conrec.data.instances import Instances, cut
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding
from conrec.features.exposures import Weights
from conrec.features.item_features import FeatureWeights, ItemFeature, LongTail
from conrec.lm.model import build_policy, device, load_trained_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.parallel import declared, map_parts
from conrec.score.history import HistoryScore
from conrec.score.list_features import list_features

USERS_AT_ONCE = 1000


@dataclass(frozen=True)
class Decoder:
    """How a run predicts."""

    inputs: Inputs
    vocabulary: Vocabulary | None
    load: Callable[[], Policy] | None
    """The policy; None, as the vocabulary, where no decoding asks it."""
    context: Context
    features: Mapping[str, ItemFeature] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Inputs, seed: int, utilized: Path | None, exposures: Weights, history: HistoryScore | None
    ) -> "Decoder":
        """With the item features of the recipe and, where it takes part, the policy that the stage `utilize` left."""
        recipe, vocabulary, load = inputs.recipe, None, None
        features = list_features(recipe.predict, inputs.log_view, inputs.knowledge, exposures, history)
        last, context = list(contexts(recipe).items())[-1]
        if utilized is not None:
            vocabulary = Vocabulary.load(utilized / "tokenizer")
            load = partial(_load, recipe.lm, vocabulary, inputs.log_view.catalog.codewords, seed, utilized / last)
        return cls(inputs, vocabulary, load, context, features)

    @cached_property
    def policy(self) -> Policy | None:
        """The policy, loaded when it is first asked for; a worker elsewhere loads it from its folder, too."""
        return self.load and self.load()

    __getstate__ = declared

    def decodings(
        self, instances: Instances, weights: Sequence[FeatureWeights], *, include_unseen: bool = False
    ) -> list[Decoding]:
        """One decoding of the instances for each of the weights.

        `include_unseen`: items that the log has not met yet are in the candidate pool, too.
        """
        # Prompts and the day's candidate pool differ by the prior at most, not by any other weight.
        dataset = partial(self.inputs.prompt_dataset, instances, self.context, self.vocabulary)
        priors = dict.fromkeys(one.prior for one in weights)
        data = {prior: dataset(weight=prior, include_unseen=include_unseen) for prior in priors}
        features = {**self.features, LongTail.name: LongTail(self.inputs.knowledge)}
        return [Decoding(data[one.prior], one.of(features), one.temperature) for one in weights]

    def predict(
        self, instances: Instances, weights: Sequence[FeatureWeights], title: str
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows int32 [n, k] of the predicted items and their scores float32 [n, k], a pair for each of the weights."""

        def some(index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
            decodings = self.decodings(instances.take(index), weights)
            return predict_items(self.policy, decodings, self.inputs.recipe.predict, None)

        found = map_parts(some, cut(len(instances), USERS_AT_ONCE), title, gpu=self.load is not None)
        return [(np.concatenate(rows), np.concatenate(scores)) for rows, scores in (zip(*one) for one in zip(*found))]


def _load(config: LmConfig, vocabulary: Vocabulary, codewords: list[np.ndarray], seed: int, folder: Path) -> Policy:
    policy = build_policy(config, vocabulary, codewords, seed).to(device())
    load_trained_policy(policy, folder)
    return policy


def contexts(recipe: Recipe) -> dict[str, Context]:
    """What the prompts show to the weights of each training stage, in the order of training."""
    warmup: Context = "full" if recipe.utilize.warmup_context == "mixed" else recipe.utilize.warmup_context
    return {"warmup": warmup} | {f"stage{n}": s.context for n, s in enumerate(recipe.utilize.stages, start=1)}
