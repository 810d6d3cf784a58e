"""Table 2: the modules one by one, in the paper's order."""

from dataclasses import replace
from functools import partial

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset, utilizing, with_policy
from conrec.studies.models import POLICY, WITH_POLICY, Variant, policy, variant
from conrec.studies.study import StudyContext

BASELINE, ALIGNED, PROGRESSIVE, FUTURE = "baseline", "+ alignment", "+ progressive GRPO", "+ future dislikes"


def next_only(variant: Variant) -> Variant:
    """Rewarded for the next dislike alone: no days after it, no neighbours, no penalty."""
    return replace(variant, recipe=utilizing(variant.recipe, swing_neighbours=0, gamma=0.0), reward="next")


def rungs(dataset: Dataset, seed: int) -> dict[str, Variant]:
    """Each row adds one module to the one above: without `stages` there is no reinforcement learning, without `gamma`
    no penalty for what the user will like."""
    warmed_up = policy(dataset, seed, partial(utilizing, stages=()))
    return {
        BASELINE: replace(warmed_up, aligned=False),
        ALIGNED: warmed_up,
        PROGRESSIVE: next_only(policy(dataset, seed)),
        FUTURE: policy(dataset, seed, partial(utilizing, gamma=0.0)),
        POLICY: policy(dataset, seed),
        WITH_POLICY: variant(dataset, seed, with_policy),
    }


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """Six rows."""
    return [context.models.cell(name, rung) for name, rung in rungs(own.dataset, own.seed).items()]
