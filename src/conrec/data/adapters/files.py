"""Tables out of files: CSV, TSV, `::`-separated text and Parquet, gzipped or not.

Nothing is interpreted here: cells of text files stay text (`columns` parses them), Parquet keeps its own types.
Lines that cannot become a row (the wrong number of cells, a quote that is not closed) are kept for the account.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from conrec.errors import ConrecError
from conrec.progress import say

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
LONGEST = 1 << 22
"""Bytes of a row at most, and of what is read at once."""
RAGGED, QUOTE = "wrong number of cells", "a quote that is not closed"


@dataclass
class Raw:
    """The rows of one file, as they stand there."""

    path: Path
    table: pa.Table
    lost: dict[int, str] = field(default_factory=dict)
    """Numbers of the rows that are not in the table, ascending, and why."""

    @cached_property
    def numbers(self) -> np.ndarray:
        """int64 [rows of the table]: their numbers in the file (from 1, header not counted)."""
        return np.setdiff1d(np.arange(1, self.table.num_rows + len(self.lost) + 1), list(self.lost))


def find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The first of `stem` + suffix that is a file in the folder."""
    return next((folder / (stem + s) for s in suffixes if (folder / (stem + s)).is_file()), None)


def require(folder: Path, stem: str, suffixes: Sequence[str], what: str) -> Path:
    """The file that `find` finds. Raises ConrecError with the folder and the names that would do."""
    if path := find(folder, stem, suffixes):
        return path
    problem = "is not a folder" if folder.exists() else "there is no such folder"
    if folder.is_dir():
        problem = "holds no " + " or ".join(stem + suffix for suffix in suffixes)
    raise ConrecError(f"{folder}: {problem}; --data must be the folder that holds {what}")


def header(path: Path) -> list[str]:
    """Column names of a CSV, TSV or Parquet file."""
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = re.split("[\r\n]", file.read(LONGEST).decode("utf-8-sig", "replace").lstrip("\r\n"), maxsplit=1)[0]
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None
    if "\0" in first:
        raise ConrecError(f"{path}: is not UTF-8 text (UTF-16, or a spreadsheet?); save it as CSV in UTF-8")
    if not first.strip():
        raise ConrecError(f"{path}: is empty; expected a first line with the names of the columns")
    names = next(csv.reader([first], delimiter=_delimiter(path)))
    for other in ";\t|,":
        if len(names) == 1 and other in first:
            raise ConrecError(f"{path}: its cells are separated by {other!r}; write .csv with commas or .tsv with tabs")
    return names


def read(path: Path, columns: Iterable[str], hint: str = "") -> Raw:
    """The named columns of a CSV, TSV (by the file's name; `.gz` as well) or Parquet file.

    Text files give strings (an empty cell is ""). `hint` ends the error about a missing column. Raises ConrecError
    for a file that cannot be read or lacks one of the columns.
    """
    have = header(path)
    columns = list(dict.fromkeys(columns))
    for name in columns:
        if have.count(name) != 1:
            problem = "no column" if name not in have else "several columns"
            raise ConrecError(f"{path}: {problem} {name!r}; the columns are: {', '.join(have)}{hint}")
    if path.suffix == ".parquet":
        try:
            return Raw(path, pq.read_table(path, columns=columns))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    lines, raw = _count_lines(path), None
    with contextlib.suppress(ConrecError):  # of a row that is too long; all else comes up again
        raw = _read_text(path, path, columns)
    if raw is None or lines != 1 + raw.table.num_rows + len(raw.lost):
        # Some rows take several lines: by right, or because a quote is not closed.
        with tempfile.TemporaryFile() as file:
            file.writelines(_sound_lines(path, _delimiter(path), len(have)))
            file.seek(0)
            raw = _read_text(path, file, columns)
    return raw


