"""The lists that a run predicts on the log so far, for its snapshots."""

import math
from functools import cached_property
from pathlib import Path

import numpy as np

from conrec.config import Recipe
from conrec.data.histories import Histories
from conrec.data.instances import Instances
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split
from conrec.decode.decoder import Decoder
from conrec.decode.inputs import Inputs
from conrec.features.item_features import FeatureWeights
from conrec.features.log_view import LogView
from conrec.score.history import HistoryScore
from conrec.score.list_weights import read_weights


class Predictor:
    """The run's model on the log so far; loaded when the first list is asked for."""

    def __init__(self, run: Path, recipe: Recipe, seed: int, log_view: LogView, split: Split) -> None:
        self._run, self._seed = run, seed
        no_neighbours = np.zeros((len(log_view.items), 0), np.int32)
        none = Histories(log_view.events).instances(np.zeros(0, str), np.zeros(0, "datetime64[us]"), 0, 0)
        items, events, everybody = log_view.items, log_view.events, log_view.train_users
        knowledge = Knowledge(items, events, everybody, by_category=split.by_category)
        self._inputs = Inputs(recipe, log_view, none, split, knowledge, no_neighbours)

    def lists(self, instances: Instances) -> np.ndarray:
        """int32 [B, k]: rows of the items that these users are predicted to dislike, best first, -1 for none."""
        decoder, weights = self._loaded
        ((predicted, _),) = decoder.predict(instances, [weights], f"predict for {len(instances):,} users")
        return predicted

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_loaded"}

    @cached_property
    def _loaded(self) -> tuple[Decoder, FeatureWeights]:
        seed = f"seed{self._seed}"
        weights, exposures = read_weights(self._run / "predict" / seed)
        history = HistoryScore.load(self._run / "score" / seed) if weights.propensity else None
        utilized = None if math.isinf(weights.temperature) else self._run / "utilize" / seed
        return Decoder.of(self._inputs, self._seed, utilized, exposures, history), weights
