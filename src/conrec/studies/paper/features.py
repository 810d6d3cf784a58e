"""What each item feature gives: the lists and candidates without it, its weights learned anew."""

from dataclasses import replace
from functools import partial
from typing import get_args

from conrec.config import Feature, Recipe
from conrec.studies.cells import Cell
from conrec.studies.models import CONREC, Variant, variant
from conrec.studies.study import StudyContext

NAMES = (*get_args(Feature), "prior")


def without(name: str, recipe: Recipe) -> Recipe:
    """The recipe without one item feature."""
    config = recipe.predict
    if name == "prior":
        return replace(recipe, predict=replace(config, prior=False))
    return replace(recipe, predict=replace(config, features=tuple(one for one in config.features if one != name)))


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """All features, and each of the recipe's left out."""
    left_out = [name for name in NAMES if name in (*own.recipe.predict.features, "prior")]
    changed = {f"without {name}": variant(own.dataset, own.seed, partial(without, name)) for name in left_out}
    return [context.models.cell(name, one) for name, one in {CONREC: own, **changed}.items()]
