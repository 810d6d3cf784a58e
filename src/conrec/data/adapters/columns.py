"""Cells to values: ids, numbers, times and titles, and the sieve that accounts for the rows where that fails.

Every parser returns the parsed column and a mask (bool [rows]) of the rows it could not parse.
"""

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.data.adapters.files import Raw
from conrec.data.schema import MAX_ID_BYTES, TIME, Accounting, same_type
from conrec.errors import ConrecError
from conrec.progress import say

TOLERATED, FEW = 0.01, 5
"""A log with a larger share of unusable rows, and more than a few, is probably not the log that was meant."""

NOTHING = pa.array(["", "null", "none", "nan", "nat", "<na>", "n/a", "#n/a", "\\n", "(null)", "undefined"])
"""How software writes that a cell is empty, in lower case."""
NO_TEXT = pa.array(["", "NULL", "nan", "NaN", "<NA>", "\\N"])
"""The same for titles and attributes, which may well be words such as "none"."""
LONGEST_TEXT = 2000
"""Characters of a title or an attribute that are kept: more than any use of it reads, and tokenising is quadratic."""

_ROUNDED = r"^[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
"""How a spreadsheet writes a long number, of which it has lost the last digits."""
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years 1 and 9999: what a date can say."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEN_YEARS = 3652 * 86_400_000_000


class Sieve:
    """The rows of one file that cannot be used: few are dropped by cause, many are an error."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.bad = np.zeros(raw.table.num_rows, dtype=bool)
        self.rows: dict[str, list[int]] = {}
        for row, cause in raw.lost.items():
            self.rows.setdefault(cause, []).append(row)
        self.first = next(iter(raw.lost.items()), None)

    def reject(self, mask: np.ndarray, cause: str, column: str) -> None:
        """Mark rows; a row that is marked already keeps its first cause."""
        new = np.flatnonzero(mask & ~self.bad)
        if not len(new):
            return
        rows = self.raw.numbers[new].tolist()
        if self.first is None or rows[0] < self.first[0]:
            value = repr(self.raw.table[column][int(new[0])].as_py())
            self.first = (rows[0], f"{column} = {value if len(value) < 80 else value[:80] + '...'}: {cause}")
        self.rows.setdefault(cause, []).extend(rows)
        self.bad[new] = True

    def parsed(self, parse: Callable[..., tuple[Any, np.ndarray]], column: str, cause: str, **options: Any) -> Any:
        """What one of this module's parsers makes of a column; the rows that it could not parse are marked."""
        cells = self.raw.table[column]
        try:
            values, bad = parse(cells, **options)
        except pa.ArrowException:
            raise ConrecError(f"{self.raw.path}: column {column} is of the type {cells.type}: {cause}") from None
        self.reject(bad, cause, column)
        return values

    def ids(self, column: str, what: str) -> pa.ChunkedArray:
        """The ids of a `what`, user or item; rows without a usable one are marked."""
        found: pa.ChunkedArray = self.parsed(words, column, f"no {what} id")
        self.reject(_empty(found), f"no {what} id", column)
        cause = f"{what} id longer than {MAX_ID_BYTES} bytes, no UTF-8 text, or a number that was rounded"
        self.reject(_no_id(found), cause, column)
        return found

    def unix_times(self, column: str, cause: str, per_second: int, begin: datetime) -> pa.ChunkedArray:
        """Unix times in this unit; rows without one, or with one before `begin`, are marked."""
        found: pa.ChunkedArray = self.parsed(times, column, cause, per_second=per_second)
        self.reject(mask(pc.less(found, pa.scalar(begin, TIME))), f"time before {begin.year}", column)
        return found

    def keep(self, account: Accounting, listed: bool = False) -> np.ndarray:
        """bool [rows] of the usable rows, after adding every row of the file to the account.

        `listed`: only the dropped ones; the others are counted where they are fitted to the log (`item_list.fit`).
        """
        total = len(self.bad) + len(self.raw.lost)
        lost = sum(map(len, self.rows.values()))
        broken = lost - len(self.rows.get("no user id", ()))  # nobody was signed in: that may be many rows
        if (broken >= TOLERATED * total and broken > FEW) or 2 * lost >= total > 0:
            assert self.first is not None
            row, complaint = self.first
            raise ConrecError(
                f"{self.raw.path}: row {row}: {complaint}; {lost} of {total} rows cannot be used "
                f"(fewer than {TOLERATED:.0%} would be left out): mend the file"
            )
        if lost:
            causes = ", ".join(f"{cause} ({len(rows)}, first row {rows[0]})" for cause, rows in self.rows.items())
            say(f"{self.raw.path}: {lost} of {total} rows cannot be used and are left out: {causes}")
        account.read += lost if listed else total
        for cause, rows in self.rows.items():
            places = {"file": [str(self.raw.path)] * len(rows), "row": rows, "values": self._values(rows)}
            account.reject(cause, pa.table(places))
        return ~self.bad

    def _values(self, rows: list[int]) -> pa.MapArray:
        """map<str, str>: what stands in these rows, all in the table or all not: cells by column, or the `line`."""
        if rows[0] in self.raw.lost:
            cells = {"line": pa.chunked_array([[self.raw.lines.get(row) for row in rows]], pa.string())}
        else:
            table = self.raw.table.take(pa.array(np.searchsorted(self.raw.numbers, rows)))
            plain = {name: table[name] for name in table.column_names if is_plain(table[name].type)}
            cells = {name: column.cast(pa.string()) for name, column in plain.items()}
        return attributes({name: pc.utf8_slice_codeunits(text, 0, LONGEST_TEXT) for name, text in cells.items()})


