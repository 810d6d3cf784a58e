"""How many days of future should training be shown? The paper takes seven and leaves the choice open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, policy
from conrec.studies.study import BY_TIME, Study, StudyContext

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


STUDY = Study(
    name="horizon",
    title="Training horizon (an open question of the paper)",
    measures="CoNRec's policy trained on the dislikes and positives of the next H days, always measured on the same "
    "test instances and the dislikes of their next seven days; each H is compared with seven.",
    cells=cells,
    datasets=BY_TIME,
    metrics=("FHR@20", "HR@20", "LUF@20", "LIF@20", "CandAcc"),
    against={named(days): POLICY for days in DAYS if days != OWN},
    steps={named(days): float(days) for days in DAYS},
    steps_title="days of future in training (H)",
    notes="Samples whose horizon reaches past the start of validation are left out, so a long horizon trains on fewer.",
)
