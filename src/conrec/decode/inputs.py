"""What training and decoding read: the prepared log and the catalogue as arrays, prompts, and item features."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from conrec.config import Recipe
from conrec.data.instances import Instances, Ragged
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split
from conrec.decode.prompt_dataset import PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.features.log_view import LogView
from conrec.features.prepared_log import PreparedLog
from conrec.lm.model import device
from conrec.lm.prompts import Context, HistoryPrompts, ItemTokens
from conrec.lm.vocabulary import Vocabulary
from conrec.parallel import declared


@dataclass(frozen=True)
class Inputs:
    """The log, what may be learned from it, and the semantic IDs."""

    recipe: Recipe
    log_view: LogView
    instances: Instances
    split: Split
    knowledge: Knowledge
    neighbours: np.ndarray
    """int32 [items, n]: Swing neighbours, best first, -1 for none."""

    @classmethod
    def of(cls, recipe: Recipe, log: PreparedLog) -> "Inputs":
        return cls(recipe, log.view, log.instances, log.split, log.knowledge, log.neighbours)

    @cached_property
    def trie(self) -> Trie:
        """All semantic IDs, on the device of this process; a worker elsewhere builds its own."""
        return Trie.of(self.log_view.catalog.codes, self.log_view.catalog.sizes, device())

    __getstate__ = declared

    def history_prompts(self, vocabulary: Vocabulary) -> HistoryPrompts:
        return HistoryPrompts(self.item_tokens(vocabulary), self.recipe.lm.max_dislikes, self.recipe.lm.max_positives)

    def item_tokens(self, vocabulary: Vocabulary) -> ItemTokens:
        view, most = self.log_view, self.recipe.lm.text_tokens
        return ItemTokens(vocabulary, view.catalog.codes, view.items.says, most)

    def prompt_dataset(
        self,
        instances: Instances,
        context: Context,
        vocabulary: Vocabulary | None,
        *,
        weight: float = 1.0,
        include_unseen: bool = False,
    ) -> PromptDataset:
        """Instances with their prompts and the candidate pool of their days, the prior to the power of `weight`.

        Without a vocabulary the prompts are empty: for decoding that does not ask a policy.
        """
        config = self.recipe.predict
        prior = {"days": config.prior_days, "smoothing": config.prior_smoothing}
        prior["weight"] = weight if config.prior else 0.0
        pool, rows = pool_of_days(instances, self.knowledge, self.trie, **prior, include_unseen=include_unseen)
        prompts, pad = Ragged.of([np.zeros(0)] * len(instances), np.int64), 0
        if vocabulary is not None:
            prompts, pad = self.history_prompts(vocabulary).all(instances, context), vocabulary.pad
        excluded = partial(self.knowledge.excluded, include_unseen=include_unseen)
        return PromptDataset(instances, prompts, rows, pool, pad, device(), excluded)
