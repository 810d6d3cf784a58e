"""Dislikes taken back: appended by several, read by several, whatever a crash left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conrec.errors import ConrecError
from conrec.filter.undo import FILE, Undos, read_undos, undo_dislike


def test_a_reader_sees_what_others_append(tmp_path: Path) -> None:
    reader = Undos(tmp_path)
    assert (reader.of("u"), read_undos(tmp_path)) == ([], [])
    undo_dislike(tmp_path, "u", "a")
    undo_dislike(tmp_path, "v", "b")
    undo_dislike(tmp_path, "u", 'c"\n💙')
    assert reader.of("u") == ["a", 'c"\n💙']
    assert reader.of("u", after=1) == ['c"\n💙']
    assert reader.of("u", after=3) == []
    assert pairs(tmp_path) == [("u", "a"), ("v", "b"), ("u", 'c"\n💙')]


def pairs(folder: Path) -> list[tuple[str, str]]:
    return [(undo.user, undo.item) for undo in read_undos(folder) if undo is not None]


def test_many_at_once_lose_nothing_and_read_nothing_twice(tmp_path: Path) -> None:
    reader = Undos(tmp_path)

    def work(n: int) -> int:
        undo_dislike(tmp_path, f"u{n % 5}", f"i{n}")
        return len(reader.of(f"u{n % 5}"))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(200)))
    assert max(seen) == 40
    assert sorted(pairs(tmp_path)) == sorted((f"u{n % 5}", f"i{n}") for n in range(200))
    assert [(f"u{n}", item) for n in range(5) for item in reader.of(f"u{n}")] == sorted(
        pairs(tmp_path), key=lambda p: p[0]
    )


@pytest.mark.parametrize("torn", [b'{"user": "u", "it', b"[1]\n", b"\xff\xfe\n", b"\n"])
def test_a_torn_line_is_skipped_and_swallows_nothing(tmp_path: Path, torn: bytes) -> None:
    undo_dislike(tmp_path, "u", "a")
    reader = Undos(tmp_path)
    assert reader.of("u") == ["a"]
    with (tmp_path / FILE).open("ab") as file:
        file.write(torn)
    assert reader.of("u") == ["a"]
    undo_dislike(tmp_path, "u", "b")
    assert reader.of("u") == Undos(tmp_path).of("u") == ["a", "b"]
    assert [undo and undo.item for undo in read_undos(tmp_path)] == ["a", None, "b"]


def test_a_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    undo_dislike(tmp_path, "u", "a")
    reader = Undos(tmp_path)
    assert reader.of("u") == ["a"]
    (tmp_path / FILE).write_text("")
    with pytest.raises(ConrecError, match="shorter"):
        reader.of("u")
