"""Pictures of items, looked up by item id, as our own re-encoded thumbnails.

A request never names a path: an id leads to a row of an `items.parquet`, and that row to a file or to bytes. Whatever
those bytes are, what leaves is a JPEG of ours (`conrec.report.pictures`).
"""

import itertools
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.schema import ITEMS
from conrec.filter.id_index import IdIndex
from conrec.report.pictures import thumbnail

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
        rows = itertools.count()
        self._row: dict[str, int] = {}
        for ids in self._table["item_id"].chunks:  # not all at once: other threads would wait for so long
            self._row.update(zip(ids.to_pylist(), rows))
        self.jpeg = lru_cache(maxsize=2048)(self._jpeg)

    def named(self, items: IdIndex) -> np.ndarray:
        """bool [n]: which of the items have a picture, readable or not."""
        named = np.zeros(len(items) + 1, bool)  # the last is for pictures of what is none of the items
        for batch in self._table.to_batches():
            there = pc.or_(batch["image"].is_valid(), batch["image_bytes"].is_valid())
            named[items.rows(batch["item_id"].to_pylist())] = there.to_numpy(zero_copy_only=False)
        return named[:-1]

    def _jpeg(self, item: str) -> bytes | None:
        """The picture of an item, at most `SIDE` pixels high or wide; None where it has none or none readable."""
        row = self._row.get(item)
        if row is None:
            return None
        source = self._table["image_bytes"][row].as_py() or self._table["image"][row].as_py()
        return thumbnail(source, self._folders[row], SIDE).jpeg or None
