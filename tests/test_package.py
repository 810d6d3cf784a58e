"""What a registry gets: the wheel's files, its metadata, and extras that bring what the one line about them says."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import conrec
from conrec.errors import EXTRAS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """As `pip wheel` builds it, but with the hatchling that is here."""
    folder = tmp_path_factory.mktemp("dist")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith("dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_every_file_of_the_source_is_in_the_wheel_and_no_other(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in (source / "conrec").rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    files |= {f"conrec/{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*.toml")}
    there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert there == files
    assert {"conrec/py.typed", "conrec/serve/page/index.html", "conrec/recipes/fit.toml"} <= there


def test_the_metadata_is_that_of_a_release(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["Version"] == conrec.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {conrec.__version__}\n" in citation
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(urls["Homepage"]) for url in urls.values())
    assert metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "conrec = conrec.cli.main:program" in wheel.read(name).decode()


def test_an_extra_brings_what_the_line_about_it_says(metadata: Message) -> None:
    required: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        package = re.match(r"[\w.-]+", line)
        assert package is not None
        required.setdefault(extra[1] if extra else "", set()).add(package[0].lower())
    providers = packages_distributions()
    for extra, modules in EXTRAS.items():
        assert extra in metadata.get_all("Provides-Extra", [])
        for module in modules:
            names = {name.lower().replace("_", "-") for name in providers.get(module, [module])}
            assert names & {name.replace("_", "-") for name in required[extra]} or module not in providers, module
            assert not names & required[""], f"{module}: comes without an extra, so it needs no line"


def locked() -> dict[str, set[str]]:
    """Canonical name -> the versions of requirements-lock.txt, one for each range of Pythons or platforms."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements-lock.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            one = Requirement(line)  # nothing but names, versions, and markers: no address, no path
            assert one.url is None, line
            (version,) = one.specifier
            assert version.operator == "==", line
            found.setdefault(canonicalize_name(one.name), set()).add(version.version)
    return found


def test_every_dependency_is_locked_within_its_range(metadata: Message) -> None:
    pins = locked()
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    assert len(asked) > 30
    for one in asked:
        versions = pins.get(canonicalize_name(one.name), set())
        assert versions or one.name == "conrec", f"{one.name}: not in requirements-lock.txt; make lock"
        assert all(one.specifier.contains(version) for version in versions), f"{one}: {versions}; make lock"


def test_every_dependency_that_is_installed_for_the_tests_has_its_licence_listed(metadata: Message) -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    listed = {canonicalize_name(name): version for name, version, _ in rows[1:]}
    licences = {licence.strip() for _, _, licence in rows[1:]}
    assert not [licence for licence in licences if re.search(r"UNKNOWN|^$|(?<!L)GPL|Affero|Proprietary", licence)]
    pins = locked()
    for name, version in listed.items():
        assert version.split("+")[0] in pins.get(name, set()), f"{name} {version}: make lock licences"
    for one in map(Requirement, metadata.get_all("Requires-Dist", [])):
        extra = re.search(r"extra == ['\"](\w+)['\"]", str(one.marker or ""))
        if one.name != "conrec" and not (extra and extra[1] in ("encoders", "docs")):
            assert canonicalize_name(one.name) in listed or "win32" in str(one.marker), f"{one.name}: make licences"
