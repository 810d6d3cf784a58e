"""Every study through the command line, with real training at toy size; the longest test of the suite."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from conrec.studies.cells import Cell
from conrec.studies.models import CONREC
from conrec.studies.reproduce import STUDIES
from conrec.studies.reproduce import reproduce as run_studies

pytestmark = pytest.mark.slow


def reproduce(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conrec", "reproduce", *options, "--quick", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("studies")
    process = reproduce(out, "all", "--seeds", "0")
    assert process.returncode == 0, process.stderr[-2000:]
    return out, process


def test_every_study_has_table_picture_and_paragraph(
    everything: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, process = everything
    assert process.stdout.strip() == str(out / "results")
    index = (out / "results" / "README.md").read_text()
    for study in STUDIES.values():
        if study.apart:
            assert f"({study.name}.md)" not in index
            continue
        table = list(csv.DictReader((out / "results" / f"{study.name}.csv").open()))
        assert {row["metric"] for row in table} == set(study.metrics)
        assert all(
            0 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 1 for row in table if row["low"]
        )
        compared = {row["system"] for row in table if row["difference"]}
        assert compared, study.name
        ET.parse(out / "results" / f"{study.name}.svg")
        text = (out / "results" / f"{study.name}.md").read_text()
        assert "On simulator" in text
        assert f"({study.name}.md)" in index


def test_table_1_holds_every_system(everything: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = everything
    table = list(csv.DictReader((out / "results" / "table1.csv").open()))
    ten = ("caser", "sasrec", "bert4rec", "fdsa", "s3rec", "p5_cid", "tiger", "lc_rec", "tallrec", "instructrec")
    here = {row["system"] for row in table}
    assert {*ten, *(f"{name}+positives" for name in ten)} <= here
    assert {CONREC, "popularity_7d", "category_rule", "item_knn", "swing_neighbours", "ease"} <= here
    hits = {row["system"]: float(row["mean"]) for row in table if row["metric"] == "FHR@20"}
    assert max(hits, key=hits.__getitem__) == "oracle"
    assert not hits.keys() & {"tallrec", "instructrec"}  # they rank candidates only
    assert all(int(row["instances"]) > 0 for row in table if row["metric"] == "CandAcc")


def test_a_second_call_runs_nothing_and_says_how_long_all_of_it_took(
    everything: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, process = everything
    before = {path: path.read_bytes() for path in (out / "results").iterdir()}
    again = reproduce(out, "all", "--seeds", "0")
    assert again.returncode == 0
    assert "running" not in again.stderr
    assert {path: path.read_bytes() for path in (out / "results").iterdir()} == before
    cells = [json.loads(path.read_text()) for path in (out / "cells" / "simulator").glob("*/seconds.json")]
    work = f"simulator {len(cells)} in {sum(cells) / 3600:.2f} h"
    for stderr in (process.stderr, again.stderr):
        (line,) = (line for line in stderr.splitlines() if " s in all" in line)
        assert work in line


def test_an_added_seed_runs_alone(everything: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = everything
    more = reproduce(out, "table2", "--seeds", "0", "1")
    assert more.returncode == 0, more.stderr[-2000:]
    ran = [line for line in more.stderr.splitlines() if line.startswith("simulator, ") and line.endswith("running")]
    assert len(ran) == 6
    assert all("seed 1" in line for line in ran)
    table = csv.DictReader((out / "results" / "table2.csv").open())
    assert {row["seeds"] for row in table} == {"0 1"}


def test_settings_stand_over_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "over.toml").write_text("[predict]\nprior_days = 77.0\n")
    cells, commands = list[Cell](), list[str]()
    monkeypatch.setattr("conrec.studies.reproduce.run_cells", lambda own, *_: cells.extend(own))
    monkeypatch.setattr("conrec.studies.reproduce.read_seconds", lambda folder: 0.0)
    monkeypatch.setattr("conrec.studies.results.rows", lambda *_: [])
    monkeypatch.setattr("conrec.studies.pages.write", lambda study, table, command, *_: commands.append(command))
    run_studies("features", None, tmp_path, [0], (), True, tmp_path / "over.toml")
    assert {cell.inputs["recipe"]["predict"]["prior_days"] for cell in cells} == {77.0}
    assert f"--with {tmp_path / 'over.toml'}" in commands[0]
