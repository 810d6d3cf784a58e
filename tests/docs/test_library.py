"""docs/library.md cannot rot: what it shows is run, and its answers are compared."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


FIVE_LINES, REST = TEXT.split("\n## A snapshot\n")


def test_every_example_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", REST, re.DOTALL)
    assert len(blocks) >= 7
    assert examples(blocks) > 30


@pytest.mark.slow
def test_the_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert examples(re.findall(r"```python\n(.*?)```", FIVE_LINES, re.DOTALL)) >= 14


def examples(blocks: list[str]) -> int:
    """How many examples were run; all of them say what the page says."""
    found = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "docs/library.md", "docs/library.md", 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(found, out=said.append)
    assert result.failed == 0, "".join(said)
    return result.attempted
