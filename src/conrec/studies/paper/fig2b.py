"""Figure 2b: what positives do when they are simply added to the dislikes, without a progressive schedule."""

from collections.abc import Sequence

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset, one_context
from conrec.studies.models import POLICY, policy, variant
from conrec.studies.study import StudyContext, study
from conrec.studies.systems import published

LCREC, LCREC_BOTH = "lc_rec", "lc_rec+positives"
NEGATIVES, AT_ONCE = "conrec, dislikes only", "conrec, positives at once"


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """LC-Rec as in the paper, CoNRec with one context throughout, and CoNRec with its schedule."""
    first = variant(dataset, seeds[0])
    others = [other for other in published(context.quick) if other.name in (LCREC, LCREC_BOTH)]
    found = []
    for seed in seeds:
        here = variant(dataset, seed)
        found += [context.systems.cell(other, here, first) for other in others]
        for name, prompts in ((NEGATIVES, "dislikes"), (AT_ONCE, "full")):
            own = policy(dataset, seed, lambda recipe, prompts=prompts: one_context(recipe, prompts))  # type: ignore[misc]
            found.append(context.models.cell(name, own))
        found.append(context.models.cell(POLICY, policy(dataset, seed)))
    return found


STUDY = study("fig2b", cells)
