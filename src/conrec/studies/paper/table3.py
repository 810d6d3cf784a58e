"""Table 3: how much of item-level alignment is forgotten by what is trained after it.

The paper's argument: a task that fits the intermediate one lets less of it be forgotten. The held-out questions of
the alignment are asked again after the same backbone went through next-item training alone, GRPO rewarded for the
next dislike, and CoNRec.
"""

from pathlib import Path

import numpy as np

from conrec.config import Recipe
from conrec.decode.inputs import Inputs
from conrec.features.prepared_log import PreparedLog
from conrec.lm.model import build_policy, device, load_trained_policy
from conrec.lm.vocabulary import Vocabulary
from conrec.studies.cells import Cell, Measured
from conrec.studies.datasets import utilizing
from conrec.studies.models import CONREC, Models, Variant, declared, inputs, policy
from conrec.studies.study import StudyContext
from conrec.toml import read_table
from conrec.train.alignment import alignment_samples, ask
from conrec.train.sft import choices

ALIGNMENT, SFT, GRPO = "item-level alignment", "next-item SFT", "next-item GRPO"
ACCURACY = "accuracy"
NEXT_ONLY = read_table(Path(__file__).with_name("table2.toml"))["variants"]["+ progressive GRPO"]
"""Rewarded for the next dislike alone: no days after it, no neighbours, no penalty."""


def longer(recipe: Recipe) -> Recipe:
    """Next-item training for twice the epochs, instead of GRPO behind it."""
    return utilizing(recipe, stages=(), warmup_targets="next", warmup_epochs=2 * recipe.utilize.warmup_epochs)


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """The questions before and after."""
    ours = policy(own.dataset, own.seed)
    next_only = declared(own.dataset, own.seed, NEXT_ONLY)
    trained = {SFT: policy(own.dataset, own.seed, longer), GRPO: next_only, CONREC: ours}
    before = _cell(context.models, ALIGNMENT, ours, after=False)
    return [before, *(_cell(context.models, name, one, after=True) for name, one in trained.items())]


def _cell(models: Models, name: str, own: Variant, after: bool) -> Cell:
    depends = inputs("utilize", own) | {"questions": "after" if after else "before"}

    def run() -> Measured:
        understood, stages = models.built("understand", own), len(own.recipe.utilize.stages)
        last = f"stage{stages}" if stages else "warmup"
        weights = models.built("utilize", own) / last if after else understood
        return answered(own, models.log(own), understood, weights)

    # Each seed draws questions of its own, so they are told apart as folds are.
    return Cell(own.dataset.name, f"alignment after {name}" if after else name, own.seed, depends, run, own.seed)


def answered(own: Variant, log: PreparedLog, understood: Path, weights: Path) -> Measured:
    """The held-out questions of the understand stage, answered by some weights; 1 for a right answer."""
    recipe, seed, catalog = own.recipe, own.seed, log.catalog
    questions = ask(log.events, log.split.may_learn(log.events), catalog.codes, recipe.understand, seed)[1]
    vocabulary = Vocabulary.load(understood / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, catalog.codewords, seed).to(device())
    load_trained_policy(policy, weights)
    items = Inputs.of(recipe, log).item_tokens(vocabulary)
    samples = alignment_samples(items, questions, seed)
    right = choices(policy, vocabulary, samples, catalog.codes[questions])
    numbers = np.arange(len(questions))
    return Measured(numbers, np.array([f"{seed}-{n}" for n in numbers]), {ACCURACY: right.astype(np.float32)})
