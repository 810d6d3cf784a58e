"""Tables out of files: CSV, TSV, `::`-separated text and Parquet, gzipped or not.

Nothing is interpreted here: cells of text files stay text (`columns` parses them), Parquet keeps its own types.
Rows with the wrong number of cells cannot become a row at all; their numbers are kept for the account.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from conrec.errors import ConrecError

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet")


@dataclass
class Raw:
    """The rows of one file, as they stand there."""

    path: Path
    table: pa.Table
    ragged: list[int] = field(default_factory=list)
    """Numbers of the rows with too many or too few cells, ascending; they are not in the table."""

    def row(self, position: int) -> int:
        """The number in the file (from 1, header not counted) of the table's row at `position`."""
        number = position + 1
        for ragged in self.ragged:
            if ragged > number:
                break
            number += 1
        return number


def find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The first of `stem` + suffix that is a file in the folder."""
    return next((folder / (stem + s) for s in suffixes if (folder / (stem + s)).is_file()), None)


def require(folder: Path, stem: str, suffixes: Sequence[str], what: str) -> Path:
    """The file that `find` finds. Raises ConrecError with the folder and the names that would do."""
    if not folder.exists():
        raise ConrecError(f"{folder}: there is no such folder; --data must be the folder that holds {what}")
    if not folder.is_dir():
        raise ConrecError(f"{folder}: is not a folder; --data must be the folder that holds {what}")
    path = find(folder, stem, suffixes)
    if path is None:
        names = " or ".join(stem + suffix for suffix in suffixes)
        raise ConrecError(f"{folder}: holds no {names}; --data must be the folder that holds {what}")
    return path


def header(path: Path) -> list[str]:
    """Column names of a CSV, TSV or Parquet file."""
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = file.readline(1 << 20).decode("utf-8-sig", "replace")
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None
    names = next(csv.reader([first], delimiter=_delimiter(path)), [])
    if not first.strip():
        raise ConrecError(f"{path}: is empty; expected a first line with the names of the columns")
    return names


def read(path: Path, columns: Iterable[str], hint: str = "") -> Raw:
    """The named columns of a CSV, TSV (by the file's name; `.gz` as well) or Parquet file.

    Text files give strings (an empty cell is ""). `hint` ends the error about a missing column. Raises ConrecError
    for a file that cannot be read, lacks one of the columns or has no rows.
    """
    have = header(path)
    columns = list(dict.fromkeys(columns))
    for name in columns:
        if have.count(name) != 1:
            problem = "no column" if name not in have else "several columns"
            raise ConrecError(f"{path}: {problem} {name!r}; the columns are: {', '.join(have)}{hint}")
    if path.suffix == ".parquet":
        try:
            raw = Raw(path, pq.read_table(path, columns=columns))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    else:
        # Multi-line cells are legal CSV; quotes mean nothing in the middle of a cell.
        parse = pacsv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True)
        raw = _read_text(path, pacsv.ReadOptions(use_threads=False), parse, columns, 1)
    if raw.table.num_rows == 0:
        raise ConrecError(f"{path}: has no rows; expected columns {', '.join(columns)}")
    return raw


def read_pattern(path: Path, pattern: str, names: Sequence[str], fallback: str | None = None) -> Raw:
    """A text file without header, one row a line, whose named groups of `pattern` (RE2) become the columns.

    A line that does not match counts as ragged. Bytes are UTF-8; a file that is not is read as `fallback`.
    """
    options = pacsv.ReadOptions(use_threads=False, column_names=["line"])
    # One column: the delimiter is a control character, and quotes mean nothing in these files.
    parse = pacsv.ParseOptions(delimiter="\x1f", quote_char=False)
    raw = _read_text(path, options, parse, ["line"], 0, fallback)
    found = pc.extract_regex(raw.table["line"], pattern)
    matched = pc.is_valid(found)
    columns = [pc.struct_field(found, name).filter(matched) for name in names]
    missed = pc.indices_nonzero(pc.invert(matched)).to_pylist()
    ragged = sorted([*raw.ragged, *(raw.row(position) for position in missed)])
    if len(ragged) == raw.table.num_rows + len(raw.ragged):
        raise ConrecError(f"{path}: no line is of the form {'::'.join(names)}; is this the right file?")
    return Raw(path, pa.table(columns, names=list(names)), ragged)


def _read_text(
    path: Path,
    read: pacsv.ReadOptions,
    parse: pacsv.ParseOptions,
    columns: list[str],
    header_rows: int,
    fallback: str | None = None,
) -> Raw:
    """Text columns of a delimited file; ragged rows are skipped and noted."""
    ragged: list[int] = []

    def skip(row: pacsv.InvalidRow) -> str:
        ragged.append(row.number - header_rows)
        return "skip"

    parse.invalid_row_handler = skip
    convert = pacsv.ConvertOptions(
        include_columns=columns,
        column_types={name: pa.binary() for name in columns},
        strings_can_be_null=False,
    )
    try:
        table = pacsv.read_csv(path, read, parse, convert)
    except FileNotFoundError:
        raise ConrecError(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError, EOFError) as error:
        if path.is_file() and "Empty CSV file" in str(error):
            raise ConrecError(f"{path}: is empty; expected rows with {', '.join(columns)}") from None
        raise _unreadable(path, error) from None
    return Raw(path, pa.table([_decode(c, fallback) for c in table.columns], names=table.column_names), ragged)


def _decode(column: pa.ChunkedArray, fallback: str | None) -> pa.ChunkedArray:
    """Bytes as text: UTF-8, else `fallback`, else UTF-8 with the broken bytes replaced."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        encoding, errors = (fallback, "strict") if fallback else ("utf-8", "replace")
        chunks = [[cell.decode(encoding, errors) for cell in chunk.to_pylist()] for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.string())


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _unreadable(path: Path, error: BaseException) -> ConrecError:
    detail = " ".join(str(error).split())[:200]
    return ConrecError(f"{path}: cannot be read ({detail}); is it complete and of the type its name says?")
