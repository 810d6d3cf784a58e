"""Table 4: five ways to reward an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, Variant, policy
from conrec.studies.paper.table2 import FUTURE
from conrec.studies.rewards import HIGH
from conrec.studies.study import BY_TIME, Study, StudyContext


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


PAPER = {
    FUTURE: (0.0434, 0.0268, 0.0452),
    B: (0.0421, 0.0268, 0.0450),
    POLICY: (0.0441, 0.0297, 0.0496),
    D: (0.0438, 0.0297, 0.0496),
    E: (0.0397, 0.0264, 0.0432),
}

STUDY = Study(
    name="table4",
    title="Reward schemes (table 4)",
    measures=f"The reward of GRPO, everything else equal, each compared with scheme c, which is CoNRec's: a "
    f"(`{FUTURE}`) similarity to future dislikes; b only where it is at least {HIGH}; c less the similarity to future "
    "positives; d both only where high; e 1 for a whole semantic ID hit, 0.1 and 0.01 for its first two codes and its "
    "first.",
    cells=cells,
    datasets=BY_TIME,
    metrics=("FHR@20", "LUF@20", "LIF@20"),
    headlines=("FHR@20", "LUF@20"),
    against={name: POLICY for name in SCHEMES if name != POLICY},
    own=(POLICY,),
    paper={name: dict(zip(("FHR@20", "LUF@20", "LIF@20"), values)) for name, values in PAPER.items()},
    source="its table 4",
    notes="All schemes keep the recipe's demonstrations, and a to d its bonus for exact hits.",
)
