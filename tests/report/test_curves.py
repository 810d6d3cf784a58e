"""Curves: seeds pooled, stages one after the other, unreadable files named."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.report.curves import GRPO, panels, read_curves
from tests.evaluate.run_folder import write_curves


def test_seeds_are_pooled_and_missing_files_left_out(tmp_path: Path):
    write_curves(tmp_path / "a", [(1, "train", "reward", 2.0), (0, "train", "reward", 1.0)])
    write_curves(tmp_path / "b", [(0, "train", "reward", 3.0), (0, "validation", "kl", float("nan"))])
    curves = read_curves([tmp_path / "a", tmp_path / "gone", tmp_path / "b"])
    assert list(curves) == [("reward", "train")]
    assert curves["reward", "train"][0].tolist() == [0, 0, 1]
    assert sorted(curves["reward", "train"][1].tolist()) == [1.0, 2.0, 3.0]
    assert read_curves([tmp_path / "gone"]) == {}


def test_panels_say_first_and_last_of_each_stage(tmp_path: Path):
    rows = [(s, split, "reward", s + k) for s in range(5) for k, split in enumerate(("train", "validation"))]
    write_curves(tmp_path / "one", rows)
    write_curves(tmp_path / "two", [(s, "train", "reward", 10.0 - s) for s in range(9)])
    stages = {"stage 1": read_curves([tmp_path / "one"]), "stage 2": read_curves([tmp_path / "two"])}
    (panel,) = panels(stages, GRPO)
    assert panel["rows"] == [
        ("stage 1", "train", 0, 4),
        ("stage 2", "train", 10, 2),
        ("stage 1", "validation", 1, 5),
    ]
    assert "stage 2, train: from 10 to 2" in panel["svg"]
    assert {"1", "2"} <= {text.text for text in ET.fromstring(panel["svg"]).iter("{http://www.w3.org/2000/svg}text")}
    assert "from 10 to 2" in panel["svg"]  # what a screen reader is told


def test_a_stage_without_curves_takes_no_place(tmp_path: Path):
    write_curves(tmp_path / "one", [(s, "train", "reward", float(s)) for s in range(5)])
    curves = read_curves([tmp_path / "one"])
    alone, beside = panels({"stage 1": curves}, GRPO), panels({"stage 1": curves, "stage 2": {}}, GRPO)
    assert alone == beside
    assert panels({"stage 1": {}}, GRPO) == []


def test_long_curves_become_short(tmp_path: Path):
    noise = np.random.default_rng(0).normal(size=20_000)
    write_curves(tmp_path / "long", [(s, "train", "reward", float(v)) for s, v in enumerate(noise)])
    (panel,) = panels({"stage 1": read_curves([tmp_path / "long"])}, GRPO)
    assert len(panel["svg"]) < 20_000


def test_a_file_that_is_no_table_is_named(tmp_path: Path):
    (tmp_path / "bad.parquet").write_text("nothing")
    with pytest.raises(ConrecError, match=r"bad\.parquet: not readable") as error:
        read_curves([tmp_path / "bad.parquet"])
    assert "\n" not in str(error.value)
