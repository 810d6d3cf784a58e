"""Result files: read as they were written, refused where they are something else, and documented."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from conrec.errors import ConrecError
from conrec.evaluate import results
from conrec.evaluate.results import Difference, Metrics, StageManifest, read, write
from tests.evaluate.run_folder import figure, metrics, write_run

DOCUMENT = (Path(__file__).parents[2] / "docs" / "results_format.md").read_text(encoding="utf-8")
SAME_KEYS = {"SplitMetrics"}
"""Types that the page describes by another type's table."""


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "metrics.json", metrics())
    assert read(tmp_path / "metrics.json", Metrics) == metrics()
    run = write_run(tmp_path / "run")
    assert read(run / "compress" / "manifest.json", StageManifest).seconds == 21.9


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    broken = replace(metrics(), systems={"conrec": {"FHR@20": figure(math.nan)}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "metrics.json", broken)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "\xff"])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConrecError, match=r"metrics\.json: not readable .* run its stage again"):
        read(path, Metrics)


def test_a_file_that_is_not_there_is_the_callers_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "metrics.json", Metrics)


def test_between_filters_no_instances_are_written() -> None:
    assert "instances" not in msgspec.to_builtins(Difference(0.1, (0.0, 0.2), "better"))
    assert msgspec.to_builtins(Difference(0.1, (0.0, 0.2), "better", 3))["instances"] == 3


def test_every_key_of_every_type_is_documented() -> None:
    types = {
        name: set(kind.__struct_fields__)
        for name, kind in inspect.getmembers(results, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__module__ == results.__name__
    }
    documented = {
        section.split("\n", 1)[0].strip(): set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        for section in re.split(r"^### ", DOCUMENT, flags=re.MULTILINE)[1:]
    }
    assert documented == {name: keys for name, keys in types.items() if name not in SAME_KEYS}