def read_pattern(path: Path, pattern: str, names: Sequence[str], fallback: str = "utf-8") -> Raw:
    """A text file without header, one row a line, whose named groups of `pattern` (RE2) become the columns.

    A line that does not match counts as ragged. Bytes are UTF-8; a file that is not is read as `fallback`.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode(fallback, "replace")
    lines = pc.list_flatten(pc.split_pattern(pa.array([text.replace("\r\n", "\n")], pa.large_string()), "\n"))
    lines = lines.filter(pc.not_equal(lines, ""))
    found = pc.extract_regex(lines, pattern)
    matched = pc.is_valid(found)
    if not len(lines):
        raise ConrecError(f"{path}: is empty; expected rows with {', '.join(names)}")
    if not pc.any(matched).as_py():
        raise ConrecError(f"{path}: no line is of the form {'::'.join(names)}; is this the right file?")
    columns = [pa.chunked_array([pc.struct_field(found, name).filter(matched).cast(pa.string())]) for name in names]
    lost = dict.fromkeys((1 + np.flatnonzero(pc.invert(matched))).tolist(), RAGGED)
    return Raw(path, pa.table(columns, names=list(names)), lost)


def _read_text(path: Path, source: Path | IO[bytes], columns: list[str]) -> Raw:
    """Text columns of a delimited file, out of `source`; what cannot become a row is skipped and noted."""
    lost: dict[int, str] = {}

    def skip(row: pacsv.InvalidRow) -> str:
        lost[row.number - 1] = QUOTE if row.text.startswith(QUOTE) else RAGGED
        return "skip"

    # Multi-line cells are legal CSV; quotes mean nothing in the middle of a cell.
    parse = pacsv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True, invalid_row_handler=skip)
    convert = pacsv.ConvertOptions(
        include_columns=columns,
        column_types={name: pa.binary() for name in columns},
        strings_can_be_null=False,
    )
    try:
        table = pacsv.read_csv(source, pacsv.ReadOptions(use_threads=False, block_size=LONGEST), parse, convert)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    texts = []
    for name, column in zip(columns, table.columns):
        try:
            texts.append(column.cast(pa.string()))
        except pa.ArrowInvalid:
            say(f"{path}: column {name}: not all of it is UTF-8, and such bytes are replaced; save the file as UTF-8")
            texts.append(
                pa.chunked_array([[cell.decode(errors="replace") for cell in column.to_pylist()]], pa.string())
            )
    return Raw(path, pa.table(texts, names=columns), lost)


def _count_lines(path: Path) -> int:
    """The number of lines that are not empty."""
    count, last = 0, b"\n"
    try:
        with pa.input_stream(path) as file:
            while block := file.read(1 << 18):
                code = np.frombuffer(last + block, np.uint8)
                ends = (code == 10) | (code == 13)
                count += int((ends[1:] & ~ends[:-1]).sum())
                last = block[-1:]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    return count + (last not in b"\r\n")


def _sound_lines(path: Path, delimiter: str, cells: int) -> Iterator[bytes]:
    """The lines of the file, in large pieces; a line of too many cells stands for each with a wrong quote.

    A cell in quotes may go over several lines. Its quote is wrong where it is never closed, where it is closed in the
    middle of a cell, and where one of the further lines has a usual row's numbers in its places.
    """
    d = re.escape(delimiter)
    cell = rf'(?:"(?:[^"\n]++|"")*+"[^{d}\n]*+|"(?:[^"]++|"")*+"(?=[{d}\n])|[^"{d}\n][^{d}\n]*+|)'
    row = re.compile(rf"{cell}(?:{d}{cell})*+\n")
    begin, at, ended = 0, 0, False
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as binary:
        file = io.TextIOWrapper(binary, "latin-1")  # whatever the encoding, its bytes are kept
        text = file.read(LONGEST) + file.readline()
        plain = [_shape(line, delimiter) for line in text.split("\n")[1:1000] if '"' not in line]
        usual = {shape for shape, n in Counter(plain).items() if any(shape) and n > max(1, len(plain) // 20)}
        while not ended or at < len(text):
            if not ended and len(text) - at <= LONGEST:
                yield text[begin:at].encode("latin-1")
                more = file.read(2 * LONGEST) + file.readline()
                text, begin, at, ended = text[at:] + (more or "\n"), 0, 0, not more
            quote = text.find('"', at)
            at = (text.rfind("\n", at, quote) + 1 or at) if quote >= 0 else len(text)
            if quote < 0 or (not ended and len(text) - at <= LONGEST):
                continue
            found = row.match(text, at, at + LONGEST)
            further = found.group().split("\n")[1:-1] if found else ()
            if found and not any(_shape(line, delimiter) in usual for line in further):
                at = found.end()
                continue
            yield text[begin:at].encode("latin-1") + (QUOTE + delimiter * cells).encode()
            begin = at = text.find("\n", at)
        yield text[begin:].encode("latin-1")


def _shape(line: str, delimiter: str) -> tuple[str, ...]:
    """What kinds of characters the cells have that have digits, and nothing for the others."""
    cells = line.replace('"', "").split(delimiter)
    shapes = (re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell)) for cell in cells)
    return tuple(shape if "0" in shape else "" for shape in shapes)


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _unreadable(path: Path, error: BaseException) -> ConrecError:
    if not path.exists():
        return ConrecError(f"{path}: there is no such file")
    if "straddling" in str(error):
        return ConrecError(f"{path}: has a row of more than {LONGEST >> 20} MB; shorten it, or look for an open quote")
    detail = " ".join(str(error).split())[:200]
    return ConrecError(f"{path}: cannot be read ({detail}); is it complete and of the type its name says?")
