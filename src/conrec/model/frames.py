"""Tables in memory as the files that the generic adapter reads, so that both are checked and counted alike."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conrec.errors import ConrecError

PANDAS_INDEX = "__index_level_"
PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary(), pa.null(): pa.string()}
"""Types that Parquet does not know."""

Table = Any
"""A table that speaks the Arrow PyCapsule interface (pandas 2.2 or newer, polars, pyarrow, DuckDB); or its path, glob,
or address, or several of these."""


def place(events: Table, items: Table | None, folder: Path) -> list[str]:
    """The sources of the log: `folder` gets the tables as Parquet, paths are sources already.

    Without items a path of events is whatever an adapter reads. ConrecError for what is neither a table nor a path.
    """
    sources = []
    for name, one in (("events", events), ("items", items)):
        paths: list[Any] = list(one) if isinstance(one, list | tuple) else [one]
        if one is not None and not all(isinstance(path, str | os.PathLike) for path in paths):
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / f"{name}.parquet"]
            _write(one, name, paths[0])
        sources += [str(path) if items is None else f"{name}={path}" for path in paths if path is not None]
    return sources


def told_of(message: str, folder: Path) -> str:
    """A message that calls the tables in `folder` as the caller does."""
    for name in ("events", "items"):
        message = message.replace(os.path.abspath(folder / f"{name}.parquet"), name)
    return message


def _write(table: Table, name: str, path: Path) -> None:
    """The table as Parquet, batch by batch."""
    if not hasattr(table, "__arrow_c_stream__"):
        what = f"{type(table).__module__}.{type(table).__qualname__}"
        raise ConrecError(
            f"{name}: {what} is no table; give one of pandas (2.2 or newer), polars, pyarrow, or DuckDB, or a path"
        )
    with pa.RecordBatchReader.from_stream(table) as reader:
        kept = [n for n, field in enumerate(reader.schema) if not field.name.startswith(PANDAS_INDEX)]
        # What a library notes of its own about a table is none of ours.
        fields = [reader.schema.field(n) for n in kept]
        schema = pa.schema([(field.name, PLAIN.get(field.type, field.type)) for field in fields])
        with pq.ParquetWriter(path, schema) as writer:
            for batch in reader:
                columns = [batch.column(n).cast(field.type) for n, field in zip(kept, schema)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
