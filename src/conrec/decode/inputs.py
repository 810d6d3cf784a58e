"""What training and decoding read: the prepared log and the catalogue as arrays, prompts, and item features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from conrec.config import Recipe
from conrec.data.instances import Events, Instances, Items
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split, TimeSplit
from conrec.decode.prompt_dataset import Decoding, PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.features.co_dislikes import CoDislikes
from conrec.features.exposures import Exposure, ExposureLikelihood, ExposureWeights
from conrec.features.item_features import CoDislikeScore, ContentSimilarity, ItemFeature
from conrec.features.log_view import LogView
from conrec.features.prepared_log import PreparedLog
from conrec.lm.model import device
from conrec.lm.prompts import Context, HistoryPrompts
from conrec.lm.vocabulary import Vocabulary
from conrec.score.history import HistoryScore
from conrec.score.propensity import Propensity
from conrec.sid.catalog import Catalog

RECENT_DAYS = 3
"""Days before a cutoff whose dislikes the context `recent` shows."""


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
    def of(cls, recipe: Recipe, log: PreparedLog) -> Inputs:
        """From a log that may have been read already."""
        trie = Trie.of(log.catalog.codes, log.catalog.sizes, device())
        return cls(recipe, log.view, log.instances, log.split, log.knowledge, trie, log.neighbours)

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
            recent_days=RECENT_DAYS,
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
        """Instances with their prompts and the candidate pool of their days, the prior to the power of `weight`."""
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
        excluded = partial(self.knowledge.excluded, include_unseen=include_unseen)
        return PromptDataset(instances, prompts, rows, pool, vocabulary.pad, device(), excluded)

    def decoding(self, instances: Instances, context: Context, vocabulary: Vocabulary) -> Decoding:
        """How to predict under the prior as it is and no other feature: what training is under."""
        return Decoding(self.prompt_dataset(instances, context, vocabulary))

    def item_features(self, exposures: ExposureWeights, history: HistoryScore | None = None) -> dict[str, ItemFeature]:
        """The item features by name, as far as the recipe switches them on.

        exposures: from `exposure_weights`, now or when the run was made. history: without it there is no propensity.
        """
        config, log_view, found = self.recipe.predict, self.log_view, list[ItemFeature]()
        if any(config.content_weights):
            found.append(ContentSimilarity(log_view.content))
        if any(config.co_dislike_weights):
            found.append(CoDislikeScore(CoDislikes(self.events, len(self.items), log_view.train_users)))
        if any(config.exposures):
            found.append(Exposure(self._exposures, exposures))
        if any(config.attributes):
            found.append(log_view.attribute_rates)
        if any(config.propensity_weights) and history is not None:
            found.append(Propensity(history, log_view))
        return {feature.name: feature for feature in found}

    def exposure_weights(self) -> ExposureWeights:
        """The weights of the exposure likelihood, learned from the training instances where the recipe uses it."""
        if not any(self.recipe.predict.exposures):
            return ExposureWeights()
        horizon, train = np.timedelta64(self.recipe.split.horizon_days, "D"), self.instances.of_split("train")
        if isinstance(self.split, TimeSplit):  # training may have been shown a shorter future
            train = train.take(np.flatnonzero(train.cutoffs + horizon <= self.split.validation_start))
        return self._exposures.learn(train, horizon)

    @cached_property
    def _exposures(self) -> ExposureLikelihood:
        return ExposureLikelihood(self.items, self.events, self.log_view.train_users)
