"""Table 4: five ways to reward an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from conrec.config import Recipe
from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import POLICY, policy
from conrec.studies.paper.table2 import FUTURE
from conrec.studies.study import Study, StudyContext

HIGH = 0.6
"""Cosines below this are cut to zero in the schemes with truncation."""


def _scheme(**changes: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, utilize=replace(recipe.utilize, **changes))


B, D, E = "b: only high similarity", "d: c, both truncated", "e: codes hit"
SCHEMES: dict[str, Callable[[Recipe], Recipe]] = {
    FUTURE: _scheme(gamma=0.0),
    B: _scheme(gamma=0.0, reward_from=HIGH),
    POLICY: _scheme(),
    D: _scheme(reward_from=HIGH),
    E: _scheme(reward="codes"),
}
"""Scheme a is a row of table 2, scheme c is the policy as it is: they keep those names, so that they are run once."""


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """Five schemes behind the same warm-up."""
    return [
        context.models.cell(name, policy(dataset, seed, change)) for seed in seeds for name, change in SCHEMES.items()
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
    metrics=("FHR@20", "LUF@20", "LIF@20"),
    headlines=("FHR@20", "LUF@20"),
    against={name: POLICY for name in SCHEMES if name != POLICY},
    own=(POLICY,),
    paper={name: dict(zip(("FHR@20", "LUF@20", "LIF@20"), values)) for name, values in PAPER.items()},
    source="its table 4",
    notes="Schemes a to d keep the recipe's bonus for exact hits and its guided answers; e has neither.",
)
