"""What each item feature gives: the lists and candidates without it, its weights learned anew."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from conrec.config import Feature, Recipe
from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import CONREC, variant
from conrec.studies.study import StudyContext, study

NAMES = (*get_args(Feature), "prior")


def without(name: str, recipe: Recipe) -> Recipe:
    """The recipe without one item feature."""
    config = recipe.predict
    if name == "prior":
        config = replace(config, prior=False)
    else:
        config = replace(config, features=tuple(one for one in config.features if one != name))
    return replace(recipe, predict=config)


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """All features, and each of the recipe's left out."""
    found = []
    for seed in seeds:
        found.append(context.models.cell(CONREC, variant(dataset, seed)))
        for name in NAMES:
            if name in (*dataset.recipe.predict.features, "prior"):
                changed = variant(dataset, seed, lambda recipe, name=name: without(name, recipe))  # type: ignore[misc]
                found.append(context.models.cell(f"without {name}", changed))
    return found


STUDY = replace(study("features", cells), against={f"without {name}": CONREC for name in NAMES})
