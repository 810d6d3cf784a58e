"""The index of ids against a dict."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.schema import MAX_ID_BYTES
from conrec.errors import ConrecError
from conrec.filter.id_index import IdIndex, IdIndexWriter, among

text = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\0"), min_size=1, max_size=20)


def index(folder: Path, *portions: list[str]) -> IdIndex:
    writer = IdIndexWriter(folder)
    for ids in portions:
        writer.add(ids)
    writer.finish()
    return IdIndex(folder)


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(text, unique=True, max_size=40), asked=st.lists(text, max_size=20), cutoff=st.integers(0, 40))
def test_it_is_a_dict(tmp_path_factory: pytest.TempPathFactory, ids: list[str], asked: list[str], cutoff: int) -> None:
    found = index(tmp_path_factory.mktemp("ids"), ids[:cutoff], ids[cutoff:])
    rows = {id: row for row, id in enumerate(ids)}
    everything = asked + ids
    assert found.rows(everything).tolist() == [rows.get(id, -1) for id in everything]
    assert [found.row(id) for id in everything] == [rows.get(id, -1) for id in everything]
    assert [found.id(row) for row in range(len(found))] == ids
    assert len(found) == len(ids)
    assert found.rows([]).tolist() == []


def test_many_ids_that_look_alike(tmp_path: Path) -> None:
    ids = [f"user-{n:07}" for n in range(50_000)]
    found = index(tmp_path, ids[:20_000], ids[20_000:])
    np.testing.assert_array_equal(found.rows(ids), np.arange(50_000))
    strangers = [f"user-{n:07}" for n in range(50_000, 100_000)] + [f"user-{n}" for n in range(50_000)]
    assert (found.rows(strangers)[:50_000] == -1).all()
    assert (found.rows(strangers)[50_000:] == -1).all()


@pytest.mark.parametrize("id", ["", "\ud800", "a\ud800b", "x" * 5000, "a\0", "A", " a", "a\u0301"])
def test_what_cannot_be_there_is_not_found(tmp_path: Path, id: str) -> None:
    found = index(tmp_path, ["a", "b", "\u00e1"])
    assert found.row(id) == -1
    assert found.rows([id, "b"]).tolist() == [-1, 1]
    assert found.rows([id]).tolist() == [-1]


def test_ids_of_every_length(tmp_path: Path) -> None:
    """Ids that differ in one byte only, wherever it is, are not the same."""
    ids = ["abcdefghij"[:n] + "x" * (n - 10) for n in range(1, 60)]
    found = index(tmp_path, ids)
    assert found.rows(ids).tolist() == list(range(59))
    for id in ids:
        others = [id[:at] + "Z" + id[at + 1 :] for at in range(len(id))]
        assert found.rows(others).tolist() == [-1] * len(id)


def test_long_ids_are_compared_byte_by_byte(tmp_path: Path) -> None:
    """A slot holds of a long id the beginning and a hash. Where both are another id's, the bytes tell them apart."""
    ids = ["the same beginning of all " + str(n) for n in range(50)]
    assert index(tmp_path, ids).rows(ids).tolist() == list(range(50))
    slots = np.load(tmp_path / "slots.npy")
    used = slots[:, 3] > 0
    of_row = {int(row) - 1: n for n, row in zip(np.flatnonzero(used), slots[used, 3])}
    slots[of_row[0], 3], slots[of_row[1], 3] = 2, 1  # each now points to the other's bytes
    np.save(tmp_path / "slots.npy", slots)
    assert IdIndex(tmp_path).rows(ids).tolist() == [-1, -1, *range(2, 50)]


def test_which_rows_are_among_others() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 30):
        rows, some = rng.integers(-1, 40, 200), rng.integers(0, 40, size).astype(np.int32)
        np.testing.assert_array_equal(among(rows, some), np.isin(rows, some))
    assert among(np.zeros(0, np.int64), np.array([3], np.int32)).tolist() == []


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("odd", ["x\0y", "\0", "", "\ud800", "\0\0"])
def test_a_zero_byte_in_an_id_moves_no_other(tmp_path: Path, at: int, odd: str) -> None:
    found = index(tmp_path, ["a", "b", "x", "y"], ["x\0y", "\0"])
    asked = ["a", "b"]
    asked.insert(at, odd)
    expected = [0, 1]
    expected.insert(at, {"x\0y": 4, "\0": 5}.get(odd, -1))
    assert found.rows(asked).tolist() == expected


def test_a_copy_in_memory_finds_the_same(tmp_path: Path) -> None:
    ids = [f"user-{n}" for n in range(3000)]
    index(tmp_path, ids)
    asked = [*ids[::-1], "user-3000"]
    np.testing.assert_array_equal(IdIndex(tmp_path, in_memory=True).rows(asked), IdIndex(tmp_path).rows(asked))


@pytest.mark.parametrize("wrong", [1, None, ["a"]])
def test_an_id_is_a_string(tmp_path: Path, wrong: object) -> None:
    found = index(tmp_path, ["a"])
    with pytest.raises(TypeError, match="string"):
        found.rows(["a", wrong])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="string"):
        found.row(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("portions", "message"),
    [
        ([["a", "b", "a"]], "'a' occurs twice"),
        ([["a"], ["b", "a"]], "'a' occurs twice"),
        ([["a", ""]], "0 bytes"),
        ([["é" * 256]], "512 bytes"),
    ],
)
def test_ids_that_cannot_be_stored(tmp_path: Path, portions: list[list[str]], message: str) -> None:
    with pytest.raises(ConrecError, match=message):
        index(tmp_path, *portions)


def test_the_longest_id(tmp_path: Path) -> None:
    longest = "x" * MAX_ID_BYTES
    assert index(tmp_path, ["a", longest]).row(longest) == 1


@pytest.mark.parametrize("name", ["blob.npy", "offsets.npy", "slots.npy"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    index(tmp_path, [f"u{n}" for n in range(100)])
    whole = (tmp_path / name).read_bytes()
    for wrong in (whole[:-3], whole[: len(whole) // 2], b"", b"rubbish"):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(ConrecError, match=name):
            IdIndex(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConrecError, match=name):
        IdIndex(tmp_path)


def test_a_disk_that_errs_costs_users_but_no_crash(tmp_path: Path) -> None:
    """Random bytes in place of the true ones: ids may be lost, but none is taken for another."""
    ids = [f"a user with an id that no slot can hold {n}" for n in range(300)]
    index(tmp_path, ids)
    rng = np.random.default_rng(0)
    lost = 0
    for name in ("offsets.npy", "slots.npy", "blob.npy"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(40):
            wrong = bytearray(whole)
            start = int(rng.integers(128, len(whole) - 32))
            wrong[start : start + 24] = rng.bytes(24)
            (tmp_path / name).write_bytes(wrong)
            try:
                rows = IdIndex(tmp_path).rows(ids)
            except ConrecError:
                continue
            assert set(np.flatnonzero(rows != np.arange(300))) <= set(np.flatnonzero(rows == -1)) or name == "slots.npy"
            lost += int((rows == -1).sum())
        (tmp_path / name).write_bytes(whole[:128] + b"\xff" * (len(whole) - 128))
        with contextlib.suppress(ConrecError):
            assert (IdIndex(tmp_path).rows(ids) == -1).all()
        (tmp_path / name).write_bytes(whole)
    assert lost
    assert (IdIndex(tmp_path).rows(ids) == np.arange(300)).all()
