"""Figure 2b: what positives do when they are simply added to the dislikes, without a progressive schedule."""

from functools import partial

from conrec.studies.cells import Cell
from conrec.studies.datasets import one_context
from conrec.studies.models import POLICY, Variant, policy
from conrec.studies.study import StudyContext
from conrec.studies.systems import published

LCREC, LCREC_BOTH = "lc_rec", "lc_rec+positives"
NEGATIVES, AT_ONCE = "conrec, dislikes only", "conrec, positives at once"


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """LC-Rec as in the paper, CoNRec with one context throughout, and CoNRec with its schedule."""
    others = [other for other in published(context.quick) if other.name in (LCREC, LCREC_BOTH)]
    found = [context.systems.cell(other, own, first) for other in others]
    for name, prompts in ((NEGATIVES, "dislikes"), (AT_ONCE, "full")):
        changed = policy(own.dataset, own.seed, partial(one_context, context=prompts))
        found.append(context.models.cell(name, changed))
    return [*found, context.models.cell(POLICY, policy(own.dataset, own.seed))]
