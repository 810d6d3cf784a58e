"""LC-Rec (Zheng et al. 2024, "Adapting Large Language Models by Integrating Collaborative Semantics for
Recommendation", ICDE).

A language model with tokens for learned item indices, tuned on tasks that tie the indices to language:

- sequential: the history as indices -> the index of the next item;
- mutual: an item's index -> its title, and back;
- asymmetric: the history as indices -> the *title* of the next item; the history as *titles* -> its index.

docs/baselines.md says how it departs from the paper.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conrec.baselines.base import Settings
from conrec.baselines.generative import Generative
from conrec.baselines.titles import TitleHistories
from conrec.config import LmConfig, UnderstandConfig
from conrec.data.instances import Instances, Ragged
from conrec.features.sizes import Inputs, Sizes
from conrec.lm.model import build_policy, build_vocabulary
from conrec.lm.prompts import MAX_TITLE_TOKENS, WORDING, Context, HistoryPrompts, ItemTokens, Sample, translation
from conrec.train.sft import train_supervised


class LcRec(Generative):
    """CoNRec's language model under LC-Rec's tasks; options as in `Generative`.

    The paper's two rows, "Neg. & Pos." and "Neg. Only", differ in the inputs.
    """

    name = "lc_rec"
    sizes = Sizes(epochs=3, learning_rate=3e-3)
    requires = ("catalog",)
    needs = (*Generative.needs, "lm")
    quick: ClassVar[Settings] = Generative.quick | {"language_epochs": 0.2, "asymmetric": 50}

    def __init__(
        self,
        inputs: Inputs = "dislikes",
        *,
        lm: LmConfig,
        language_epochs: float = 4,
        language_learning_rate: float = 4e-3,
        asymmetric: int = 4000,
        **options: Any,
    ) -> None:
        """`language_*`: of the mutual and asymmetric tasks; `asymmetric`: samples of each of the latter at most."""
        options = {"max_dislikes": lm.max_dislikes, "max_positives": lm.max_positives} | options
        super().__init__(inputs, **options)
        self.lm, self.asymmetric = lm, asymmetric
        self.context: Context = "full" if self.positives else "dislikes"
        self.language_epochs, self.language_learning_rate = language_epochs, language_learning_rate

    def build(self, folder: Path) -> None:
        catalog = self.known.catalog
        assert catalog is not None
        self.codes = catalog.codes
        vocabulary = build_vocabulary(self.lm, catalog.titles, catalog.sizes)
        self.pad = vocabulary.pad
        self.policy = build_policy(self.lm, vocabulary, catalog.codewords, self.seed).to(self.device)
        self.histories = HistoryPrompts(ItemTokens(vocabulary, self.codes), self.max_dislikes, self.max_positives)
        positives = self.max_positives if self.positives else 0
        titles = TitleHistories(vocabulary, catalog.titles, self.max_dislikes, positives)
        train = self.known.train.take(self.known.train.n_dislikes > 0)
        rng = np.random.default_rng(self.seed)
        chosen = train.take(rng.permutation(len(train))[: self.asymmetric])
        learned = np.unique(self.known.events.items)
        samples = translation(vocabulary, self.codes[learned], [catalog.titles[row] for row in learned])
        asks_title = vocabulary.text(WORDING["title_to_sid"][0])
        for n, row in enumerate(chosen.next.tolist()):
            title = vocabulary.text(catalog.titles[row])[:MAX_TITLE_TOKENS]
            by_title = self.histories.of(chosen, n, self.context) + asks_title
            samples.append(Sample(by_title, [*title, vocabulary.end]))
            samples.append(Sample(titles.of(chosen, n) + titles.next, vocabulary.sid(self.codes[row])))
        out, task = folder / f"{self.name}-language", f"{self.name}: language"
        config = UnderstandConfig(row_tokens=512, learning_rate=self.language_learning_rate, checkpoint_every=1000)
        epochs, seed = self.language_epochs, self.seed
        train_supervised(self.policy, vocabulary, samples, out, config, epochs=epochs, seed=seed, title=task)

    def prompts(self, instances: Instances) -> Ragged:
        return self.histories.all(instances, self.context)
