"""Figure 2b: what positives do when they are simply added to the dislikes, without a progressive schedule."""

from __future__ import annotations

from collections.abc import Sequence

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset, one_context
from conrec.studies.models import POLICY, policy, variant
from conrec.studies.study import BY_TIME, Study, StudyContext
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


STUDY = Study(
    name="fig2b",
    title="Positives added without a schedule (figure 2b)",
    measures="Histories of dislikes only against histories with positives from the first step on: LC-Rec as in the "
    "paper, and CoNRec's policy with warm-up and all three stages of GRPO in one context. `conrec's policy` has the "
    "schedule: a warm-up in all three contexts, then a stage for each, positives in the last.",
    cells=cells,
    datasets=BY_TIME,
    metrics=("HR@20", "FHR@20", "CandAcc"),
    headlines=("HR@20", "CandAcc"),
    against={LCREC_BOTH: LCREC, AT_ONCE: NEGATIVES, POLICY: AT_ONCE},
    own=(NEGATIVES, AT_ONCE, POLICY),
    paper={
        LCREC: {"HR@20": 0.0296, "FHR@20": 0.0385, "CandAcc": 0.2892},
        LCREC_BOTH: {"HR@20": 0.0159, "FHR@20": 0.0381, "CandAcc": 0.1333},
    },
    source="its figure 2b with table 1: 45 % less HR@20 and half the accuracy with positives",
)
