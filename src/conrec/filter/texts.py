"""A column of texts, of which one is made into a Python string when it is asked for.

A list of a hundred thousand strings would keep all other threads waiting while it is made, and again when it goes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


class Texts:
    """Strings or None, by row from 0 on."""

    def __init__(self, column: pa.Array) -> None:
        """column: string [n]."""
        column = column.cast(pa.large_string())
        self._length = len(column)
        self._missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        _, offsets, data = column.buffers()
        # Memory views: numbers out of an array cost twice as much.
        self._bounds = memoryview(offsets if offsets is not None else b"\0" * 8).cast("B").cast("q")[column.offset :]
        self._bytes = memoryview(data if data is not None else b"")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> str | None:
        if self._missing is not None and self._missing[row]:
            return None
        return str(self._bytes[self._bounds[row] : self._bounds[row + 1]], "utf-8")

    def __iter__(self) -> Iterator[str | None]:
        return map(self.__getitem__, range(self._length))
