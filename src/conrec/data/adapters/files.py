"""Tables out of files: CSV, TSV, RecBole's `.inter` and `.item`, `::`-separated text, JSON lines, Parquet and queries.

Nothing is interpreted here: cells of text stay text (`columns` parses them), Parquet and queries keep their own types.
Lines that cannot become a row (the wrong number of cells, a quote that is not closed) are kept for the account.
"""

import codecs
import contextlib
import csv
import gzip
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from conrec.data.adapters import json_lines, sql
from conrec.errors import ConrecError
from conrec.progress import say

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
RECBOLE, JSON = (".inter", ".item"), (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet", *JSON, *RECBOLE, ".sql")
LONGEST = 1 << 22
"""Bytes of a row at most, and of what is read at once."""
RAGGED, QUOTE = "wrong number of cells", "a quote that is not closed"
HIDDEN = "\x1a"
"""Stands for quotes in a line whose quotes are wrong."""
KEPT = 2000
"""Characters of a broken line that are kept."""


@dataclass
class Raw:
    """The rows of one file, as they stand there."""

    path: Path
    table: pa.Table
    lost: dict[int, str] = field(default_factory=dict)
    """Numbers of the rows that are not in the table, ascending, and why."""
    lines: dict[int, str] = field(default_factory=dict)
    """What stands in these rows."""

    @cached_property
    def numbers(self) -> np.ndarray:
        """int64 [rows of the table]: their numbers in the file (from 1, header not counted)."""
        return np.setdiff1d(np.arange(1, self.table.num_rows + len(self.lost) + 1), list(self.lost))


def find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The first of `stem` + suffix that is a file in the folder."""
    return next((folder / (stem + s) for s in suffixes if (folder / (stem + s)).is_file()), None)


def find_all(folder: Path, stem: str) -> list[Path]:
    """The table of that name in the folder, else all `stem-*` or `stem_*`, or below the folder `stem`; or RecBole's."""
    if one := find(folder, stem, TABLE_SUFFIXES):
        return [one]
    patterns = (f"{stem}[-_.]*", f"{stem}/**/*", "*.inter" if stem == "events" else "*.item")
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.name.endswith(TABLE_SUFFIXES)}
    found = {path for path in found if path.is_file() and path.name[0] not in "._"}
    if found:
        say(f"{folder}: {stem} are read from {listing(sorted(path.relative_to(folder).as_posix() for path in found))}")
    return sorted(found)


def require(folder: Path, stem: str, suffixes: Sequence[str], what: str) -> Path:
    """The file that `find` finds. Raises ConrecError with the folder and the names that would do."""
    if path := find(folder, stem, suffixes):
        return path
    problem = "is not a folder" if folder.exists() else "there is no such folder"
    if folder.is_dir():
        problem = "holds no " + " or ".join(stem + suffix for suffix in suffixes)
    raise ConrecError(f"{folder}: {problem}; --data must be the folder that holds {what}")


def header(path: Path) -> list[str]:
    """Column names of a table: of RecBole's without their type, of other text files without blanks around them."""
    if path.suffix == ".sql":
        return sql.query(path).column_names
    with _reading(path):
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        if path.name.endswith(JSON):
            if keys := _keys(path, path.stat().st_mtime_ns):
                return keys
            raise ConrecError(f"{path}: holds no JSON objects; expected one a line")
    end = ":" if path.suffix in RECBOLE else "\n"
    return [name.split(end)[0].strip() for name in _layout(path)[0]]


def read(path: Path, columns: Iterable[str], hint: str = "") -> Raw:
    """The named columns of a table (its type is told by the file's name).

    Text files give strings (an empty cell is ""). `hint` ends the error about a missing column. Raises ConrecError
    for a file that cannot be read or lacks one of the columns.
    """
    have = header(path)
    columns = list(dict.fromkeys(columns))
    for name in columns:
        if have.count(name) != 1:
            problem = "no column" if name not in have else "several columns"
            raise ConrecError(f"{path}: {problem} {name!r}; the columns are: {listing(have)}{hint}")
    if path.suffix == ".sql":
        return Raw(path, sql.query(path, columns))
    with _reading(path):
        if path.suffix == ".parquet":
            return Raw(path, pq.read_table(path, columns=columns))
        if path.name.endswith(JSON):
            with _open(path) as file:
                table, broken = json_lines.read(file, columns)
            return Raw(path, table, dict.fromkeys(broken, json_lines.BROKEN), broken)
    (names, delimiter), (lines, sound), raw = _layout(path), _survey(path), None
    wanted = {name: names[have.index(name)] for name in columns}
    if sound:
        with contextlib.suppress(ConrecError):  # of a row that is too long; all else comes up again
            raw = _read_text(path, path, wanted, delimiter, len(have))
    else:
        say(f"{path}: not all of it is UTF-8, and such bytes are replaced; save the file as UTF-8")
    if raw is None or lines != 1 + raw.table.num_rows + len(raw.lost):
        # Some rows take several lines: by right, or because a quote is not closed.
        with tempfile.TemporaryFile() as file:
            pieces = _sound_lines(path, delimiter, len(have))
            file.writelines(piece.decode(errors="replace").encode() for piece in pieces)
            file.seek(0)
            raw = _read_text(path, file, wanted, delimiter, len(have))
    return raw


def listing(names: Iterable[str]) -> str:
    """Names in a message of one line."""
    return _printable(", ".join(names), 500)


