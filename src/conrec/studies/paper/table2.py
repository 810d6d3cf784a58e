"""Table 2: the modules one by one, in the paper's order."""

from collections.abc import Sequence
from dataclasses import replace

from conrec.config import Recipe
from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset, with_policy
from conrec.studies.models import POLICY, WITH_POLICY, Variant, policy, variant
from conrec.studies.study import StudyContext, study

BASELINE, ALIGNED, PROGRESSIVE, FUTURE = "baseline", "+ alignment", "+ progressive GRPO", "+ future dislikes"


def warm_up_only(recipe: Recipe) -> Recipe:
    """No reinforcement learning."""
    return replace(recipe, utilize=replace(recipe.utilize, stages=()))


def next_only(variant: Variant) -> Variant:
    """Rewarded for the next dislike alone: no days after it, no neighbours, no penalty."""
    recipe = variant.recipe
    changed = replace(recipe, utilize=replace(recipe.utilize, swing_neighbours=0, gamma=0.0))
    return replace(variant, recipe=changed, reward="next")


def no_penalty(recipe: Recipe) -> Recipe:
    """Rewarded for the days to come and their neighbours, whatever the user will like."""
    return replace(recipe, utilize=replace(recipe.utilize, gamma=0.0))


def rungs(dataset: Dataset, seed: int) -> dict[str, Variant]:
    """Each row adds one module to the one above."""
    return {
        BASELINE: replace(policy(dataset, seed, warm_up_only), aligned=False),
        ALIGNED: policy(dataset, seed, warm_up_only),
        PROGRESSIVE: next_only(policy(dataset, seed)),
        FUTURE: policy(dataset, seed, no_penalty),
        POLICY: policy(dataset, seed),
        WITH_POLICY: variant(dataset, seed, with_policy),
    }


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Six rows under each seed."""
    return [context.models.cell(name, rung) for seed in seeds for name, rung in rungs(dataset, seed).items()]


STUDY = study("table2", cells)
