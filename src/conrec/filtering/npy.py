"""`.npy` files that are appended to when written and memory-mapped when read."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from conrec.errors import ConrecError


class NpyWriter:
    """Writes an array of unknown length in portions along its first axis; never holds more than one of them."""

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...] = ()) -> None:
        """`shape` is that of one row."""
        self.length = 0
        self._dtype, self._shape = np.dtype(dtype), shape
        self._file = path.open("wb")
        self._header()

    def append(self, rows: np.ndarray) -> None:
        """rows: [n, *shape]."""
        if rows.shape[1:] != self._shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, not {self._shape}")
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.length += len(rows)

    def close(self) -> None:
        """Write the true length into the header (numpy leaves room for it)."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def _header(self) -> None:
        described = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": (self.length, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()


def map_npy(path: Path, dtype: Any, dimensions: int) -> np.ndarray:
    """The array in a file, memory-mapped, read-only; ConrecError where it is not such an array or cut short."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConrecError(f"{path}: cannot be read ({' '.join(str(error).split())}); write the set again") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != dimensions:
        raise ConrecError(f"{path}: not the array that belongs here; write the set again")
    # A plain array over the mapping: numpy's memmap class makes every slice dearer.
    return array.view(np.ndarray)
