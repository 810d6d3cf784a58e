"""The notebook does what its outputs say, and is one that opens quickly."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first_steps.ipynb"
NUMBER = re.compile(r"-?\d*\.?\d+")
VERSION = re.compile(r"\d{8}T\d{6}Z-\d+")
"""Of a snapshot: when it was published."""


def value_of(code: str, names: dict[str, Any]) -> Any:
    """What a cell ends in, after it was executed."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_every_cell_ends_in_what_the_notebook_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    assert NOTEBOOK.stat().st_size < 300_000
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    names: dict[str, Any] = {}
    drawn = 0
    for cell in cells:
        value = value_of("".join(cell["source"]), names)
        shown = [output for output in cell["outputs"] if output["output_type"] != "stream"]
        assert [output["output_type"] for output in shown] == ["execute_result"] * (value is not None)
        if value is None:
            continue
        with pandas.option_context("display.max_columns", 20, "display.width", 80):  # as in a notebook
            texts = repr(value), "".join(shown[0]["data"]["text/plain"])
        told, kept = (" ".join(VERSION.sub("", text).split()) for text in texts)
        if "text/html" in shown[0]["data"]:
            page = value._repr_html_()
            drawn += page.count("<svg")
            assert page.count("<tr") == "".join(shown[0]["data"]["text/html"]).count("<tr")
        # Another machine may round otherwise.
        assert NUMBER.sub("#", told).replace("'", '"') == NUMBER.sub("#", kept).replace("'", '"')
        assert [float(n) for n in NUMBER.findall(told)] == pytest.approx(
            [float(n) for n in NUMBER.findall(kept)], rel=0.1, abs=0.05
        )
    assert drawn >= 1
    names["folder"].cleanup()
