"""What every stage from the model on reads: the prepared log and the catalogue, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from conrec import processes
from conrec.config import Recipe
from conrec.data.instances import Events, Instances, Items, read_instances
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split
from conrec.decode.prompt_dataset import Decoding, PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.features.exposures import ExposureLikelihood, ExposureWeights
from conrec.features.item_features import (
    CoDislikes,
    ItemFeature,
    Setting,
    co_dislike_score,
    combine_features,
    content_similarity,
    remembered,
)
from conrec.features.log_view import LogView
from conrec.items.swing import read_swing
from conrec.lm.prompts import Context, HistoryPrompts
from conrec.lm.vocabulary import Vocabulary
from conrec.sid.catalog import Catalog

PLAIN = Setting()
"""The prior of the day as it is, and nothing else: what training is under."""


@dataclass(frozen=True)
class Inputs:
    """The log, what may be learned from it, and the semantic IDs."""

    recipe: Recipe
    log_view: LogView
    """The log and the catalogue."""
    instances: Instances
    split: Split
    knowledge: Knowledge
    trie: Trie
    neighbours: np.ndarray
    """int32 [items, n]: Swing neighbours, best first, -1 for none."""

    @classmethod
    def read(cls, recipe: Recipe, prepared: Path, compressed: Path) -> Inputs:
        """From the folders of `prepare` and `compress`."""
        log_view, split = LogView.read(prepared, compressed), Split.read(prepared)
        return cls(
            recipe,
            log_view,
            read_instances(prepared, log_view.items),
            split,
            split.knowledge(log_view.items, log_view.events),
            Trie.of(log_view.catalog.codes, log_view.catalog.sizes, device()),
            read_swing(compressed, log_view.items.ids),
        )

    @property
    def items(self) -> Items:
        """Rows are items everywhere."""
        return self.log_view.items

    @property
    def events(self) -> Events:
        """The whole log, sorted by time."""
        return self.log_view.events

    @property
    def catalog(self) -> Catalog:
        """The semantic IDs."""
        return self.log_view.catalog

    def history_prompts(self, vocabulary: Vocabulary) -> HistoryPrompts:
        """The recipe's prompts."""
        return HistoryPrompts(
            vocabulary,
            self.catalog.codes,
            max_dislikes=self.recipe.lm.max_dislikes,
            max_positives=self.recipe.lm.max_positives,
            recent_days=self.recipe.split.recent_days,
        )

    def prompt_dataset(
        self,
        instances: Instances,
        context: Context,
        vocabulary: Vocabulary,
        *,
        weight: float = 1.0,
        include_unseen: bool = False,
    ) -> PromptDataset:
        """Instances with their prompts and the offer of their days under the prior to the power of `weight`."""
        config = self.recipe.predict
        pool, rows = pool_of_days(
            instances,
            self.knowledge,
            self.trie,
            days=config.prior_days,
            smoothing=config.prior_smoothing,
            weight=weight if config.prior_weights != (0.0,) else 0.0,
            include_unseen=include_unseen,
        )
        prompts = self.history_prompts(vocabulary).all(instances, context)
        return PromptDataset(instances, prompts, rows, pool, vocabulary.pad, device())

    def decoding(
        self,
        instances: Instances,
        context: Context,
        vocabulary: Vocabulary,
        setting: Setting = PLAIN,
        item_features: Mapping[str, ItemFeature] | None = None,
    ) -> Decoding:
        """How to predict for these instances; `item_features` of them, where the setting counts any."""
        data = self.prompt_dataset(instances, context, vocabulary, weight=setting.prior)
        return Decoding(data, combine_features(setting, item_features or {}), setting.temperature)

    def item_features(self, instances: Instances, exposures: ExposureWeights) -> dict[str, ItemFeature]:
        """What decoding can lean on, of these instances, as far as the recipe lets it; without aversions.

        `exposures`: from `exposure_weights`, now or when the run was made.
        """
        config, found = self.recipe.predict, dict[str, ItemFeature]()
        if any(config.content_weights):
            found["content_similarity"] = content_similarity(instances, self.log_view.content)
        if any(config.co_dislike_weights):
            found["co_dislike_score"] = co_dislike_score(instances, self._co_dislikes)
        if any(config.exposures):
            found["exposure"] = self._exposures.of(instances, exposures)
        if any(config.attributes):
            found["attribute"] = self.log_view.attribute_rates.of(instances)
        return {name: remembered(item_feature) for name, item_feature in found.items()}

    def exposure_weights(self) -> ExposureWeights:
        """Learned from the training instances, where the recipe wants exposures."""
        if not any(self.recipe.predict.exposures):
            return ExposureWeights()
        horizon, train = np.timedelta64(self.recipe.split.horizon_days, "D"), self.instances.of_split("train")
        if self.split.validation_start is not None:  # training may have been shown a shorter future
            train = train.take(np.flatnonzero(train.cutoffs + horizon <= self.split.validation_start))
        return self._exposures.learn(train, horizon)

    @cached_property
    def _co_dislikes(self) -> CoDislikes:
        return CoDislikes(self.events, len(self.items), self.log_view.train_users)

    @cached_property
    def _exposures(self) -> ExposureLikelihood:
        return ExposureLikelihood(self.items, self.events, self.log_view.train_users)


def device() -> torch.device:
    """The accelerator where there is one, of several processes on a machine each its own."""
    return torch.device(f"cuda:{processes.local_rank()}" if torch.cuda.is_available() else "cpu")
