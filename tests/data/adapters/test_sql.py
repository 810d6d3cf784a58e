"""Queries as tables, and what is said of one that fails."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from conrec.data.adapters import sql
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import write

pytest.importorskip("duckdb")


def of(tmp_path: Path, query: str) -> list[dict[str, Any]]:
    path = write(tmp_path / "events.sql", query)
    return sql.query(path, sql.query(path).column_names).to_pylist()


def test_files_by_glob_from_the_folder_of_the_query(tmp_path: Path) -> None:
    write(tmp_path / "a-1.csv", "u,t\n007,1\n")
    write(tmp_path / "a-2.csv", "u,t\n008,2\n")
    query = "SELECT u AS user_id, t FROM read_csv('a-*.csv', all_varchar = true) ORDER BY t"
    assert of(tmp_path, query) == [{"user_id": "007", "t": "1"}, {"user_id": "008", "t": "2"}]
    assert sql.query(tmp_path / "events.sql", ["t"]).to_pylist() == [{"t": "1"}, {"t": "2"}]


def test_statements_before_the_last_are_carried_out(tmp_path: Path) -> None:
    assert of(tmp_path, "CREATE TABLE x AS SELECT 1 AS u; -- postgres://no\nSELECT u + 1 AS u FROM x;") == [{"u": 2}]


def test_what_fsspec_reaches(tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/conrec/day.csv", b"u\n007\n")
    assert of(tmp_path, "FROM read_csv('memory://conrec/*.csv', all_varchar = true)") == [{"u": "007"}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "holds no query; its last statement must be a SELECT"),
        ("-- nothing", "holds no query"),
        ("SELECT nope", 'column "nope" was not found'),
        ("SELECT * FROM 'nope.csv'", "No files found"),
        ("SELEC 1", "syntax error"),
        ("SELECT 'a'::int AS x", "Could not convert string 'a'"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, query: str, message: str) -> None:
    with pytest.raises(ConrecError, match=rf"events\.sql: .*{message}") as error:
        of(tmp_path, query)
    assert "\n" not in str(error.value)


def test_without_duckdb_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConrecError, match=r"pip install 'conrec\[sql\]'"):
        sql.query(write(tmp_path / "events.sql", "SELECT 1"))
