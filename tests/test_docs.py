"""What the documents name exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from conrec.cli.main import VERBS

ROOT = Path(__file__).parents[1]
PAPER_MAP = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
ENGINE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/paper_map.md", "docs/engine.md")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAPER_MAP))))
def test_the_paper_map_names_files_that_exist(path: str) -> None:
    root = ROOT / "tests" if Path(path).name.startswith("test_") else ROOT / "src" / "conrec"
    assert (root / path).exists()


def test_the_engine_page_names_tests_that_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"\btest_trap_\w+", ENGINE))
    assert len(named) >= 9
    assert named == set(re.findall(r"def (test_trap_\w+)", tests))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / document).parent / target).exists(), target


def test_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^    (\S*(?:conrec|make) .+)$", text, re.MULTILINE)]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert commands
    for program, verb, *_ in commands:
        assert f"\n{verb}:" in makefile if program == "make" else verb in VERBS
