"""Dislikes taken back: appended by several, read by several, whatever a crash left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conrec.errors import ConrecError
from conrec.filter.undo import FILE, Retractions, take_back


def test_a_reader_sees_what_others_append(tmp_path: Path) -> None:
    reader = Retractions(tmp_path)
    assert (reader.of("u"), len(reader)) == ([], 0)
    take_back(tmp_path, "u", "a")
    take_back(tmp_path, "v", "b")
    take_back(tmp_path, "u", 'c"\n💙')
    assert reader.of("u") == ["a", 'c"\n💙']
    assert reader.of("u", after=1) == ['c"\n💙']
    assert reader.of("u", after=3) == []
    assert reader.all() == [("u", "a"), ("v", "b"), ("u", 'c"\n💙')]
    assert len(reader) == len(Retractions(tmp_path)) == 3


def test_many_at_once_lose_nothing_and_read_nothing_twice(tmp_path: Path) -> None:
    reader = Retractions(tmp_path)

    def work(n: int) -> int:
        take_back(tmp_path, f"u{n % 5}", f"i{n}")
        return len(reader)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(200)))
    assert max(seen) == len(reader) == 200
    expected = sorted((f"u{n % 5}", f"i{n}") for n in range(200))
    assert sorted(reader.all()) == sorted(Retractions(tmp_path).all()) == expected


@pytest.mark.parametrize("torn", [b'{"user": "u", "it', b"[1]\n", b"\xff\xfe\n", b"\n"])
def test_a_torn_line_is_skipped_and_swallows_nothing(tmp_path: Path, torn: bytes) -> None:
    take_back(tmp_path, "u", "a")
    reader = Retractions(tmp_path)
    assert reader.of("u") == ["a"]
    with (tmp_path / FILE).open("ab") as file:
        file.write(torn)
    assert reader.of("u") == ["a"]
    take_back(tmp_path, "u", "b")
    assert reader.of("u") == Retractions(tmp_path).of("u") == ["a", "b"]
    assert len(reader) == 3


def test_a_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    take_back(tmp_path, "u", "a")
    reader = Retractions(tmp_path)
    assert len(reader) == 1
    (tmp_path / FILE).write_text("")
    with pytest.raises(ConrecError, match="shorter"):
        reader.of("u")
