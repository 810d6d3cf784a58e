"""Pictures of items, looked up by item id, as our own re-encoded thumbnails.

A request never names a path: an id leads to a row of an `items.parquet`, and that row to a file or to bytes. Whatever
those bytes are, what leaves is a JPEG of ours (`conrec.evaluate.pictures`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.data.schema import ITEMS
from conrec.evaluate.pictures import thumbnail

SIDE = 320
"""Pixels on the longer side: twice what the page shows, for dense screens."""
_COLUMNS = pa.schema([ITEMS.field(name) for name in ("item_id", "image", "image_bytes")])


class Pictures:
    """The pictures of the items in some tables (`data.schema.ITEMS`)."""

    def __init__(self, tables: Sequence[Path]) -> None:
        """tables: Parquet files; a path in one is relative to its folder."""
        # Posters out of an archive may be more than memory holds: they go to an uncompressed file that is mapped, and
        # that has no name any more once it is open.
        self._folders: list[Path] = []
        with tempfile.TemporaryDirectory(prefix="conrec-") as folder:
            path = str(Path(folder) / "pictures.arrow")
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, _COLUMNS) as writer:
                for table in tables:
                    for batch in pq.ParquetFile(table).iter_batches(batch_size=1024, columns=_COLUMNS.names):
                        writer.write_table(pa.Table.from_batches([batch]).cast(_COLUMNS))
                        self._folders += [table.parent] * len(batch)
            self._table = pa.ipc.open_file(pa.memory_map(path)).read_all()
        self._row = {item: row for row, item in enumerate(self._table["item_id"].to_pylist())}
        self._cached = lru_cache(maxsize=2048)(self._jpeg)

    def jpeg(self, item: str) -> bytes | None:
        """The picture of an item, at most `SIDE` pixels high or wide; None where it has none or none readable."""
        return self._cached(item)

    def named(self, items: Sequence[str]) -> np.ndarray:
        """bool [n]: which of the items have a picture, readable or not."""
        there = np.logical_or(*(self._table[name].is_valid().to_numpy() for name in ("image", "image_bytes")))
        return np.array([item in self._row and there[self._row[item]] for item in items], bool)

    def _jpeg(self, item: str) -> bytes | None:
        row = self._row.get(item)
        if row is None:
            return None
        source = self._table["image_bytes"][row].as_py() or self._table["image"][row].as_py()
        return thumbnail(source, self._folders[row], SIDE).jpeg or None
