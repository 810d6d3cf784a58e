from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from conrec.data.distractors import candidates_table
from conrec.data.instances import INSTANCES, as_events, as_instances, as_items
from tests.data.events import START, event_table, item_table

DAY = 24


def instance(seen: tuple[str, ...] = (), future: tuple[str, ...] = ("true",), **more: Any) -> dict[str, Any]:
    """The user u on day 10, who next dislikes the item "true"."""
    row = {"instance_id": 0, "split": "test", "user_id": "u", "n_dislikes": 1, "n_positives": 0, "next": "true"}
    lists = {name: [] for name in INSTANCES.names if name not in row}
    return lists | row | {"cutoff": START + timedelta(days=10), "seen": list(seen), "future": list(future)} | more


def draw(events: pa.Table, *instances: dict, size: int = 4, seed: int = 0) -> list[list[str]]:
    items = as_items(item_table(*sorted(pc.unique(events["item_id"]).to_pylist())))
    some = as_instances(pa.Table.from_pylist(list(instances), schema=INSTANCES), items)
    return candidates_table(as_events(events, items), items, some, size, seed)["candidates"].to_pylist()


def others(*counts: tuple[str, int], day: int = 10) -> list[tuple]:
    """Clicks of other users."""
    return [(f"v{n}", item, day * DAY + 1, "click") for item, times in counts for n in range(times)]


TRUE = ("u", "true", 10 * DAY + 5, "dislike")


def test_own_exposures_of_the_day_come_first() -> None:
    shown = [("u", item, 10 * DAY + 2, "exposure") for item in ("e1", "e2", "e3", "old", "also")]
    shown += [
        ("u", "yesterday", 9 * DAY, "exposure"),
        ("v", "not mine", 10 * DAY, "exposure"),
        ("u", "true", 245, "exposure"),
    ]
    known = [("u", "old", 0, "dislike"), ("u", "also", 10 * DAY + 6, "dislike")]
    events = event_table(TRUE, *known, *shown, *others(("popular", 50)))
    (row,) = draw(events, instance(seen=("old",), future=("true", "also")))
    assert row[0] == "true"
    assert sorted(row[1:]) == ["e1", "e2", "e3"]
    (row,) = draw(events, instance(seen=("old",), future=("true", "also")), size=5)
    assert sorted(row[1:]) == ["e1", "e2", "e3", "popular"]


def test_without_exposures_the_days_items_are_drawn_as_often_as_they_were_met() -> None:
    # Neutral ratings are logged as exposures with a value: nobody showed those items.
    rated = [("u", "rated", 10 * DAY + 1, "exposure", None, 6.0)]
    events = event_table(TRUE, *rated, *others(("often", 60), ("rare", 3), ("never", 0)), *others(("past", 99), day=3))
    drawn = [draw(events, instance(), size=2, seed=seed)[0][1] for seed in range(60)]
    assert set(drawn) <= {"often", "rare"}
    assert drawn.count("often") > 45


def test_never_an_item_that_the_user_met() -> None:
    mine = [("u", "mine", 30 * DAY, "favorite")]
    events = event_table(TRUE, *mine, *others(("mine", 90), ("a", 1), ("b", 1), ("c", 1)))
    assert sorted(draw(events, instance())[0]) == ["a", "b", "c", "true"]


def test_a_poor_day_is_widened_backwards_and_at_last_to_the_whole_log() -> None:
    near = event_table(TRUE, *others(("b", 1), ("c", 1), ("a", 1), day=8), *others(("late", 50), day=11))
    assert sorted(draw(near, instance())[0]) == ["a", "b", "c", "true"]
    late = event_table(TRUE, *others(("a", 1)), *others(("l1", 1), ("l2", 1), day=40))
    assert sorted(draw(late, instance())[0]) == ["a", "l1", "l2", "true"]


def test_too_few_items_make_a_smaller_set_and_none_makes_no_row() -> None:
    assert draw(event_table(TRUE, *others(("a", 1))), instance()) == [["true", "a"]]
    assert draw(event_table(TRUE), instance()) == []


def test_train_and_users_without_dislikes_are_not_asked_and_a_seed_decides() -> None:
    events = event_table(TRUE, *others(*((f"i{n}", 1 + n) for n in range(12))))
    assert draw(events, instance(split="train"), instance(n_dislikes=0)) == []
    assert draw(events, instance(), seed=3) == draw(events, instance(), seed=3)
    assert len({str(draw(events, instance(), seed=seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize("size", [2, 5, 20])
def test_candidates_are_distinct(size: int) -> None:
    events = event_table(TRUE, *others(*((f"i{n}", 3) for n in range(30))))
    (row,) = draw(events, instance(), size=size)
    assert len(row) == len(set(row)) == size


def test_items_that_the_log_never_names_exclude_no_other() -> None:
    """By category most of the catalogue is excluded, whether or not anybody met it."""
    events = event_table(TRUE, *others(("first", 3), ("second", 2)))
    items = as_items(item_table("a stranger", "first", "second", "true", "zz stranger"))
    some = as_instances(pa.Table.from_pylist([instance(seen=("a stranger", "zz stranger"))], schema=INSTANCES), items)
    (row,) = candidates_table(as_events(events, items), items, some, 4, 0)["candidates"].to_pylist()
    assert sorted(row) == ["first", "second", "true"]
