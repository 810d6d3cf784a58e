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
        assert is_bad == (want is None and text != "")


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


def test_times_that_no_calendar_has() -> None:
    values, bad = columns.times(chunked(["1e300", "1", "-1e17"]), per_second=1)
    assert bad.tolist() == [True, False, True]
    assert values.to_pylist() == [None, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None]


def test_ids_of_every_type() -> None:
    assert columns.ids(chunked([" a ", "", None]))[0].to_pylist()[0] == "a"
    assert columns.ids(chunked([" a ", "  ", None]))[1].tolist() == [False, True, True]
    values, bad = columns.ids(chunked([123456789012.0, float("nan"), 2.0], pa.float64()))
    assert (values.to_pylist(), bad.tolist()) == (["123456789012", None, "2"], [False, True, False])
    values, bad = columns.ids(chunked([0.5, 2.0, 3.0], pa.float64()))
    assert (values.to_pylist()[0], bad.any()) == ("0.5", False)


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
    raw = Raw(Path("log.csv"), pa.table({"x": cells}), [n + 1 for n, kind in enumerate(order) if kind == "ragged"])
    sieve = columns.Sieve(raw)
    mask = np.array([cell == "bad" for cell in cells])
    sieve.reject(mask, "broken", "x")
    sieve.reject(mask, "broken again", "x")  # the first cause stands
    account = Accounting()
    if bad + ragged and (bad + ragged) / total >= 0.01:
        first = next(n for n, kind in enumerate(order) if kind != "good") + 1
        with pytest.raises(ConrecError, match=rf"^log\.csv: row {first}: .*{bad + ragged} of {total} rows"):
            sieve.keep(account)
        return
    account.kept = int(sieve.keep(account).sum())
    assert account.check().kept == good
    assert account.dropped == {k: v for k, v in {"broken": bad, "wrong number of cells": ragged}.items() if v}


def test_one_in_a_hundred_is_too_many() -> None:
    for rows in (100, 101):
        sieve = columns.Sieve(Raw(Path("log.csv"), pa.table({"x": ["x"] * rows})))
        sieve.reject(np.arange(rows) == 7, "broken", "x")
        if rows == 100:
            with pytest.raises(ConrecError, match="row 8: x = 'x': broken; 1 of 100 rows"):
                sieve.keep(Accounting())
        else:
            assert sieve.keep(Accounting()).sum() == 100
