"""How many days of future should training be shown? The paper takes seven and leaves the choice open."""

from collections.abc import Sequence
from dataclasses import replace

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, policy
from conrec.studies.study import StudyContext, study

DAYS = (1, 3, 7, 14, 30)
OWN = 7


def named(days: int) -> str:
    """The recipe's own keeps its name."""
    return POLICY if days == OWN else f"H = {days}"


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """The policy trained for each horizon."""
    days = [days for days in DAYS if not context.quick or days in (3, OWN)]
    return [
        context.models.cell(named(own), replace(policy(dataset, seed), horizon=None if own == OWN else own))
        for seed in seeds
        for own in days
    ]


STUDY = study("horizon", cells)
