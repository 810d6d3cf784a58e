"""Pictures of a run's items, looked up by item id, as our own re-encoded thumbnails.

A request never names a path: an id leads to a row of `prepare/items.parquet`, and that row to a file or to bytes.
Whatever those bytes are, what leaves is a JPEG of ours (`conrec.evaluate.pictures`).
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.evaluate.pictures import thumbnail

SIDE = 320
"""Pixels on the longer side: twice what the page shows, for dense screens."""


class Pictures:
    """The pictures of the items of a run folder."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "prepare"
        file = pq.ParquetFile(self._folder / "items.parquet")
        names = [name for name in ("item_id", "image", "image_bytes") if name in file.schema_arrow.names]
        # Posters out of an archive may be more than memory holds: they go to an uncompressed file that is mapped, and
        # that has no name any more once it is open.
        with tempfile.TemporaryDirectory(prefix="conrec-") as folder:
            path = str(Path(folder) / "pictures.arrow")
            with pa.OSFile(path, "wb") as sink:
                writer: pa.RecordBatchFileWriter | None = None
                for batch in file.iter_batches(batch_size=1024, columns=names):
                    writer = writer or pa.ipc.new_file(sink, batch.schema)
                    writer.write_batch(batch)
                if writer is not None:
                    writer.close()
            self._table = pa.ipc.open_file(pa.memory_map(path)).read_all() if writer is not None else None
        self._row: dict[str, int] = {}
        if self._table is not None:
            self._row = {item: row for row, item in enumerate(self._table["item_id"].to_pylist())}
        self._cached = lru_cache(maxsize=2048)(self._jpeg)

    def jpeg(self, item: str) -> bytes | None:
        """The picture of an item, at most `SIDE` pixels high or wide; None where it has none or none readable."""
        return self._cached(item)

    def pictured(self, items: list[str]) -> np.ndarray:
        """bool [n]: which of the items name a picture, readable or not."""
        there = {item for item, has in zip(self._row, self._named()) if has}
        return np.array([item in there for item in items], bool)

    def _named(self) -> list[bool]:
        if self._table is None:
            return []
        columns = [name for name in ("image", "image_bytes") if name in self._table.column_names]
        valid = [self._table[name].is_valid().to_numpy() for name in columns]
        return np.any(valid, axis=0).tolist() if valid else [False] * len(self._row)

    def _jpeg(self, item: str) -> bytes | None:
        row = self._row.get(item)
        if row is None or self._table is None:
            return None
        for name in ("image_bytes", "image"):
            if name in self._table.column_names and (source := self._table[name][row].as_py()):
                return thumbnail(source, self._folder, SIDE).jpeg or None
        return None
