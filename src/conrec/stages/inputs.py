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
from conrec.decode.exposures import Exposures, Weights
from conrec.decode.leanings import CoDislikes, Leaning, Setting, follow, leaned, pull, remembered
from conrec.decode.prompted import Decoding, Prompted, offer_of_days
from conrec.decode.trie import Trie
from conrec.filtering.past import Past
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
    past: Past
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
        past, split = Past.read(prepared, compressed), Split.read(prepared)
        return cls(
            recipe,
            past,
            read_instances(prepared, past.items),
            split,
            split.knowledge(past.items, past.events),
            Trie.of(past.catalog.codes, past.catalog.sizes, device()),
            read_swing(compressed, past.items.ids),
        )

    @property
    def items(self) -> Items:
        """Rows are items everywhere."""
        return self.past.items

    @property
    def events(self) -> Events:
        """The whole log, sorted by time."""
        return self.past.events

    @property
    def catalog(self) -> Catalog:
        """The semantic IDs."""
        return self.past.catalog

    def history_prompts(self, vocabulary: Vocabulary) -> HistoryPrompts:
        """The recipe's prompts."""
        return HistoryPrompts(
            vocabulary,
            self.catalog.codes,
            max_dislikes=self.recipe.lm.max_dislikes,
            max_positives=self.recipe.lm.max_positives,
            recent_days=self.recipe.split.recent_days,
        )

    def prompted(
        self,
        instances: Instances,
        context: Context,
        vocabulary: Vocabulary,
        *,
        weight: float = 1.0,
        everything: bool = False,
    ) -> Prompted:
        """Instances with their prompts and the offer of their days under the prior to the power of `weight`."""
        config = self.recipe.predict
        offer, rows = offer_of_days(
            instances,
            self.knowledge,
            self.trie,
            days=config.prior_days,
            smoothing=config.prior_smoothing,
            weight=weight if config.prior_weights != (0.0,) else 0.0,
            everything=everything,
        )
        prompts = self.history_prompts(vocabulary).all(instances, context)
        return Prompted(instances, prompts, rows, offer, vocabulary.pad, device())

    def decoding(
        self,
        instances: Instances,
        context: Context,
        vocabulary: Vocabulary,
        setting: Setting = PLAIN,
        leanings: Mapping[str, Leaning] | None = None,
    ) -> Decoding:
        """How to predict for these instances; `leanings` of them, where the setting counts any."""
        data = self.prompted(instances, context, vocabulary, weight=setting.prior)
        return Decoding(data, leaned(setting, leanings or {}), setting.temperature)

    def leanings(self, instances: Instances, exposures: Weights) -> dict[str, Leaning]:
        """What decoding can lean on, of these instances, as far as the recipe lets it; without aversions.

        `exposures`: from `exposure_weights`, now or when the run was made.
        """
        config, found = self.recipe.predict, dict[str, Leaning]()
        if any(config.pulls):
            found["pull"] = pull(instances, self.past.content)
        if any(config.follows):
            found["follow"] = follow(instances, self._co_dislikes)
        if any(config.exposures):
            found["exposure"] = self._exposures.of(instances, exposures)
        if any(config.attributes):
            found["attribute"] = self.past.attribute_rates.of(instances)
        return {name: remembered(leaning) for name, leaning in found.items()}

    def exposure_weights(self) -> Weights:
        """Learned from the training instances, where the recipe wants exposures."""
        if not any(self.recipe.predict.exposures):
            return Weights()
        horizon, train = np.timedelta64(self.recipe.split.horizon_days, "D"), self.instances.of_split("train")
        if self.split.validation_start is not None:  # training may have been shown a shorter future
            train = train.take(np.flatnonzero(train.cuts + horizon <= self.split.validation_start))
        return self._exposures.learn(train, horizon)

    @cached_property
    def _co_dislikes(self) -> CoDislikes:
        return CoDislikes(self.events, len(self.items), self.past.train_users)

    @cached_property
    def _exposures(self) -> Exposures:
        return Exposures(self.items, self.events, self.past.train_users)


def device() -> torch.device:
    """The accelerator where there is one, of several processes on a machine each its own."""
    return torch.device(f"cuda:{processes.local_rank()}" if torch.cuda.is_available() else "cpu")
