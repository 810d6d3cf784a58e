"""Arrays in files: copied into memory, or one row at a time."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.filter import npy
from conrec.filter.npy import NpyWriter, RowFile, map_npy, resident

RECORD = np.dtype([("bias", "<f4"), ("liked", "<i4", (3,))])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(600_000, dtype=np.float32).reshape(1000, 600),
        np.arange(12, dtype=np.uint64)[::2],
        np.zeros((0, 5), np.float32),
        np.arange(5, dtype=np.uint8),
    ],
)
def test_a_copy_holds_the_same_and_cannot_be_changed(array: np.ndarray) -> None:
    copy = resident(array)
    np.testing.assert_array_equal(copy, array)
    assert copy.dtype == array.dtype
    assert not np.shares_memory(copy, array)
    assert copy.flags.c_contiguous
    assert not copy.flags.writeable


@pytest.mark.parametrize("length", [0, 1, 100_000])
def test_a_mapped_array_holds_what_the_file_does(tmp_path: Path, length: int) -> None:
    array = np.arange(length)
    np.save(tmp_path / "some.npy", array)
    for scattered in (False, True):
        found = map_npy(tmp_path / "some.npy", np.int64, 1, scattered)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, array)
        assert not found.flags.writeable


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells how a file is mapped")
def test_only_of_a_scattered_array_pages_are_read_alone(tmp_path: Path) -> None:
    def random_reads(name: str) -> bool:
        text = Path("/proc/self/smaps").read_text()
        part = text[text.index(str(tmp_path / name)) :]
        return "rr" in part[part.index("VmFlags:") :].splitlines()[0].split()

    arrays = []
    for name, scattered in (("row.npy", False), ("here and there.npy", True)):
        np.save(tmp_path / name, np.arange(1000))
        arrays.append(map_npy(tmp_path / name, np.int64, 1, scattered))
        assert random_reads(name) is scattered


def test_a_large_array_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(100)
    monkeypatch.setattr(npy, "RESIDENT_BYTES", array.nbytes)
    assert resident(array) is not array
    monkeypatch.setattr(npy, "RESIDENT_BYTES", array.nbytes - 1)
    assert resident(array) is array


def records(path: Path) -> np.ndarray:
    rows = np.zeros(50, RECORD)
    rows["bias"], rows["liked"] = np.arange(50), np.arange(150).reshape(50, 3)
    file = NpyWriter(path, RECORD)
    file.append(rows)
    file.close()
    return map_npy(path, RECORD, 1)


def test_single_rows_are_those_of_the_array(tmp_path: Path) -> None:
    rows = records(tmp_path / "records.npy")
    single = RowFile(tmp_path / "records.npy", RECORD)
    assert [np.frombuffer(single.rows(n, 1), RECORD)[0] for n in (0, 7, 49)] == [rows[n] for n in (0, 7, 49)]


def test_a_file_that_is_cut_short_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "records.npy"
    records(path)
    single = RowFile(path, RECORD)
    os.truncate(path, path.stat().st_size - 1)
    assert np.frombuffer(single.rows(48, 1), RECORD)["bias"] == 48
    with pytest.raises(ConrecError, match=r"records\.npy: has become shorter"):
        single.rows(49, 1)
