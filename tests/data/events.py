"""Small logs written by hand, for the tests of the data core."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from conrec.data.instances import Events
from conrec.data.schema import EVENTS, ITEMS, KINDS, Accounting, Log

START = datetime(2026, 1, 1, tzinfo=UTC)


def event_table(*rows: tuple) -> pa.Table:
    """Rows of (user, item, hours since START, kind[, reason[, value]])."""
    names = EVENTS.names
    records = []
    for row in rows:
        user, item, hours, kind, *rest = row
        reason, value = [*rest, None, None][:2]
        records.append(dict(zip(names, (user, item, START + timedelta(hours=hours), kind, reason, value))))
    return pa.Table.from_pylist(records, schema=EVENTS)


def item_table(*ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"item_id": i, "title": f"title of {i}"} for i in ids], schema=ITEMS)


def make_log(*rows: tuple, items: str = "abcdef") -> Log:
    events = event_table(*rows)
    return Log(item_table(*items), events, Accounting(len(events), len(events)))


def events_of(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    kinds: np.ndarray,
    values: np.ndarray,
    reasons: np.ndarray | None = None,
) -> Events:
    """Events of users by name, str [n], sorted by time; without `reasons` none was given."""
    names, numbers = np.unique(users, return_inverse=True)
    reasons = np.full(len(items), -1, np.int8) if reasons is None else reasons
    return Events(names, numbers.astype(np.int32), items, times, coded(kinds), values, reasons)


def coded(kinds: np.ndarray) -> np.ndarray:
    """Kinds of events by name, str [n], as `Events` has them."""
    return np.array([KINDS.index(kind) for kind in kinds.tolist()], np.int8)
