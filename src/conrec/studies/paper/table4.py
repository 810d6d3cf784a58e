"""Table 4: five ways to reward an answer."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from conrec.studies.cells import Cell
from conrec.studies.datasets import utilizing
from conrec.studies.models import POLICY, Variant, policy
from conrec.studies.paper.table2 import FUTURE
from conrec.studies.study import StudyContext


def _scheme(own: Variant, reward: str = "future", **changes: float) -> Variant:
    return replace(own, recipe=utilizing(own.recipe, **changes), reward=reward)


B, D, E = "b: only high similarity", "d: c, both truncated", "e: codes hit"
SCHEMES: dict[str, Callable[[Variant], Variant]] = {
    FUTURE: partial(_scheme, gamma=0.0),
    B: partial(_scheme, reward="truncated", gamma=0.0),
    POLICY: _scheme,
    D: partial(_scheme, reward="truncated"),
    E: partial(_scheme, reward="codes"),
}
"""Scheme a is a row of table 2, scheme c is the policy as it is: they keep those names, so that they are run once."""


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """Five schemes behind the same warm-up."""
    ours = policy(own.dataset, own.seed)
    return [context.models.cell(name, change(ours)) for name, change in SCHEMES.items()]
