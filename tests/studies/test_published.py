"""Where a data set's cells are published, every figure of it in `docs/results` is theirs (docs/studies.md)."""

from __future__ import annotations

import csv
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from conrec.config import load_recipe
from conrec.run import find_recipe
from conrec.studies.cells import Cell, CellResult, Measured, read_cell
from conrec.studies.datasets import LOGS, Dataset, dataset
from conrec.studies.models import Models
from conrec.studies.reproduce import STUDIES
from conrec.studies.results import as_csv, rows
from conrec.studies.study import Study, StudyContext
from conrec.studies.systems import Recommenders

RESULTS = Path(__file__).parents[2] / "docs" / "results"
ARCHIVES = sorted((RESULTS / "cells").glob("*.tar.xz"))


def data_set(name: str) -> Dataset:
    if name == "simulator":
        return dataset(name, None, quick=True)
    return Dataset(name, load_recipe(find_recipe(Path(name))))


def published(study: Study, name: str) -> list[dict[str, str]]:
    with (RESULTS / f"{study.name}.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["dataset"] == name]


def kept(root: Path, study: Study, name: str, table: list[dict[str, str]]) -> list[CellResult]:
    """The cells of a table, in its order: that of the metric which most systems have, for rows go by metric."""

    def run() -> Measured:
        raise NotImplementedError("it is read, not run")

    of = data_set(name)
    ((most, _),) = Counter(row["metric"] for row in table).most_common(1)
    table = sorted(table, key=lambda row: row["metric"] != most)
    found = []
    for system, seed in dict.fromkeys((row["system"], int(seed)) for row in table for seed in row["seeds"].split()):
        (folder,) = (root / name).glob(f"{system}-seed{seed}-*")
        # The questions of table 3 are other ones under every seed.
        fold = seed if study.name == "table3" else of.fold(seed)
        found.append(read_cell(folder, Cell(name, system, seed, {}, run, fold)))
    return found


def told(row: dict[str, str]) -> dict[str, str]:
    """A row whose zeros are zeros: what is left of a difference of equals (1e-18) is another on every processor."""
    return {name: "0" if re.fullmatch(r"-?[\d.]+e-1[5-9]", value) else value for name, value in row.items()}


@pytest.mark.slow
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_published_figures_are_those_of_the_published_cells(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    name = archive.name.removesuffix(".tar.xz")
    compared = 0
    for study in STUDIES.values():
        if (RESULTS / f"{study.name}.csv").exists() and (table := published(study, name)):
            again = as_csv(rows(study, name, kept(tmp_path / "cells", study, name, table)))
            found = list(csv.DictReader(again.splitlines()))
            assert list(map(told, found)) == list(map(told, table)), study.name
            compared += 1
    assert compared


def test_no_system_and_no_part_of_conrec_is_significantly_ahead_on_any_published_log() -> None:
    """The invariant of table 1 (`Study.parts`), the oracle aside; on every log each part has a row of its own."""
    study = STUDIES["table1"]
    table = [row for name in study.datasets for row in published(study, name)]
    there = {(row["dataset"], row["system"]) for row in table}
    names = {name for name, _ in there}
    assert names == {archive.name.removesuffix(".tar.xz") for archive in ARCHIVES}
    assert {(name, f"conrec's {part}") for name in names for part in ("prior", "propensity")} <= there
    better = [row for row in table if row["against"] == study.best_other and row["verdict"] == "better"]
    assert [(row["dataset"], row["system"], row["metric"]) for row in better] == []


def test_conrec_with_more_is_no_rival_of_itself() -> None:
    assert not STUDIES["table1"].rival("conrec with the policy")
    assert STUDIES["table1"].rival("ease")


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="MovieTweetings and Polis are not measured to the end")
def test_table_1_is_published_of_every_log_that_it_is_of() -> None:
    study = STUDIES["table1"]
    assert [name for name in study.datasets if not published(study, name)] == []


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_who_unpacks_an_archive_need_not_run_its_cells_again(
    archive: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = archive.name.removesuffix(".tar.xz")
    data = request.getfixturevalue("shared_data") if name in LOGS else None
    context = StudyContext(Models(tmp_path), Recommenders(Models(tmp_path)), quick=False)
    of = dataset(name, data, quick=False)
    asked = {cell.folder(tmp_path).name for study in STUDIES.values() for cell in study.cells(context, of, of.seeds)}
    with tarfile.open(archive) as tar:
        there = {path.split("/")[2] for path in tar.getnames() if path.startswith(f"cells/{name}/")}
    assert there
    assert there <= asked
