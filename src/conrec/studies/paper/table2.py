"""Table 2: the modules one by one, in the paper's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from conrec.config import Recipe
from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import CONREC, POLICY, Variant, policy, variant
from conrec.studies.study import BY_TIME, METRICS, Study, StudyContext

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
        CONREC: variant(dataset, seed),
    }


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Six rows under each seed."""
    return [context.models.cell(name, rung) for seed in seeds for name, rung in rungs(dataset, seed).items()]


ROWS = (BASELINE, ALIGNED, PROGRESSIVE, FUTURE, POLICY, CONREC)
PAPER = (
    (0.0286, 0.0364, 0.0246, 0.0382, 0.2764),
    (0.0294, 0.0382, 0.0262, 0.0410, 0.5088),
    (0.0308, 0.0393, 0.0262, 0.0428, 0.5476),
    (0.0330, 0.0434, 0.0268, 0.0452, 0.6532),
    (0.0330, 0.0441, 0.0297, 0.0496, 0.6950),
)

STUDY = Study(
    name="table2",
    title="Modules added one by one (table 2)",
    measures="Each row adds one module to the row above and is compared with it: translation and warm-up alone; "
    "item-level alignment before the warm-up; progressive GRPO rewarded for the next dislike; the dislikes of the "
    f"following days and their Swing neighbours in the reward; the penalty for what the user will like (`{POLICY}`); "
    "at last, not in the paper, the item features beside the policy (docs/decoding.md).",
    cells=cells,
    datasets=BY_TIME,
    metrics=("FHR@20", "HR@20", "LUF@20", "LIF@20", "CandAcc"),
    headlines=("FHR@20", "CandAcc"),
    against={later: earlier for earlier, later in pairwise(ROWS)},
    own=(CONREC,),
    paper={row: dict(zip(METRICS, values)) for row, values in zip(ROWS, PAPER)},
    source="its table 2",
)
