"""Tables in memory are read, checked and counted as files are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import conrec
from conrec.config import DataConfig
from conrec.data.adapters.generic import read
from conrec.data.schema import Log
from conrec.data.sources import at_hand
from conrec.errors import ConrecError
from conrec.files import lock
from conrec.model.frames import place, told_of
from conrec.run import LOG
from tests.model.small import Stream, tables


def pandas_frame(table: pa.Table) -> Any:
    pytest.importorskip("pandas")
    return table.to_pandas().set_axis(range(7, 7 + len(table)), axis=0)


def polars_frame(table: pa.Table) -> Any:
    return pytest.importorskip("polars").from_arrow(table)


def duckdb_relation(table: pa.Table) -> Any:
    duckdb = pytest.importorskip("duckdb")
    duckdb.sql("set timezone = 'UTC'")
    return duckdb.from_arrow(table)


def in_chunks(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 10), table.slice(10)])


KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "pyarrow": in_chunks,
    "an Arrow stream": Stream,
    "pandas": pandas_frame,
    "polars": polars_frame,
    "duckdb": duckdb_relation,
}


def faulty() -> tuple[pa.Table, pa.Table]:
    """The small log with rows that have to go: no user, an unknown item, no title."""
    events, items = tables(events=300)
    broken = events.slice(0, 2).set_column(0, "user_id", pa.array([None, "u1"], pa.string()))
    broken = broken.set_column(1, "item_id", [["i1", "nobody knows it"]])
    return pa.concat_tables([events, broken]), items


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "csv"
    folder.mkdir()
    for name, table in zip(("events", "items"), faulty()):
        pacsv.write_csv(table, folder / f"{name}.csv")
    return folder


def of(events: Any, items: Any, folder: Path) -> Log:
    """The log of what `place` makes of the tables."""
    data = at_hand(place(events, items, folder), None)
    assert data is not None
    return read(data, DataConfig("generic"), None)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_read_as_files_are(files: Path, tmp_path: Path, kind: str) -> None:
    expected = read(files, DataConfig("generic"), None)
    assert expected.accounting.dropped
    events, items = (KINDS[kind](table) for table in faulty())
    log = of(events, items, tmp_path / "log")
    assert log.events.equals(expected.events)
    assert log.items.equals(expected.items)
    assert log.accounting.to_json() == expected.accounting.to_json()


def test_an_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    events, items = faulty()
    pandas = pytest.importorskip("pandas")
    place(events, items.to_pandas().set_axis(pandas.Index(["x"] * len(items)), axis=0), tmp_path)
    assert pq.read_schema(tmp_path / "items.parquet").names == items.column_names


def test_paths_go_through_as_they_are(files: Path, tmp_path: Path) -> None:
    assert place(files, None, tmp_path / "log") == [str(files)]
    assert place([files / "a.csv", "b*.csv"], None, tmp_path / "log") == [str(files / "a.csv"), "b*.csv"]
    assert place("s3://b/*.csv", files / "shop.csv", tmp_path / "log") == [
        "events=s3://b/*.csv",
        f"items={files}/shop.csv",
    ]
    assert not (tmp_path / "log").exists()


def test_tables_may_stand_beside_paths(files: Path, tmp_path: Path) -> None:
    expected = read(files, DataConfig("generic"), None)
    shop = (files / "items.csv").rename(files / "shop.csv")
    mixed = of(faulty()[0], shop, tmp_path / "log")
    assert mixed.events.equals(expected.events)
    assert mixed.items.equals(expected.items)


def test_what_is_no_table(tmp_path: Path) -> None:
    events, _ = faulty()
    with pytest.raises(ConrecError, match=r"items: builtins\.dict is no table"):
        place(events, {"item_id": ["a"]}, tmp_path)
    with pytest.raises(ConrecError, match=r"nowhere.csv: there is no such file"):
        of(events, tmp_path / "nowhere.csv", tmp_path)
    (tmp_path / "items.xlsx").write_text("")
    with pytest.raises(ConrecError, match=r"items.xlsx: unknown type; it must end in one of"):
        of(events, tmp_path / "items.xlsx", tmp_path)


def test_messages_name_what_the_caller_gave(tmp_path: Path) -> None:
    message = f"{tmp_path}/events.parquet: row 7: shop.csv"
    assert told_of(message, tmp_path) == "events: row 7: shop.csv"


def test_a_fit_that_is_refused_leaves_the_log_of_the_running_one(tmp_path: Path) -> None:
    events, items = tables(events=50)
    place(events, items, tmp_path / LOG)
    before = {path.name: path.read_bytes() for path in (tmp_path / LOG).iterdir()}
    with lock(tmp_path / ".lock"), pytest.raises(ConrecError, match="works in this folder"):
        conrec.fit(events.slice(1), items, folder=tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / LOG).iterdir()} == before
