"""All studies, or one: run what is missing, and write the results."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from conrec.errors import ConrecError
from conrec.files import lock, write_whole
from conrec.progress import say
from conrec.run import with_named
from conrec.studies import pages, results
from conrec.studies.cells import Cell, lock_of, read_seconds, run_cells
from conrec.studies.datasets import NAMES, Dataset, dataset
from conrec.studies.models import Models
from conrec.studies.paper import features, fig2a, table1, table3
from conrec.studies.study import Study, StudyContext, read_study
from conrec.studies.systems import Recommenders

MADE = {one.__name__.rpartition(".")[2]: one.cells for one in (fig2a, table1, features, table3)}
IN_ORDER = ("fig2a", "table1", "features", "table2", "fig2b", "table3", "table4", "table5", "language_model")
STUDIES = {name: read_study(name, MADE.get(name)) for name in IN_ORDER}


def reproduce(
    what: str,
    data: Path | None,
    out: Path,
    seeds: Sequence[int] | None,
    names: Sequence[str],
    quick: bool = False,
    settings: Path | None = None,
) -> Path:
    """Bring a study (or `all`) up to date in `out`; returns the folder of the results.

    OUT/cells holds each run's result, OUT/models what runs share, OUT/results the tables, pictures and paragraphs.
    seeds: None for those of each data set. names: the data sets; without any those of each study that `data` allows.
    settings: over those of the recipes (`run.named_recipe`). Raises ConrecError for data that is not there.
    """
    chosen = [one for one in STUDIES.values() if what == one.name or (what == "all" and not one.apart)]
    if not chosen:
        raise ConrecError(f"{what}: no such study; there are {', '.join(STUDIES)}, and all")
    if seeds is not None and (not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0):
        raise ConrecError(f"--seeds {' '.join(map(str, seeds))}: give one or more different numbers, none below 0")
    possible = names or (NAMES[:1] if data is None else NAMES)
    datasets = [dataset(name, data, quick) for name in possible]
    datasets = [replace(one, recipe=with_named(one.recipe, settings)) for one in datasets]
    start = time.monotonic()
    models = Models(out / "models")
    context = StudyContext(models, Recommenders(models), quick)
    those = [[one for one in datasets if names or one.name in study.datasets] for study in chosen]
    planned = [_cells(study, context, own, seeds) for study, own in zip(chosen, those)]
    for number, (study, own, cells) in enumerate(zip(chosen, those, planned)):
        say(f"{study.name}: {study.title}")
        later = [cell for other in planned[number + 1 :] for cell in other]
        found = run_cells(cells, out / "cells", later)
        table = [row for one in own for row in results.rows(study, one.name, found)]
        with lock(lock_of(out / "results"), wait=True):
            command, columns = _command(study, seeds, own, quick, settings), own[0].recipe.simulate.attribute_columns
            pages.write(study, table, command, out / "results", columns)
            _index(out / "results")
    say(f"{time.monotonic() - start:.0f} s in all; {_work(planned, out / 'cells')}")
    return out / "results"


def _cells(study: Study, context: StudyContext, datasets: Sequence[Dataset], seeds: Sequence[int] | None) -> list[Cell]:
    return [cell for one in datasets for cell in study.cells(context, one, one.seeds if seeds is None else seeds)]


def _work(planned: Sequence[Sequence[Cell]], root: Path) -> str:
    """Time of all cells together, those of earlier calls too: what the same takes from the beginning."""
    times: dict[str, dict[Path, float]] = {}
    for cell in chain.from_iterable(planned):
        folder = cell.folder(root)
        times.setdefault(cell.dataset, {})[folder] = read_seconds(folder)
    parts = [f"{name} {len(own)} in {sum(own.values()) / 3600:.2f} h" for name, own in times.items()]
    return f"cells, one after the other: {', '.join(parts)}"


def _command(
    study: Study, seeds: Sequence[int] | None, datasets: Sequence[Dataset], quick: bool, settings: Path | None
) -> str:
    names = [one.name for one in datasets]
    files = " --data DATA" if names != [NAMES[0]] else ""
    own = "" if seeds is None else f" --seeds {' '.join(map(str, seeds))}"
    own += "" if settings is None else f" --with {settings}"
    return f"conrec reproduce {study.name}{files}{own} --datasets {' '.join(names)}" + (" --quick" if quick else "")


def _index(folder: Path) -> None:
    there = [one for one in STUDIES.values() if (folder / f"{one.name}.md").exists()]
    lines = [f"- [{one.title}]({one.name}.md): {one.measures}" for one in there]
    write_whole(folder / "README.md", "\n".join(["# The paper's measurements, repeated", "", *lines]) + "\n")
