"""The log as arrays: its order, and whose each event is."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.instances import Items, as_events
from conrec.data.schema import REASONS
from tests.data.events import events_of

ITEMS = Items(["b", "a", "ü"], ["", "", ""], [None, None, None], np.zeros(3, "datetime64[us]"))


def log_of(rows: list[tuple[int, str, str]]) -> pa.Table:
    """moment, user and item of each event."""
    moments, users, items = zip(*rows) if rows else ((), (), ())
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "time": pa.array(np.array(moments, "datetime64[s]")).cast(pa.timestamp("us", tz="UTC")),
            "kind": pa.array(["dislike", "click"] * (len(rows) // 2) + ["exposure"] * (len(rows) % 2), pa.string()),
            "value": pa.array([None] * len(rows), pa.float64()),
            "reason": pa.array([None if n % 3 else REASONS[0] for n in range(len(rows))], pa.string()),
        }
    )


ROWS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["é", "z", "u1", "u10"]), st.sampled_from(ITEMS.ids)))


@settings(max_examples=50, deadline=None)
@given(ROWS, st.booleans())
def test_a_log_is_sorted_by_time_user_and_item_id_however_its_texts_are_kept(
    rows: list[tuple[int, str, str]], as_dictionary: bool
) -> None:
    table = log_of(rows)
    if as_dictionary:
        for name in ("user_id", "item_id", "kind"):
            table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    events = as_events(table, ITEMS)
    order = sorted(range(len(rows)), key=lambda n: rows[n])
    assert events.users.tolist() == [rows[n][1] for n in order]
    assert [ITEMS.ids[row] for row in events.items] == [rows[n][2] for n in order]
    assert events.times.astype("datetime64[s]").astype(int).tolist() == [rows[n][0] for n in order]
    assert events.kinds.tolist() == [log_of(rows)["kind"][n].as_py() for n in order]
    assert events.reasons.tolist() == [-1 if n % 3 else 0 for n in order]


@settings(max_examples=50, deadline=None)
@given(ROWS, st.data())
def test_owners_are_the_unique_users_of_any_part_of_a_log(
    rows: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    events = as_events(log_of(rows), ITEMS)
    for _ in range(2):  # a part, and a part of it
        mask = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
        events = events.take(np.array(mask, bool))
        plain = events_of(events.users, events.items, events.times, events.kinds, events.values)
        pairs = list(zip(events.users.tolist(), events.items.tolist()))
        firsts = [n for n, pair in enumerate(pairs) if pair not in pairs[:n]]
        names, owner = np.unique(events.users, return_inverse=True)
        for one in (events, plain):
            np.testing.assert_array_equal(one.owners()[0], names)
            np.testing.assert_array_equal(one.owners()[1], owner)
            assert one.first_of_item().tolist() == firsts
            np.testing.assert_array_equal(one.of_users(np.array(["z", "u1"])), np.isin(events.users, ["z", "u1"]))


def test_an_empty_log_has_no_owners() -> None:
    names, owner = as_events(log_of([]), ITEMS).owners()
    assert not len(names)
    assert not len(owner)


def test_reactions_without_an_exposure_were_shown_and_those_after_one_are_not_shown_twice() -> None:
    rows = [("u", 0, "exposure"), ("u", 0, "dislike"), ("u", 1, "favorite"), ("v", 0, "dislike"), ("v", 1, "exposure")]
    users, items, kinds = (np.array(column) for column in zip(*rows))
    moments = np.datetime64("2026-01-01", "us") + np.arange(5)
    log = events_of(users, items.astype(np.int32), moments, kinds, np.full(5, np.nan))
    assert log.shown.tolist() == [True, False, True, True, True]
    before = log.take(np.array([1, 0, 2, 3, 4]))
    assert replace(before, times=moments).shown.all()  # the exposure comes later: nothing may be known of it yet
    at_once = replace(before, times=np.repeat(moments[:1], 5))
    assert at_once.shown.tolist() == [False, True, True, True, True]
    assert log.take(kinds != "exposure").shown.all()
    rated = events_of(users, items.astype(np.int32), moments, kinds, np.full(5, 3.0))
    assert rated.shown.all()
