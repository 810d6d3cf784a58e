"""A policy with the item features that decoding adds to it, ready to predict for any instances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from conrec.data.instances import Instances
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding
from conrec.features.item_features import FeatureWeights, ItemFeature, LongTail
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary

PLAIN = FeatureWeights()
"""The prior of the day as it is, and no other feature: what training is under."""


@dataclass(frozen=True)
class Decoder:
    """How a run predicts."""

    inputs: Inputs
    vocabulary: Vocabulary | None
    policy: Policy | None
    """None, as the vocabulary, where no decoding asks it."""
    context: Context
    """What the prompts show."""
    features: Mapping[str, ItemFeature] = field(default_factory=dict)

    def decodings(
        self, instances: Instances, weights: Sequence[FeatureWeights], *, include_unseen: bool = False
    ) -> list[Decoding]:
        """One decoding of the instances for each of the weights.

        `include_unseen`: items that the log has not met yet are in the candidate pool, too.
        """
        # Prompts and the day's candidate pool differ by the prior at most, not by any other weight.
        data = {
            prior: self.inputs.prompt_dataset(
                instances, self.context, self.vocabulary, weight=prior, include_unseen=include_unseen
            )
            for prior in dict.fromkeys(one.prior for one in weights)
        }
        features = {**self.features, LongTail.name: LongTail(self.inputs.knowledge)}
        return [Decoding(data[one.prior], one.of(features), one.temperature) for one in weights]

    def run(self, decodings: Sequence[Decoding], title: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows int32 [n, k] of the predicted items and their scores float32 [n, k], one pair a decoding."""
        config = self.inputs.recipe.predict
        return predict_items(self.policy, decodings, k=config.k, beams=config.beams, batch=config.batch, title=title)

    def predict(
        self, instances: Instances, weights: Sequence[FeatureWeights], title: str
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """`run` under each of the weights."""
        return self.run(self.decodings(instances, weights), title)
