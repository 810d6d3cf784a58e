"""docs/library.md cannot rot: what it shows is run, and its answers are compared."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


def test_every_example_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 7
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "docs/library.md", "docs/library.md", 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples, out=said.append)
    assert result.attempted > 30
    assert result.failed == 0, "".join(said)
