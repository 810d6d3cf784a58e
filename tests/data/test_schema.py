from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from conrec.data.schema import EVENTS, ITEMS, TIME, Accounting, check_events, check_items
from conrec.errors import ConrecError
from tests.data.events import event_table, item_table

EVENT = ("u", "a", 0, "dislike", "not_this_product", 3.0)


def replaced(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def test_columns_come_back_in_the_schemas_order_and_encoding() -> None:
    table = event_table(EVENT, EVENT)
    table = replaced(table, "user_id", table["user_id"].cast(pa.large_string()))
    table = replaced(table, "kind", table["kind"].dictionary_encode())
    table = replaced(table, "value", pa.nulls(2)).select(sorted(table.column_names))
    assert check_events(table, "f").schema == EVENTS
    assert check_items(item_table("a", "b").select(sorted(ITEMS.names)), "f").schema == ITEMS


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("user_id", pa.array(["u", None]), "log.csv: row 2: user_id is empty"),
        ("item_id", pa.array(["a", ""]), "log.csv: row 2: item_id '' is empty"),
        ("time", pa.array([None, 1], TIME), "log.csv: row 1: time is empty"),
        ("time", pa.array([1, 2]), "log.csv: column time must be timestamp.*, not int64"),
        ("kind", pa.array(["dislike", "hate"]), "log.csv: row 2: kind 'hate' is unknown; known are: dislike, "),
        ("kind", pa.array(["dislike", "click"]), "log.csv: row 2: kind 'click' has a reason"),
        ("reason", pa.array([None, "ugly"]), "log.csv: row 2: reason 'ugly' is unknown"),
        ("value", pa.array([float("nan"), 1.0]), "log.csv: row 1: value nan is not a number"),
    ],
)
def test_a_bad_event_is_named(column: str, values: pa.Array, complaint: str) -> None:
    with pytest.raises(ConrecError, match=complaint):
        check_events(replaced(event_table(EVENT, EVENT), column, values), "log.csv")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ConrecError, match=r"items\.csv: column title is missing; the columns are: item_id"):
        check_items(item_table("a").drop(["title"]), "items.csv")


def test_an_item_that_occurs_twice_is_named() -> None:
    with pytest.raises(ConrecError, match="row 3: item_id 'a' occurs twice"):
        check_items(item_table("a", "b", "a"), "items.csv")


def test_accounts_add_up_and_chain() -> None:
    reading = Accounting(10, 8, Counter({"broken": 2}), items=Accounting(3, 3))
    cleaning = Accounting(8, 5, Counter({"duplicate": 2, "broken": 1}))
    both = reading.then(cleaning).check()
    assert both.to_json() == {
        "read": 10,
        "kept": 5,
        "dropped": {"broken": 3, "duplicate": 2},
        "items": {"read": 3, "kept": 3, "dropped": {}},
    }


def test_a_lost_row_is_noticed() -> None:
    with pytest.raises(AssertionError, match="1 rows unaccounted for"):
        Accounting(10, 9).check()
    with pytest.raises(AssertionError, match="handed on"):
        Accounting(10, 10).then(Accounting(9, 9))
