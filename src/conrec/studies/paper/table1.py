"""Table 1: every system on the same instances, CoNRec against the best other."""

from collections.abc import Sequence

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset, with_policy
from conrec.studies.models import CONREC, POLICY, WITH_POLICY, policy, variant
from conrec.studies.study import StudyContext, study
from conrec.studies.systems import further, published, trivial


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """CoNRec, the ten published systems, simpler ones, and the simulator's truth.

    The policy is trained where training lies before what is asked, as in the studies of training.
    """
    first = variant(dataset, seeds[0])
    found = []
    for seed in seeds:
        here = variant(dataset, seed)
        found.append(context.models.cell(CONREC, here))
        if dataset.recipe.split.mode == "time":
            found.append(context.models.cell(POLICY, policy(dataset, seed)))
            found.append(context.models.cell(WITH_POLICY, variant(dataset, seed, with_policy)))
        found += context.models.alone(here)
        for other in [*trivial(), *further(context.quick), *published(context.quick)]:
            found.append(context.systems.cell(other, here, first))
        oracle = context.systems.oracle(here)
        found += [oracle] if oracle else []
    return found


STUDY = study("table1", cells)