def read_pattern(path: Path, pattern: str, names: Sequence[str], fallback: str = "utf-8") -> Raw:
    """A text file without header, one row a line, whose named groups of `pattern` (RE2) become the columns.

    A line that does not match counts as ragged. Bytes are UTF-8; a file that is not is read as `fallback`.
    """
    with _reading(path), _open(path) as file:
        content = file.read()
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
    rows = (1 + np.flatnonzero(pc.invert(matched))).tolist()
    rest = pc.utf8_slice_codeunits(lines.filter(pc.invert(matched)), 0, KEPT).to_pylist()
    return Raw(path, pa.table(columns, names=list(names)), dict.fromkeys(rows, RAGGED), dict(zip(rows, rest)))


@lru_cache(16)
def _keys(path: Path, changed: int) -> list[str]:
    """The keys in JSON lines, of which all must be read, as they were when the file was changed last."""
    with _open(path) as file:
        return json_lines.keys(file)


def _printable(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:most]) + ("..." if len(text) > most else "")


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _layout(path: Path) -> tuple[list[str], str]:
    """The names in a text file's first line, as they stand there, and what separates them."""
    usual = "," if ".csv" in path.suffixes else "\t"
    with _reading(path), _open(path) as file:
        first = re.split("[\r\n]", file.read(LONGEST).decode("utf-8-sig", "replace").lstrip("\r\n"), maxsplit=1)[0]
        if "\0" in first:
            raise ConrecError(f"{path}: is not UTF-8 text (UTF-16, or a spreadsheet?); save it as CSV in UTF-8")
        if not first.strip():
            raise ConrecError(f"{path}: is empty; expected a first line with the names of the columns")
        delimiter = usual if usual in first else max((usual, *",;\t|"), key=first.count)
        return next(csv.reader([first], delimiter=delimiter)), delimiter


def _read_text(path: Path, source: Path | IO[bytes], names: dict[str, str], delimiter: str, cells: int) -> Raw:
    """Columns of a delimited file, out of `source`, whose `names` there are the values; what cannot become a row is
    skipped and noted."""
    raw = Raw(path, pa.table({}))
    broken = QUOTE + delimiter * cells

    def skip(row: pacsv.InvalidRow) -> str:
        quote = row.text.startswith(broken)
        raw.lost[row.number - 1] = QUOTE if quote else RAGGED
        raw.lines[row.number - 1] = (row.text.removeprefix(broken).replace(HIDDEN, '"') if quote else row.text)[:KEPT]
        return "skip"

    # Multi-line cells are legal CSV; quotes mean nothing in the middle of a cell.
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip)
    convert = pacsv.ConvertOptions(
        include_columns=names.values(),
        column_types={name: pa.string() for name in names.values()},
        strings_can_be_null=False,
    )
    with _reading(path):
        table = pacsv.read_csv(source, pacsv.ReadOptions(use_threads=False, block_size=LONGEST), parse, convert)
    raw.table = table.rename_columns(list(names))
    return raw


def _survey(path: Path) -> tuple[int, bool]:
    """The number of lines that are not empty, and whether all is UTF-8."""
    count, last, sound, block = 0, b"\n", True, b"\n"
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _reading(path), pa.input_stream(path) as file:
        while block:
            block = file.read(1 << 18)
            try:
                decoder.decode(block if sound else b"", final=not block)
            except UnicodeDecodeError:
                sound = False
            code = np.frombuffer(last + block, np.uint8)
            ends = (code == 10) | (code == 13)
            count += int((ends[1:] & ~ends[:-1]).sum())
            last = block[-1:] or last
    return count + (last not in b"\r\n"), sound


def _sound_lines(path: Path, delimiter: str, cells: int) -> Iterator[bytes]:
    """The lines of the file, in large pieces; a line of too many cells stands for each with a wrong quote.

    A cell in quotes may go over several lines. Its quote is wrong where it is never closed, where it is closed in the
    middle of a cell, and where one of the further lines has a usual row's numbers in its places.
    """
    d = re.escape(delimiter)
    cell = rf'(?:"(?:[^"\n]++|"")*+"[^{d}\n]*+|"(?:[^"]++|"")*+"(?=[{d}\n])|[^"{d}\n][^{d}\n]*+|)'
    row = re.compile(rf"{cell}(?:{d}{cell})*+\n")
    begin, at, ended = 0, 0, False
    with _open(path) as binary:
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
            end = text.find("\n", at)
            line = QUOTE + delimiter * cells + text[at : min(end, at + KEPT)].replace('"', HIDDEN)
            yield (text[begin:at] + line).encode("latin-1")
            begin = at = end
        yield text[begin:].encode("latin-1")


def _shape(line: str, delimiter: str) -> tuple[str, ...]:
    """What kinds of characters the cells have that have digits, and nothing for the others."""
    cells = line.replace('"', "").split(delimiter)
    shapes = (re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell)) for cell in cells)
    return tuple(shape if "0" in shape else "" for shape in shapes)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong inside, as a ConrecError about the file."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, ValueError, csv.Error) as error:
        if not path.exists():
            raise ConrecError(f"{path}: there is no such file") from None
        if "straddling" in str(error):
            told = f"has a row of more than {LONGEST >> 20} MB; shorten it, or look for an open quote"
            raise ConrecError(f"{path}: {told}") from None
        told = _printable(" ".join(str(error).split()), 200)
        raise ConrecError(f"{path}: cannot be read ({told}); is it complete and of the type its name says?") from None
