"""What a stage declares, and what its result depends on by that."""

import dataclasses
import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from conrec.config import Recipe
from conrec.errors import extras_named
from conrec.pipeline.job import Job


@dataclass(frozen=True)
class Stage:
    """One step on the way from a log to a result. Its folder holds all that it writes."""

    name: str
    function: Callable[[Job], None]
    reads: tuple[str, ...] = ()
    """Settings that it is given: sections of the recipe (`items`) and single ones (`predict.beams`)."""
    after: tuple[str, ...] = ()
    """Earlier stages whose folders it reads; a stage that names none reads the log."""
    replaces: str = ""
    """An earlier stage whose place it takes: later ones that name that stage get this one's folder."""
    per_seed: bool = False
    together: bool = False
    """It trains: several processes work on it, where there are several. Otherwise the main process is alone."""
    published: tuple[str, ...] = ()
    """Files of its folder that are copied up into the run folder."""
    in_place: bool = False
    """It writes into the run folder itself and is run every time (the report)."""
    does: str = ""
    """What its verb says of it; empty: it has none."""


def imported(function: str, **options: Any) -> Callable[[Job], None]:
    """A function (`module:name`) that is imported when called: this may take seconds, and an extra be missing."""
    module, name = function.split(":")

    def call(job: Job) -> None:
        with extras_named():
            getattr(importlib.import_module(module), name)(job, **options)

    return call


def standing_for(name: str, stages: Sequence[Stage]) -> Stage:
    """The stage of this name, or the last of those that replace it."""
    return [stage for stage in stages if name in (stage.name, stage.replaces)][-1]


def direct(stage: Stage, stages: Sequence[Stage]) -> dict[str, Stage]:
    """The stages whose folders it reads, under the names in `stage.after`."""
    return {name: standing_for(name, stages[: stages.index(stage)]) for name in stage.after}


def without(stages: Sequence[Stage], names: Collection[str]) -> tuple[Stage, ...]:
    """The stages that have none of these names, and read none that has."""
    left = [stage for stage in stages if stage.name not in names]
    return tuple(replace(stage, after=tuple(name for name in stage.after if name not in names)) for stage in left)


def chain(stage: Stage, stages: Sequence[Stage]) -> list[Stage]:
    """The stage and all that it builds on, directly or not, in the order of `stages`."""
    needed = {stage}.union(*(chain(one, stages) for one in direct(stage, stages).values()))
    return [one for one in stages if one in needed]


def inputs_of(stage: Stage, stages: Sequence[Stage], recipe: Recipe, seed: int) -> dict[str, Any]:
    """All that the result depends on, beside the log: equal inputs, equal result.

    These are the settings that the stage and those before it declare, their names, and the seed.
    """
    all_of_them = chain(stage, stages)
    reads = dict.fromkeys(name for one in all_of_them for name in one.reads)
    return {
        "stages": [one.name for one in all_of_them],
        "seed": seed if stage.per_seed else None,
        "recipe": {name: _plain(attrgetter(name)(recipe)) for name in reads},
    }


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
