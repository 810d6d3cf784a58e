"""Table 5: the same method on backbones of different size, beside LC-Rec on each."""

from dataclasses import replace
from functools import partial

from conrec.config import Recipe
from conrec.studies.cells import Cell
from conrec.studies.models import POLICY, Variant, policy
from conrec.studies.study import StudyContext
from conrec.studies.systems import published

LCREC = "lc_rec"
SIZES = {"small": 0.5, "": 1.0, "large": 1.5}
"""Name -> times the recipe's width; the recipe's own keeps the systems' plain names."""


def named(system: str, size: str) -> str:
    """`lc_rec`, `lc_rec small`."""
    return f"{system} {size}".strip()


def sized(size: str, recipe: Recipe) -> Recipe:
    """The recipe with another backbone."""
    lm, factor = recipe.lm, SIZES[size]
    return replace(recipe, lm=replace(lm, hidden=round(lm.hidden * factor), ffn=round(lm.ffn * factor)))


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """Both systems in three sizes; LC-Rec's settings are those chosen at the recipe's size."""
    (lcrec,) = (other for other in published(context.quick) if other.name == LCREC)
    found = []
    for size in SIZES:
        changed = policy(own.dataset, own.seed, partial(sized, size))
        found.append(context.models.cell(named(POLICY, size), changed))
        found.append(replace(context.systems.cell(lcrec, changed, first), system=named(LCREC, size)))
    return found
