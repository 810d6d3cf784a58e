"""What decoding reads goes to a worker elsewhere, whose device may be another."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conrec.config import Recipe
from conrec.decode.inputs import Inputs
from conrec.decode.trie import Trie
from tests import tiny


def test_a_worker_builds_the_tree_of_ids_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, nothing = tiny.codes(20), (None,) * 4
    view: Any = SimpleNamespace(catalog=SimpleNamespace(codes=codes, sizes=tiny.SIZES))
    inputs = Inputs(Recipe(), view, *nothing)  # type: ignore[arg-type]
    monkeypatch.setattr("conrec.decode.inputs.device", lambda: torch.device("meta"))
    assert inputs.trie.leaf_start.is_meta
    sent = pickle.dumps(inputs)
    monkeypatch.undo()
    again = pickle.loads(sent)
    assert torch.equal(again.trie.leaf_of_item, Trie.of(codes, tiny.SIZES).leaf_of_item)
    assert again.trie is again.trie
