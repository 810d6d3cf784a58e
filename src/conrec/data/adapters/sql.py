"""A query in a file (`events.sql`), answered by DuckDB: over Parquet, CSV and JSON, by globs, from a database, or from
what fsspec reaches (`s3://...`).

Statements before the last one (ATTACH, CREATE ...) are carried out first. Paths are relative to the query's folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from conrec.errors import ConrecError


def query(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """These columns of the query's result; without them all columns, and no row is asked for."""
    try:
        import duckdb
        import fsspec
    except ImportError:
        raise ConrecError(f"{path}: queries need DuckDB; pip install 'conrec[sql]'") from None
    connection = duckdb.connect()
    try:
        text = path.read_text(encoding="utf-8")
        # Web addresses are DuckDB's own business, and postgres:// is nothing of fsspec's.
        for scheme in set(re.findall(r"\b(?!https?:)([a-z][a-z0-9]+)://", text)) & set(fsspec.available_protocols()):
            connection.register_filesystem(fsspec.filesystem(scheme))
        connection.execute("SET file_search_path = ?", [str(path.resolve().parent)])
        statements = connection.extract_statements(text)
        for statement in statements[:-1]:
            connection.execute(statement)
        found = connection.sql(statements[-1].query) if statements else None
        if found is None:
            raise ConrecError(f"{path}: holds no query; its last statement must be a SELECT")
        found = found.limit(0) if columns is None else found.select(*map(duckdb.ColumnExpression, columns))
        return found.to_arrow_table()
    except (duckdb.Error, OSError, ValueError, ImportError) as error:
        raise ConrecError(f"{path}: {' '.join(str(error).split())[:300]}") from None
