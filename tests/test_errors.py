"""What `pip install conrec` leaves out is named in one line, whatever asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conrec.errors import EXTRAS, ConrecError, extras_named, need

ROOT = Path(__file__).parents[1]
NOT_THERE = """
import sys
from conrec.errors import EXTRAS
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name.split(".")[0] in EXTRAS[extra] for extra in ABSENT):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
"""Begins a program for which no module of the extras `ABSENT` is there."""


def without_extras(code: str, *words: str, cwd: Path | None = None, but: str = "") -> subprocess.CompletedProcess[str]:
    """The code as a program of its own, without the modules of any extra (`but` this one)."""
    begin = f"ABSENT = {[extra for extra in EXTRAS if extra != but]}{NOT_THERE}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", begin + code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment)


def test_a_module_of_no_extra_is_a_mistake_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"), extras_named():
        import nowhere  # type: ignore[import-not-found]  # noqa: F401


def test_a_part_of_a_module_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConrecError, match=r"^this needs faiss; pip install 'conrec\[train\]'$"), extras_named():
        import faiss.contrib  # noqa: F401
    with pytest.raises(ConrecError, match=r"^this needs faiss"):
        need("images", "train")
    need("images")


def test_every_file_is_imported_or_says_what_it_lacks() -> None:
    code = """
import importlib, pathlib
source = pathlib.Path(sys.argv[1])
for path in sorted(source.rglob("*.py")):
    name = ".".join(path.relative_to(source.parent).with_suffix("").parts).removesuffix(".__init__")
    if path.name != "__main__.py":
        try:
            importlib.import_module(name)
        except Exception as error:
            print(name, type(error).__name__, getattr(error, "name", ""))
"""
    done = without_extras(code, str(ROOT / "src" / "conrec"))
    assert done.returncode == 0, done.stderr
    lacking = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    known = {module for modules in EXTRAS.values() for module in modules}
    for name, (kind, *missing) in lacking.items():
        assert kind == "ConrecError" or missing[0].split(".")[0] in known, name
        if name.split(".")[1] in ("lm", "decode", "train", "serve"):
            assert kind == "ConrecError", name
    for part in ("data", "items", "evaluate", "filter", "deploy", "model", "report", "cli"):
        of_part = {name for name in lacking if name.startswith(f"conrec.{part}.")}
        assert of_part <= {"conrec.deploy.export", "conrec.deploy.predictor"}, part


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("run", "demo", "--out", "run"), "train"),
        (("demo",), "train"),
        (("reproduce", "table1", "--quick", "--out", "studies"), "train"),
        (("serve", "."), "serve"),
        (("check", "events.sql"), "sql"),
    ],
)
def test_a_verb_that_needs_an_extra_is_one_line(words: tuple[str, ...], extra: str, tmp_path: Path) -> None:
    (tmp_path / "events.sql").write_text("SELECT 1")
    done = without_extras("from conrec.cli.main import main; sys.exit(main(sys.argv[1:]))", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    *progress, line = done.stderr.splitlines()
    assert line.startswith("conrec: ")
    assert f"pip install 'conrec[{extra}]'" in line
    assert "Traceback" not in done.stderr
    if extra == "train":
        assert progress == []  # before anything is read
        assert line == "conrec: this needs torch; pip install 'conrec[train]'"
