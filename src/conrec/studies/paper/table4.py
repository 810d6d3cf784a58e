"""Table 4: five ways to reward an answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, Variant, policy
from conrec.studies.paper.table2 import FUTURE
from conrec.studies.study import StudyContext, study


def _scheme(reward: str = "future", **changes: float) -> Callable[[Variant], Variant]:
    def change(own: Variant) -> Variant:
        recipe = replace(own.recipe, utilize=replace(own.recipe.utilize, **changes))  # type: ignore[arg-type]
        return replace(own, recipe=recipe, reward=reward)

    return change


B, D, E = "b: only high similarity", "d: c, both truncated", "e: codes hit"
SCHEMES: dict[str, Callable[[Variant], Variant]] = {
    FUTURE: _scheme(gamma=0.0),
    B: _scheme("truncated", gamma=0.0),
    POLICY: _scheme(),
    D: _scheme("truncated"),
    E: _scheme("codes"),
}
"""Scheme a is a row of table 2, scheme c is the policy as it is: they keep those names, so that they are run once."""


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Five schemes behind the same warm-up."""
    return [
        context.models.cell(name, change(policy(dataset, seed))) for seed in seeds for name, change in SCHEMES.items()
    ]


STUDY = study("table4", cells)
