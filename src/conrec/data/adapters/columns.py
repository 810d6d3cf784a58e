"""Cells to values: ids, numbers, times and titles, and the sieve that accounts for the rows where that fails.

Every parser returns the parsed column and a mask (bool [rows]) of the rows it could not parse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.data.adapters.files import Raw
from conrec.data.schema import TIME, Accounting
from conrec.errors import ConrecError

TOLERATED = 0.01
"""A log in which a larger share of the rows is unusable is probably not the log that was meant."""

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years 1 and 9999: what a date can say."""


class Sieve:
    """The rows of one file that cannot be used: few are dropped by cause, many are an error."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.bad = np.zeros(raw.table.num_rows, dtype=bool)
        self.causes: Counter[str] = Counter()
        self.first: tuple[int, str] | None = None
        if raw.ragged:
            self.causes["wrong number of cells"] = len(raw.ragged)
            self.first = (raw.ragged[0], "has the wrong number of cells")

    def reject(self, mask: np.ndarray, cause: str, column: str) -> None:
        """Mark rows; a row that is marked already keeps its first cause."""
        new = mask & ~self.bad
        if not new.any():
            return
        position = int(np.argmax(new))
        row = self.raw.row(position)
        if self.first is None or row < self.first[0]:
            value = self.raw.table[column][position].as_py()
            self.first = (row, f"{column} = {value!r}: {cause}")
        self.causes[cause] += int(new.sum())
        self.bad |= new

    def parsed(self, parse: Callable[..., tuple[Any, np.ndarray]], column: str, cause: str, **options: Any) -> Any:
        """What one of this module's parsers makes of a column; the rows that it could not parse are marked."""
        values, bad = parse(self.raw.table[column], **options)
        self.reject(bad, cause, column)
        return values

    def keep(self, account: Accounting) -> np.ndarray:
        """bool [rows] of the usable rows, after adding every row of the file to the account."""
        total = len(self.bad) + len(self.raw.ragged)
        lost = self.causes.total()
        if lost and lost >= TOLERATED * total:
            assert self.first is not None
            row, complaint = self.first
            raise ConrecError(
                f"{self.raw.path}: row {row}: {complaint}; {lost} of {total} rows cannot be used "
                f"(fewer than {TOLERATED:.0%} would be left out): mend the file"
            )
        account.read += total
        for cause, rows in self.causes.items():
            account.drop(cause, rows)
        return ~self.bad

    def keep_listed(self, account: Accounting) -> np.ndarray:
        """bool [rows] of the usable rows, after adding the dropped rows alone to the account.

        The others are counted where they are fitted to the log (`item_list.fit`).
        """
        own = Accounting()
        keep = self.keep(own)
        account.read += own.dropped.total()
        account.dropped += own.dropped
        return keep


def ids(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Identifiers as text without surrounding blanks; a missing one is bad.

    pandas turns whole numbers with gaps into floats and the gaps into NaN; here they are whole and missing again, where
    all are such as a float holds exactly.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        if pc.all(whole).as_py() is not False:
            column = column.cast(pa.int64())
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return text, mask(pc.or_kleene(pc.is_null(text), pc.equal(text, "")))


def numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """float64; an empty cell is null and not bad, anything else that is no finite number is bad."""
    if is_text(column.type):
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        text = pc.if_else(pc.equal(text, ""), None, text)
        fits = pc.match_substring_regex(text, _NUMBER)
        bad = mask(pc.invert(fits))
        values = pc.if_else(fits, text, None).cast(pa.float64())
    else:
        values, bad = column.cast(pa.float64()), np.zeros(len(column), dtype=bool)
    # NaN is how pandas writes "nothing" into a column of numbers; no text is parsed to it.
    return pc.if_else(pc.is_finite(values), values, None), bad | mask(pc.is_inf(values))


def flags(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """bool [rows] from 0/1, true/false or an empty cell (false); anything else is bad."""
    text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    text = pc.fill_null(text, "")
    yes = mask(pc.is_in(text, pa.array(["1", "1.0", "true"])))
    no = mask(pc.is_in(text, pa.array(["0", "0.0", "false", "", "nan"])))
    return yes, ~(yes | no)


def times(column: pa.ChunkedArray, per_second: int | None = None) -> tuple[pa.ChunkedArray, np.ndarray]:
    """timestamp[us, UTC] from timestamps, dates, Unix times or ISO 8601 text (without a zone: UTC).

    `per_second` is the unit of a Unix time (1: seconds, 1000: milliseconds ...); without it the size of the
    column's median tells. A missing time is bad.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        if pa.types.is_date(column.type) or column.type.tz is None:
            column = column.cast(pa.timestamp("us"), safe=False)
        values = column.cast(TIME, safe=False)
        return values, mask(pc.is_null(values))
    parsed, bad = numbers(column)
    seconds = parsed.to_numpy()
    if is_text(column.type) and bad.sum() > (~np.isnan(seconds)).sum():
        return _iso(column)
    bad |= np.isnan(seconds)
    if per_second is None:
        usual = np.median(np.abs(seconds[~bad])) if not bad.all() else 0.0
        per_second = next(u for u, top in ((1, 1e11), (1000, 1e14), (10**6, 1e17), (10**9, np.inf)) if usual < top)
    micro = np.round(np.where(bad, 0.0, seconds) * (1e6 / per_second))
    bad |= (micro < _EARLIEST) | (micro > _LATEST)
    whole = np.where(bad, 0, micro).astype(np.int64)
    return pa.chunked_array([pa.array(whole, mask=bad).cast(pa.timestamp("us")).cast(TIME)]), bad


def early(values: pa.ChunkedArray, before: datetime) -> np.ndarray:
    """bool [rows]: earlier than the moment; false where there is no time."""
    return mask(pc.less(values, pa.scalar(before, TIME)))


def titles(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as it is, but for control characters (line breaks, tabs, NUL), which become single blanks.

    An empty text is null.
    """
    text = pc.replace_substring_regex(column.cast(pa.string()), r"\p{Cc}+", " ")
    return blank_to_null(pc.utf8_trim_whitespace(text))


def blank_to_null(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Empty strings as nulls."""
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def mask(column: pa.ChunkedArray) -> np.ndarray:
    """A boolean column as numpy; null is false."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=bool)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings, in whichever encoding."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _iso(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """ISO 8601 text, cell by cell."""
    moments: list[datetime | None] = []
    for cell in column.cast(pa.string()).to_pylist():
        try:
            moment = datetime.fromisoformat((cell or "").strip())
            moments.append(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            moments.append(None)
    values = pa.chunked_array([pa.array(moments, TIME)])
    return values, mask(pc.is_null(values))
