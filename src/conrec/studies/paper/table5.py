"""Table 5: the same method on backbones of different size, beside LC-Rec on each."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from conrec.config import Recipe
from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, policy, variant
from conrec.studies.study import StudyContext, study
from conrec.studies.systems import published

LCREC = "lc_rec"
SIZES = {"small": 0.5, "": 1.0, "large": 1.5}
"""Name -> times the recipe's width; the recipe's own keeps the systems' plain names."""


def named(system: str, size: str) -> str:
    """`lc_rec`, `lc_rec small`."""
    return f"{system} {size}".strip()


def sized(size: str) -> Callable[[Recipe], Recipe]:
    """The recipe with another backbone."""
    factor = SIZES[size]

    def change(recipe: Recipe) -> Recipe:
        lm = recipe.lm
        return replace(recipe, lm=replace(lm, hidden=round(lm.hidden * factor), ffn=round(lm.ffn * factor)))

    return change


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Both systems in three sizes; LC-Rec's settings are those chosen at the recipe's size."""
    (lcrec,) = (other for other in published(context.quick) if other.name == LCREC)
    first = variant(dataset, seeds[0])
    found = []
    for seed in seeds:
        for size in SIZES:
            own = policy(dataset, seed, sized(size))
            found.append(context.models.cell(named(POLICY, size), own))
            cell = context.systems.cell(lcrec, own, first)
            found.append(replace(cell, system=named(LCREC, size)))
    return found


STUDY = study("table5", cells)
