"""Table 1: every system on the same instances, CoNRec against the best other."""

from conrec.stages.predict import ALONE
from conrec.studies.cells import Cell
from conrec.studies.datasets import with_policy
from conrec.studies.models import CONREC, POLICY, WITH_POLICY, Variant, policy, variant
from conrec.studies.study import StudyContext
from conrec.studies.systems import further, published, trivial


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """CoNRec, the ten published systems, simpler ones, and the simulator's truth.

    The policy is trained where training lies before what is asked, as in the studies of training.
    """
    ours = {CONREC: own}
    if own.recipe.split.mode == "time":
        ours[POLICY] = policy(own.dataset, own.seed)
        ours[WITH_POLICY] = variant(own.dataset, own.seed, with_policy)
    found = [context.models.cell(name, one) for name, one in ours.items()]
    found += context.models.of_features(own, ALONE, f"{CONREC}'s")
    for other in [*trivial(), *further(context.quick), *published(context.quick)]:
        found.append(context.systems.cell(other, own, first))
    oracle = context.systems.oracle(own)
    return [*found, oracle] if oracle else found
