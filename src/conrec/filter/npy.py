"""`.npy` files that are appended to when written and memory-mapped when read."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from conrec.errors import ConrecError


class NpyWriter:
    """Writes a one-dimensional array of unknown length in portions; never holds more than one of them."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.length = 0
        self._dtype = dtype
        self._file = path.open("wb")
        self._header()

    def append(self, rows: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.length += len(rows)

    def close(self) -> None:
        """Write the true length into the header (numpy leaves room for it)."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def _header(self) -> None:
        described = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


def map_npy(path: Path, dtype: Any, dimensions: int, scattered: bool = False) -> np.ndarray:
    """The array in a file, memory-mapped, read-only; ConrecError where it is not such an array or cut short. scattered:
    nobody asks for what is next, so a page that is not in memory is read alone, and not 32 with it."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConrecError(f"{path}: cannot be read ({' '.join(str(error).split())}); write it again") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions:
        raise ConrecError(f"{path}: not the array that belongs here; write it again")
    if scattered and len(array) and hasattr(mmap, "MADV_RANDOM"):
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    # A plain array over the mapping: numpy's memmap class makes every slice dearer.
    return array.view(np.ndarray)


RESIDENT_BYTES = 256 << 20
"""Up to this size `resident` copies."""


def resident(array: np.ndarray) -> np.ndarray:
    """A read-only copy in memory of our own; a large array as it is.

    The system may take pages of a mapped file away from a process that is idle for a moment. Arrays over
    `RESIDENT_BYTES` stay mapped, so that processes share them.
    """
    if array.nbytes > RESIDENT_BYTES:
        return array
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


class RowFile:
    """Rows of a one-dimensional `.npy` file, each read when it is asked for.

    A first look at a page of a mapped file costs several times as much as reading the row, and a file that is cut
    short while it is open is an error here, not the end of the process.
    """

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        """Of a file that `map_npy` has found to be such an array."""
        self._path, self._size = path, dtype.itemsize
        self._file = path.open("rb", buffering=0)  # closed with the last reference to it
        np.lib.format.read_magic(self._file)
        np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        if hasattr(os, "posix_fadvise"):  # nobody asks for the row next to this one
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def rows(self, first: int, count: int) -> bytes:
        """So many rows from the `first` on; ConrecError where the file ends before them."""
        read = os.pread(self._file.fileno(), count * self._size, self._start + first * self._size)
        if len(read) != count * self._size:
            raise ConrecError(f"{self._path}: has become shorter; write it again")
        return read
