"""The commands of docs/scale.md plan what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from conrec.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").replace("\\\n", " ")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^    (conrec plan .+)$", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[1])
def test_a_plan_of_the_page_is_made(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)  # the recipe and the shape of the model lie in docs
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "prepare" in table
    assert ("Language model:" in table) == ("--policy" in command)
    assert ("does not fit" in table) == ("--flops" in command)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3
