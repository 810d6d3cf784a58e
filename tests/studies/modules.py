"""The study whose cells a module of `studies.paper` makes."""

from __future__ import annotations

from types import ModuleType

from conrec.studies.reproduce import STUDIES
from conrec.studies.study import Study


def study_of(module: ModuleType) -> Study:
    return STUDIES[module.__name__.rpartition(".")[2]]
