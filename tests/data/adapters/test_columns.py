"""Cells to values, against the plain Python way of doing it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.adapters import columns
from conrec.data.adapters.files import Raw
from conrec.data.schema import Accounting
from conrec.errors import ConrecError


def chunked(values: list, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """In two chunks, as files are read."""
    return pa.chunked_array([values[:2], values[2:]], kind or pa.string())


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr), st.text("0123456789.+-eE_ xinfa²", max_size=5)
        ),
        max_size=9,
    )
)
def test_numbers_are_what_python_says_they_are(cells: list[str]) -> None:
    values, bad = columns.numbers(chunked(cells))
    for cell, value, is_bad in zip(cells, values.to_pylist(), bad, strict=True):
        text = cell.strip()
        try:
            # Python also takes 1_000, infinity and digits of other scripts; a log that has them is broken.
            want = float(text) if text.isascii() and "_" not in text and np.isfinite(float(text)) else None
        except ValueError:
            want = None
        assert value == want
        assert is_bad == (want is None and text not in ("", "nan"))


@settings(deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.sampled_from([1, 1000, 10**6, 10**9]))
def test_the_unit_of_a_unix_time_is_told_by_its_size(moment: datetime, per_second: int) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    if abs(moment.timestamp()) < 2e8:
        return  # 1970 to 1976 in milliseconds looks like the seconds of a later year
    cell = str(int(moment.timestamp()) * per_second)
    values, bad = columns.times(chunked([cell, "", cell]))
    assert values.to_pylist() == [moment, None, moment]
    assert bad.tolist() == [False, True, False]


@settings(deadline=None)
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-12, 12))
def test_iso_times(moment: datetime, hours: int) -> None:
    zoned = moment.replace(tzinfo=UTC) - timedelta(hours=hours)
    zone = f"{hours:+03d}:00"
    values, bad = columns.times(chunked([moment.isoformat(), moment.isoformat(" ") + zone, "yesterday", ""]))
    assert values.to_pylist() == [moment.replace(tzinfo=UTC), zoned, None, None]
    assert bad.tolist() == [False, False, True, True]


def test_mostly_empty_iso_times() -> None:
    values, bad = columns.times(chunked(["2024-01-01", "", "", "", ""]))
    assert values[0].as_py() == datetime(2024, 1, 1, tzinfo=UTC)
    assert bad.tolist() == [False, True, True, True, True]


JUNE = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cells", "moments"),
    [
        (["20260601", "20260602", "x"], [JUNE, JUNE + timedelta(1), None]),
        (["2026060112", "2026060123"], [JUNE + timedelta(hours=12), JUNE + timedelta(hours=23)]),
        (["20260601120000", "20260601120001"], [JUNE + timedelta(hours=12), JUNE + timedelta(hours=12, seconds=1)]),
        (["202606011230", ""], [JUNE + timedelta(hours=12, minutes=30), None]),
        (["1999", "2026"], [datetime(1999, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]),
        (["20260601", "20261301", "20260602", "20260601", "9"], [JUNE, None, JUNE + timedelta(1), JUNE, None]),
        # Seconds among milliseconds among microseconds among nanoseconds.
        (["1780272000", "1780272000000", "1780272000000000", "1780272000000000000"], [JUNE] * 4),
        (["1780272000", "2026-06-01", "2026/06/01 00:00:00"], [JUNE] * 3),
        (["2026-06-01 00:00:00 UTC", "2026-06-01 00:00:00.000000 UTC", "2026-06-01 00:00:00 GMT"], [JUNE] * 3),
        (["2026-06-01T00:00:00.000000000Z", "2026-06-01T02:00:00+0200"], [JUNE] * 2),
        (["2026-06-01", "NULL", "0000-00-00 00:00:00", "0000-01-01"], [JUNE, None, None, None]),
        (["2026-06-01T00:00:00Z", "None", ""], [JUNE, None, None]),
        (["1900000000", "1900000001"], [datetime.fromtimestamp(1_900_000_000 + n, UTC) for n in (0, 1)]),
        (["3", "1", "2"], [datetime.fromtimestamp(n, UTC) for n in (3, 1, 2)]),
    ],
)
def test_forms_of_times(cells: list[str], moments: list[datetime | None]) -> None:
    values, bad = columns.times(chunked(cells))
    assert values.to_pylist() == moments
    assert bad.tolist() == [moment is None for moment in moments]
    if all(cell.isdigit() for cell in cells):
        assert columns.times(chunked([int(cell) for cell in cells], pa.int64()))[0].to_pylist() == moments


def test_timestamps_beyond_the_calendar() -> None:
    values, bad = columns.times(chunked([2**62, 0, None], pa.timestamp("us")))
    assert (values.to_pylist(), bad.tolist()) == ([None, datetime(1970, 1, 1, tzinfo=UTC), None], [True, False, True])


@pytest.mark.parametrize(
    ("days", "stray"),
    [
        ([0, 20_000, 20_001], [True, False, False]),
        ([20_000, 0, 20_001, 2_900_000], [False, True, False, True]),
        ([0, 3000, 6000, 9000], [False] * 4),  # a long log
        ([0, 0, 1, 20_000], [False, False, False, True]),
        ([5], [False]),
        ([], []),
    ],
)
def test_times_of_another_age_than_most(days: list[int], stray: list[bool]) -> None:
    moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(n) for n in days]
    assert columns.stray(chunked(moments, pa.timestamp("us", tz="UTC"))).tolist() == stray


def test_titles_are_cut_and_what_stands_for_nothing_is_nothing() -> None:
    cells = ["y" * 900_000, " a\n\0b ", "NULL", "nan", "None", "", None]
    assert columns.titles(chunked(cells)).to_pylist() == ["y" * 2000, "a b", None, None, "None", None, None]


def test_times_that_no_calendar_has() -> None:
    values, bad = columns.times(chunked(["1e300", "1", "-1e17"]), per_second=1)
    assert bad.tolist() == [True, False, True]
    assert values.to_pylist() == [None, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None]


def ids(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    sieve = columns.Sieve(Raw(Path("log.csv"), pa.table({"x": column})))
    return sieve.ids("x", "user"), sieve.bad


def test_ids_of_every_type() -> None:
    assert ids(chunked([" a ", "", None]))[0].to_pylist()[0] == "a"
    assert ids(chunked([" a ", "  ", None]))[1].tolist() == [False, True, True]
    values, bad = ids(chunked([123456789012.0, float("nan"), 2.0], pa.float64()))
    assert (values.to_pylist(), bad.tolist()) == (["123456789012", None, "2"], [False, True, False])
    values, bad = ids(chunked([0.5, 2.0, 3.0], pa.float64()))
    assert (values.to_pylist()[0], bad.any()) == ("0.5", False)


@pytest.mark.parametrize(
    ("cell", "usable"),
    [
        ("NULL", False), ("None", False), ("nan", False), ("NaN", False), (" null ", False), ("<NA>", False),
        ("\\N", False), ("undefined", False), ("x" * 511, True), ("x" * 512, False), ("ü" * 256, False),
        ("a\0b", False), ("a\0", False), ("Ren\ufffd", False), ("a,b", True), ("a\nb", True), ("nancy", True),
        ("0", True), ("-1", True), ("NA", True),
    ],
)  # fmt: skip
def test_what_is_an_id(cell: str, usable: bool) -> None:
    assert ids(chunked([cell, "u", "v"]))[1].tolist() == [not usable, False, False]


def test_flags() -> None:
    yes, bad = columns.flags(chunked(["1", "true", "TRUE ", "0", "", "false", "2", "yes"]))
    assert yes.tolist() == [True, True, True, False, False, False, False, False]
    assert bad.tolist() == [False] * 6 + [True, True]


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_sieve_keeps_its_account(good: int, bad: int, ragged: int, random: object) -> None:
    total = good + bad + ragged
    order = ["good"] * good + ["bad"] * bad + ["ragged"] * ragged
    random.shuffle(order)  # type: ignore[attr-defined]
    cells = [kind for kind in order if kind != "ragged"]
    lost = {n + 1: "wrong number of cells" for n, kind in enumerate(order) if kind == "ragged"}
    raw = Raw(Path("log.csv"), pa.table({"x": pa.array(cells, pa.string())}), lost)
    sieve = columns.Sieve(raw)
    mask = np.array([cell == "bad" for cell in cells])
    sieve.reject(mask, "broken", "x")
    sieve.reject(mask, "broken again", "x")  # the first cause stands
    account = Accounting()
    if (bad + ragged > columns.FEW and (bad + ragged) / total >= 0.01) or 2 * (bad + ragged) >= total:
        first = next(n for n, kind in enumerate(order) if kind != "good") + 1
        with pytest.raises(ConrecError, match=rf"^log\.csv: row {first}: .*{bad + ragged} of {total} rows"):
            sieve.keep(account)
        return
    account.kept = int(sieve.keep(account).sum())
    assert account.check().kept == good
    assert account.dropped == {k: v for k, v in {"broken": bad, "wrong number of cells": ragged}.items() if v}
    kept_back = account.all_rejected().to_pylist()
    assert sorted(row["row"] for row in kept_back) == [n + 1 for n, kind in enumerate(order) if kind != "good"]
    assert all(row["file"] == "log.csv" for row in kept_back)


@pytest.mark.parametrize(
    ("bad", "rows", "refused"),
    [
        (1, 41, False),  # a night of a small shop
        (5, 41, False),
        (6, 41, True),
        (6, 600, True),
        (6, 601, False),
        (1, 1, True),
        (1, 2, True),
        (2, 5, False),
        (0, 0, False),
    ],
)
def test_how_many_bad_rows_are_too_many(bad: int, rows: int, refused: bool) -> None:
    sieve = columns.Sieve(Raw(Path("log.csv"), pa.table({"x": pa.array(["x"] * rows, pa.string())})))
    sieve.reject(np.arange(rows) < bad, "broken", "x")
    if refused:
        with pytest.raises(ConrecError, match=f"row 1: x = 'x': broken; {bad} of {rows} rows"):
            sieve.keep(Accounting())
    else:
        assert sieve.keep(Accounting()).sum() == rows - bad


def test_rows_of_nobody_are_no_reason_to_stop_unless_most_are() -> None:
    for nobody, refused in ((49, False), (50, True)):
        sieve = columns.Sieve(Raw(Path("log.csv"), pa.table({"who": ["NULL"] * nobody + ["u"] * (100 - nobody)})))
        sieve.ids("who", "user")
        if refused:
            with pytest.raises(ConrecError, match="row 1: who = 'NULL': no user id; 50 of 100 rows"):
                sieve.keep(Accounting())
        else:
            assert sieve.keep(Accounting()).sum() == 51


def test_a_long_cell_does_not_make_a_long_message() -> None:
    sieve = columns.Sieve(Raw(Path("log.csv"), pa.table({"who": ["x" * 100_000]})))
    sieve.ids("who", "user")
    with pytest.raises(ConrecError, match=r"who = 'x+\.\.\.: user id longer than 511 bytes") as error:
        sieve.keep(Accounting())
    assert len(str(error.value)) < 300


def test_a_type_that_holds_no_such_values() -> None:
    sieve = columns.Sieve(Raw(Path("log.parquet"), pa.table({"x": [[1], [2]]})))
    for parse in (columns.words, columns.numbers, columns.times):
        with pytest.raises(ConrecError, match=r"log\.parquet: column x is of the type list<.*>: broken"):
            sieve.parsed(parse, "x", "broken")
