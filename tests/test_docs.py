"""What the documents name exists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from conrec.cli.main import VERBS
from conrec.config import GrpoStage, Recipe
from tests.test_layering import WAY

ROOT = Path(__file__).parents[1]
PAPER_MAP = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
ENGINE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = ("docs", "examples", "examples/feed_generator", "examples/ranker_redis")
PAGES = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.md"))]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *PAGES)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAPER_MAP))))
def test_the_paper_map_names_files_that_exist(path: str) -> None:
    root = ROOT / "tests" if Path(path).name.startswith("test_") else ROOT / "src" / "conrec"
    assert (root / path).exists()


def test_the_engine_page_names_tests_that_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"\btest_trap_\w+", ENGINE))
    assert len(named) >= 9
    assert named == set(re.findall(r"def (test_trap_\w+)", tests))


def is_defined(dotted: str) -> bool:
    """Whether `folder.module.Class.method` is the name of something in the source, which is read, not imported."""
    place, names = ROOT / "src" / "conrec", dotted.split(".")
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    file = place / "__init__.py"
    if names and (place / f"{names[0]}.py").exists():
        file = place / f"{names.pop(0)}.py"
    if not file.exists():
        return False
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    for name in names:
        found = [node for node in body if name in names_of(node)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []


@pytest.mark.parametrize("dotted", sorted(set(re.findall(r"`(\w+(?:\.\w+)+)`", ARCHITECTURE + GLOSSARY))))
def test_architecture_and_glossary_name_what_exists(dotted: str) -> None:
    assert is_defined(dotted)


@pytest.mark.parametrize(("table", "setting"), re.findall(r"`\[+([\w.]+)\]+ (\w+)`", GLOSSARY))
def test_the_glossary_names_settings_that_exist(table: str, setting: str) -> None:
    config = GrpoStage() if table == "utilize.stages" else getattr(Recipe(), table)
    assert hasattr(config, setting)


@pytest.mark.parametrize(
    ("dotted", "there"),
    [
        ("data", True),
        ("data.clean.clean", True),
        ("filter.filter.CoNRecFilter.load", True),
        ("features.item_features.ItemFeature", True),
        ("data.clean.dirty", False),
        ("filter.filter.CoNRecFilter.explode", False),
        ("nowhere.clean", False),
    ],
)
def test_what_counts_as_existing(dotted: str, there: bool) -> None:
    assert is_defined(dotted) == there


def test_the_architecture_page_lists_all_parts_in_the_order_of_imports() -> None:
    assert re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE) == [name for name in WAY if name != "__main__"]
    drawn = re.findall(r"^    (\w+) --> (\w+)$", ARCHITECTURE, re.MULTILINE)
    assert drawn
    assert all(WAY.index(later) > WAY.index(earlier) for later, earlier in drawn)


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\((\w+\.md)\)", index))


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
