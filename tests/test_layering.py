"""Imports only point along the data's way, and what is heavy is imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "conrec"

EVERYWHERE = ("compiled", "errors", "config", "files", "parallel", "processes", "progress", "toml")
"""What anything may import (and what imports nothing but itself)."""
WAY = (
    "data",
    "simulate",
    "fetch",
    "items",
    "sid",
    "features",
    "lm",
    "score",
    "decode",
    "train",
    "evaluate",
    "filter",
    "baselines",
    "report",
    "pipeline",
    "stages",
    "run",
    "deploy",
    "model",
    "studies",
    "plan",
    "serve",
    "cli",
    "__main__",
)
"""The data's way: each may import itself and what stands before it."""

HEAVY = ("torch", "transformers", "numpy", "numba", "pyarrow", "pandas", "sklearn", "altair", "ray")


def part(module: str) -> str | None:
    """`conrec.items.swing` -> `items`; None for the package itself and for other packages."""
    names = module.split(".")
    return names[1] if names[0] == "conrec" and len(names) > 1 else None


def imported(tree: ast.AST, package: list[str]) -> set[str]:
    """The parts of conrec that a file imports, wherever in it; `package` is where the file lies."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from ..items import swing` in conrec/sid/x.py means conrec.items
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join(base + ([node.module] if node.module else []))
            modules |= {f"{name}.{alias.name}" for alias in node.names}
    parts = {part(module) for module in modules} - {None, "__version__"}
    return {name for name in parts if name is not None}


def forbidden(own: str, targets: set[str]) -> set[str]:
    """Those of the imported parts that `own` must not import."""
    if own in EVERYWHERE:
        return targets - set(EVERYWHERE)
    return {name for name in targets if name not in EVERYWHERE and WAY.index(name) > WAY.index(own)}


FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_point_along_the_way(path: Path) -> None:
    place = ["conrec", *path.relative_to(SOURCE).with_suffix("").parts]
    own = place[1]
    assert own in WAY or own in EVERYWHERE, f"{own}: new here; give it its place in WAY"
    wrong = forbidden(own, imported(ast.parse(path.read_text(encoding="utf-8")), place[:-1]))
    assert not wrong, f"{path.relative_to(SOURCE)} imports {', '.join(sorted(wrong))}, which stands after {own}"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("from conrec.lm.model import x", {"lm"}),
        ("def f():\n    import conrec.run", {"run"}),
        ("from ..train import grpo", {"train"}),
        ("from conrec import stages", {"stages"}),
        ("from . import kmeans\nfrom .catalog import x\nfrom ..items import swing", set()),
        ("import torch\nfrom conrec import __version__, errors\nfrom conrec.data import instances", set()),
    ],
)
def test_the_rule_itself(code: str, wrong: set[str]) -> None:
    assert forbidden("sid", imported(ast.parse(code), ["conrec", "sid"])) == wrong


def test_what_everything_imports_imports_nothing_of_the_way() -> None:
    assert forbidden("config", {"errors", "data"}) == {"data"}


@pytest.mark.parametrize("module", ["conrec", "conrec.__main__", "conrec.run", "conrec.config"])
def test_the_command_line_starts_without_anything_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["conrec.filter.filter", "conrec.serve.app"])
def test_serving_knows_nothing_of_training(module: str) -> None:
    training = ("torch", "transformers", "peft", "accelerate", "sklearn", "pandas")
    code = f"import sys, {module}; print(*sorted(set({training!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_nothing_reports_home_unless_the_user_wants_it() -> None:
    code = "import os, conrec; print(os.environ['DO_NOT_TRACK'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0"]
