"""Locks name their holder and end with it; digests are those of contents; JSON files are objects or named."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from conrec.errors import ConrecError
from conrec.files import as_json, file_digest, lock, locked, read_json, value_digest, write_whole


def test_a_lock_names_who_holds_it_and_ends_with_the_block(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    assert not locked(path)
    with lock(path):
        assert locked(path)
        with pytest.raises(ConrecError, match=rf"folder: process {os.getpid()} on .+ works in this folder"), lock(path):
            pass
    assert not locked(path)
    with lock(path):
        assert path.read_text().count("process") == 1


def test_who_waits_comes_after_who_holds(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with lock(tmp_path / ".lock", wait=True):
            order.append("second")

    with lock(tmp_path / ".lock"):
        waiting = Thread(target=second)
        waiting.start()
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "second"]


def test_digests_know_contents_alone(tmp_path: Path) -> None:
    @dataclass
    class Pair:
        a: int
        b: Path

    assert value_digest({"x": 1, "y": [Pair(1, Path("p"))]}) == value_digest({"y": [{"b": "p", "a": 1}], "x": 1})
    assert value_digest([1]) != value_digest([2])
    with pytest.raises(TypeError, match="cannot be part of a digest"):
        value_digest(object())
    write_whole(tmp_path / "text", "quack")
    assert file_digest(tmp_path / "text") == hashlib.sha256(b"quack").hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_json_file_is_an_object_or_named(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}
    for text, error in (('{"a": 1}', None), ("[1]", "no JSON object"), ("{", "not readable")):
        write_whole(tmp_path / "some.json", text)
        if error is None:
            assert read_json(tmp_path / "some.json") == {"a": 1}
        else:
            with pytest.raises(ConrecError, match=rf"some\.json: .*{error}"):
                read_json(tmp_path / "some.json")


def test_json_knows_no_infinity() -> None:
    value = {"temperatures": (float("inf"), 4.0), "nested": [{"low": float("-inf")}], "text": "inf", "none": None}
    assert json.loads(as_json(value)) == {
        "temperatures": ["inf", 4.0],
        "nested": [{"low": "-inf"}],
        "text": "inf",
        "none": None,
    }
    assert float(json.loads(as_json([float("inf")]))[0]) == float("inf")
    with pytest.raises(ValueError, match="nan"):
        as_json([float("nan")])