def words(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Codes and names as text without surrounding blanks; a missing one is bad.

    pandas turns whole numbers with gaps into floats and the gaps into NaN; here they are whole and missing again. A
    number beyond those that such a float holds exactly has lost its last digits, and becomes no text (U+FFFD).
    """
    if pa.types.is_floating(column.type):
        exact = pc.less(pc.abs(column), 2.0 ** {16: 11, 32: 24, 64: 53}[column.type.bit_width])
        column = pc.if_else(pc.is_finite(column), column, None)
        kept = pc.if_else(exact, column, None)
        whole = pc.all(pc.equal(pc.floor(kept), kept)).as_py() is not False
        text = kept.cast(pa.int64() if whole else column.type).cast(pa.string())
        column = pc.if_else(pc.and_(pc.invert(exact), pc.is_valid(column)), "\ufffd", text)
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return text, mask(pc.or_kleene(pc.is_null(text), pc.equal(text, "")))


def numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """float64; an empty cell is null and not bad, anything else that is no finite number is bad."""
    if same_type(column.type, pa.string()):
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        fits = pc.match_substring_regex(text, _NUMBER)
        bad = mask(pc.invert(fits)) & ~_empty(text)
        values = pc.if_else(fits, text, None).cast(pa.float64())
    else:
        values, bad = column.cast(pa.float64(), safe=False), np.zeros(len(column), dtype=bool)
    # NaN is how pandas writes "nothing" into a column of numbers; no text is parsed to it.
    return pc.if_else(pc.is_finite(values), values, None), bad | mask(pc.is_inf(values))


def flags(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """bool [rows] from 0/1, true/false or an empty cell (false); anything else is bad."""
    text = pc.fill_null(pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string()))), "")
    yes = mask(pc.is_in(text, pa.array(["1", "1.0", "true"])))
    no = mask(pc.is_in(text, pa.array(["0", "0.0", "false", "", "nan"])))
    return yes, ~(yes | no)


def times(column: pa.ChunkedArray, per_second: int | None = None) -> tuple[pa.ChunkedArray, np.ndarray]:
    """timestamp[us, UTC] from timestamps, dates, Unix times, ISO 8601 text (without a zone: UTC) or digits (20260601).

    `per_second` is the unit of a Unix time (1: seconds, 1000: milliseconds ...); without it the size of each tells.
    A missing time is bad.
    """
    if same_type(column.type, pa.string()) or pa.types.is_boolean(column.type):  # true is no time, and not 1 s
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        # Where all cells have one form, many times faster than one by one.
        for form in (TIME, pa.timestamp("us")) if len(column) and "-" in (column[0].as_py() or "") else ():
            with contextlib.suppress(pa.ArrowInvalid):
                column = column.cast(form)
                break
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        if pa.types.is_date(column.type) or column.type.tz is None:
            column = column.cast(pa.timestamp("us"), safe=False)
        column = column.cast(TIME, safe=False)
        micro, bad = column.cast(pa.int64()).fill_null(0).to_numpy(), mask(pc.is_null(column))
    else:
        parsed, no_number = numbers(column)
        micro, bad = _unix(parsed.to_numpy(), per_second)
        cells = column.filter(pa.array(no_number)).to_pylist()
        micro[no_number], bad[no_number] = np.array([_iso(cell) for cell in cells], np.int64).reshape(-1, 2).T
    bad |= (micro < _EARLIEST) | (micro > _LATEST)
    return pa.chunked_array([pa.array(micro, mask=bad).cast(pa.timestamp("us")).cast(TIME)]), bad


def stray(values: pa.ChunkedArray) -> np.ndarray:
    """bool [rows]: more than ten years lie between this time and most others, as if it were 0 or of another unit."""
    micro = values.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy()
    moments = micro[~np.isnan(micro)]
    if not len(moments) or np.ptp(moments) < _TEN_YEARS:
        return np.zeros(len(micro), bool)
    moments.sort()
    gaps, middle = np.flatnonzero(np.diff(moments) > _TEN_YEARS), len(moments) // 2
    first, last = gaps[gaps < middle].max(initial=-1) + 1, gaps[gaps >= middle].min(initial=len(moments) - 1)
    return np.asarray((micro < moments[first]) | (micro > moments[last]))


def known_times(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """`times` that may be missing: what is none, or of another age than most, is said and becomes null."""
    values, bad = times(column)
    bad = (bad & ~_empty(column.cast(pa.string()))) | stray(values)
    if bad.any():
        say(f"{where}: {bad.sum()} of {len(bad)} are no times, or ten years from all others, and count as empty")
    return pc.if_else(pa.array(bad), pa.scalar(None, TIME), values)


def titles(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as it is, but cut to LONGEST_TEXT, and control characters (line breaks, tabs, NUL) as single blanks.

    An empty text is null.
    """
    text = pc.replace_substring_regex(column.cast(pa.string()), r"\p{Cc}+", " ")
    return blank_to_null(pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(text), 0, LONGEST_TEXT))


