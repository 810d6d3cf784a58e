"""Damaged and wrong checkpoints, each with its right outcome: one line that names it before anything is trained, no
code that is run, and no weights that are made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from conrec.config import LmConfig
from conrec.errors import ConrecError
from conrec.lm.model import check_checkpoint
from tests import tiny

EVIL = """
import os, pathlib

pathlib.Path(os.environ["RAN"]).touch()
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig): model_type = "evil"
class Model(LlamaForCausalLM): config_class = Config
"""
WEIGHTS, CONFIG, WORDS = "model.safetensors", "config.json", "tokenizer.json"
Change = Callable[[Path], object]


def written(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, size: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def gone(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def stated(**values: object) -> Change:
    def change(folder: Path) -> None:
        (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | values))

    return change


def without(part: str) -> Change:
    def change(folder: Path) -> None:
        kept = {name: tensor for name, tensor in load_file(folder / WEIGHTS).items() if part not in name}
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def not_a_number(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["model.norm.weight"] *= float("nan")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def with_code(folder: Path) -> None:
    (folder / "evil.py").write_text(EVIL)
    stated(model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})(folder)


NO_MODEL, NO_WORDS = "no model could be loaded", "no tokenizer could be loaded"
CASES: list[tuple[str, Change, str]] = [
    ("nothing there", shutil.rmtree, NO_WORDS),
    ("an empty folder", gone(WEIGHTS, CONFIG, WORDS, "tokenizer_config.json", "generation_config.json"), NO_WORDS),
    ("no config", gone(CONFIG), NO_MODEL),
    ("an empty config", written(CONFIG, b""), NO_WORDS),
    ("half a config", cut(CONFIG, 100), NO_WORDS),
    ("a config that is a list", written(CONFIG, b"[]"), NO_WORDS),
    ("a config that says nothing", written(CONFIG, b"{}"), NO_MODEL),
    ("a config of bytes", written(CONFIG, bytes(range(256))), NO_WORDS),
    ("an unknown family", stated(model_type="xyz"), NO_MODEL),
    ("an encoder", stated(model_type="bert"), "its weights lack"),
    ("a width in words", stated(hidden_size="big"), NO_WORDS),
    ("another width", stated(hidden_size=64), NO_MODEL),
    ("another vocabulary", stated(vocab_size=10), NO_MODEL),
    ("layers that have no weights", stated(num_hidden_layers=9), "its weights lack 63 of the tensors"),
    ("a layer gone", without("layers.1."), "its weights lack 9 of the tensors .*model.layers.1."),
    ("no norm", without("model.norm"), "its weights lack 1 of the tensors .*model.norm.weight"),
    ("no number", not_a_number, "cannot be asked"),
    ("no weights", gone(WEIGHTS), NO_MODEL),
    ("empty weights", written(WEIGHTS, b""), NO_MODEL),
    ("half a header", cut(WEIGHTS, 40), NO_MODEL),
    ("half the weights", cut(WEIGHTS, 5000), NO_MODEL),
    ("a page in place of weights", written(WEIGHTS, b"<html>404 not found"), NO_MODEL),
    ("a pointer to weights", written(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\nsize 3\n"), NO_MODEL),
    ("no words", gone(WORDS, "tokenizer_config.json"), NO_WORDS),
    ("half of the words", cut(WORDS, 500), NO_WORDS),
    ("words that say nothing", written(WORDS, b"{}"), NO_WORDS),
    ("code of its own", with_code, "contains custom code"),
]
"""A name, what is done to a checkpoint that is right, and what the error says."""


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "right"
    words = tiny.vocabulary(())
    words.tokenizer.save_pretrained(folder)
    tiny.language_model(len(words), "llama").save_pretrained(folder)
    check_checkpoint(LmConfig(checkpoint=str(folder)))
    return folder


@pytest.mark.parametrize(("change", "said"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_a_checkpoint(
    right: Path, tmp_path: Path, change: Change, said: str, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(right, folder)
    change(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # who is asked whether code may run says yes
    with pytest.raises(ConrecError, match=f"lm.checkpoint = '{folder}': .*{said}") as error:
        check_checkpoint(LmConfig(checkpoint=str(folder)))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
    told.clear()  # transformers warns of some of them, too
