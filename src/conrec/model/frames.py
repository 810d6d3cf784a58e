"""Tables in memory as the files that the generic adapter reads, so that both are checked and counted alike."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conrec.data.adapters.files import TABLE_SUFFIXES
from conrec.errors import ConrecError

PANDAS_INDEX = "__index_level_"
PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary(), pa.null(): pa.string()}
"""Types that Parquet does not know."""


Table = Any
"""A table that speaks the Arrow PyCapsule interface (pandas 2.2 or newer, polars, pyarrow, DuckDB), or its path."""


def place(events: Table, items: Table | None, folder: Path) -> Path:
    """Where the adapter finds the log: `folder`, with the tables as Parquet and links to paths; or the path as it is.

    A path goes through as it is where there are no items, or where both are the `events.*` and `items.*` of a folder.
    ConrecError for what is neither a table nor a file of one.
    """
    given = {"events": events} | ({} if items is None else {"items": items})
    paths = {name: Path(one) for name, one in given.items() if isinstance(one, str | os.PathLike)}
    if len(paths) == len(given):
        if items is None:
            return paths["events"]
        usual = all(path.is_file() and path.name.split(".", 1)[0] == name for name, path in paths.items())
        if usual and paths["events"].parent == paths["items"].parent:
            return paths["events"].parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in given.items():
        for suffix in TABLE_SUFFIXES:
            (folder / (name + suffix)).unlink(missing_ok=True)
        if name in paths:
            _link(paths[name], folder, name)
        else:
            _write(one, name, folder / f"{name}.parquet")
    return folder


def told_of(message: str, events: Table, items: Table | None, folder: Path) -> str:
    """A message with the names that the caller knows in place of those in `folder`."""
    for name, one in (("events", events), ("items", items)):
        known = str(one) if isinstance(one, str | os.PathLike) else name
        for suffix in TABLE_SUFFIXES:
            message = message.replace(str(folder / (name + suffix)), known)
    return message


def _link(path: Path, folder: Path, name: str) -> None:
    suffix = next((suffix for suffix in TABLE_SUFFIXES if path.name.endswith(suffix)), None)
    if not path.is_file() or suffix is None:
        problem = "there is no such file" if not path.exists() else f"must end in one of {', '.join(TABLE_SUFFIXES)}"
        raise ConrecError(f"{path}: {problem}")
    (folder / (name + suffix)).symlink_to(path.resolve())


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