def attributes(columns: dict[str, pa.ChunkedArray]) -> pa.MapArray:
    """map<str, str> [rows] of the named text columns, nulls left out."""
    cells = np.array([column.to_pylist() for column in columns.values()], dtype=object).T
    there = np.not_equal(cells, np.array(None, dtype=object))
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    names = np.broadcast_to(np.array(list(columns), dtype=object), cells.shape)
    keys, values = pa.array(names[there], pa.string()), pa.array(cells[there], pa.string())
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)


def blank_to_null(text: pa.ChunkedArray, blanks: pa.Array = NO_TEXT) -> pa.ChunkedArray:
    """Empty strings, and what stands for them, as nulls."""
    return pc.if_else(pc.is_in(text, blanks), pa.scalar(None, pa.string()), text)


def mask(column: pa.ChunkedArray) -> np.ndarray:
    """A boolean column as numpy; null is false."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=bool)


def is_plain(kind: pa.DataType) -> bool:
    """Whether cells of the type are one text or number each."""
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _empty(text: pa.ChunkedArray) -> np.ndarray:
    """bool [rows]: a cell of text is missing, or says so."""
    return mask(pc.or_(pc.is_null(text), pc.is_in(pc.ascii_lower(text), NOTHING)))


def _no_id(text: pa.ChunkedArray) -> np.ndarray:
    """bool [rows]: an id that is too long, no text, or a rounded number.

    Of bytes that are no UTF-8 only the replacement character is left, so that different ids look alike, as rounded ones
    do; and NUL ends a text in numpy.
    """
    bad = mask(pc.or_(pc.greater(pc.binary_length(text), MAX_ID_BYTES), pc.match_substring_regex(text, _ROUNDED)))
    for part in ("\0", "\ufffd"):
        # Looking into the bytes of all ids at once takes no time.
        if any(part.encode() in chunk.buffers()[2].to_pybytes() for chunk in text.chunks if len(chunk)):
            bad |= mask(pc.match_substring(text, part))
    return bad


def _iso(cell: str | None) -> tuple[int, bool]:
    """ISO 8601 text, also with slashes or a zone called UTC, in microseconds; and whether it is something else."""
    text = re.sub(r"\s*(Etc/)?(UTC|GMT)$|(?<=[+-]\d{4})\s+[A-Z]{3,5}$", "", (cell or "").strip())
    text = re.sub(r"\s+(?=[+-]\d{2}:?\d{2}$)", "", text).replace("/", "-")
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1), False
    except (ValueError, OverflowError):
        return 0, True


def _unix(values: np.ndarray, per_second: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Unix times float64 [n] as microseconds int64 [n], and where there is none; dates in digits are read as such."""
    bad = np.isnan(values)
    if per_second is None and (dates := _dates(values, bad)) is not None:
        return np.array(dates.fill_null(0)), np.array(dates.is_null())
    size = np.abs(values)
    factor = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], 1e-3)
    micro = np.round(np.where(bad, 0.0, values) * (1e6 / per_second if per_second else factor))
    return np.clip(micro, 2 * _EARLIEST, 2 * _LATEST).astype(np.int64), bad


def _dates(values: np.ndarray, missing: np.ndarray) -> pa.Array | None:
    """Numbers such as 20260601 or 20260601123000 (from the year alone to the second) as microseconds, null for any
    other; None unless most are such numbers."""
    usual = "" if missing.all() else f"{np.median(values[~missing]):.0f}"
    if len(usual) not in (4, 6, 8, 10, 12, 14) or usual[:2] not in ("19", "20"):
        return None
    digits = pa.array(np.where(missing, 0, values)).cast(pa.int64(), safe=False).cast(pa.string())
    moments = pc.strptime(digits, format="%Y%m%d%H%M%S"[: len(usual) - 2], unit="us", error_is_null=True)
    moments = pc.if_else(pc.equal(pc.utf8_length(digits), len(usual)), moments, None).cast(pa.int64())
    return moments if 2 * moments.null_count < len(values) + missing.sum() else None
