"""JSON lines: an object a line, whose values become text as in a CSV file (numbers to their last digit, null empty)."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

import msgspec
import pyarrow as pa

BROKEN = "no JSON object"
BLOCK = 1 << 16
"""Lines that become one piece of the table."""
OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
NOT_ONE = (msgspec.DecodeError, UnicodeDecodeError)


def keys(file: IO[bytes]) -> list[str]:
    """The keys of all objects (the last one may be the first with a reason), in the order of their first use."""
    found: dict[str, None] = {}
    for line in _lines(file):
        with contextlib.suppress(*NOT_ONE):
            found |= dict.fromkeys(OBJECT.decode(line))
    return list(found)


def read(file: IO[bytes], columns: Sequence[str]) -> tuple[pa.Table, dict[int, str]]:
    """The table of these keys (text; one that an object lacks is ""), and the lines that are no object, by number."""
    schema, pieces, broken = pa.schema([(name, pa.string()) for name in columns]), [], dict[int, str]()
    lines = enumerate(_lines(file), 1)
    while block := list(islice(lines, BLOCK)):
        rows = []
        for number, line in block:
            try:
                cells = OBJECT.decode(line)
                rows.append([_text(bytes(cells.get(name, b"null"))) for name in columns])
            except NOT_ONE:
                broken[number] = line.decode(errors="replace")
        pieces.append(pa.table([[row[n] for row in rows] for n in range(len(columns))], schema=schema))
    return pa.concat_tables([schema.empty_table(), *pieces]), broken


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines that are not empty, without what an editor may put before the first."""
    return filter(None, (line.strip(b"\xef\xbb\xbf \t\r\n") for line in file))


def _text(cell: bytes) -> str:
    text: str = msgspec.json.decode(cell) if cell[:1] == b'"' else cell.decode().removeprefix("null")
    return text
