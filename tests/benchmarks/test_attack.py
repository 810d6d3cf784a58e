"""Defences that were tried: which events they keep from counting for others, and from when on the rest does."""

import numpy as np

from benchmarks.attack import aged, capped, supported
from conrec.data.instances import Events
from conrec.data.trust import PROBATION, counted_from
from tests.data.events import coded

START = np.datetime64("2026-01-01", "us")
DAY = np.timedelta64(1, "D")
NEVER = np.datetime64("9999-01-01")


def log(*told: tuple[int, int, int, str]) -> Events:
    """Events: user, item, day, kind; a second apart."""
    n = len(told)
    users, items, days = (np.array([row[column] for row in told]) for column in range(3))
    times = START + days * DAY + np.arange(n) * np.timedelta64(1, "s")
    names, kinds = np.array([f"u{user}" for user in range(5)]), coded(np.array([row[3] for row in told]))
    nothing = np.full(n, np.nan), np.full(n, -1, np.int8)
    return Events(names, users.astype(np.int32), items.astype(np.int32), times, kinds, *nothing)


def test_a_cap_counts_a_users_first_dislikes_of_a_day() -> None:
    rows = [(1, item, 0, "dislike") for item in range(3)] + [
        (2, 0, 0, "dislike"),
        (1, 3, 0, "click"),
        (1, 4, 1, "dislike"),
    ]
    events = log(*rows)
    assert (capped(2)(events) == NEVER).tolist() == [False, False, True, False, False, False]
    assert (capped(3)(events) == events.times).all()


def test_support_waits_for_so_many_users() -> None:
    events = log(
        (0, 7, 0, "dislike"), (0, 7, 1, "dislike"), (1, 7, 2, "dislike"), (2, 8, 2, "dislike"), (2, 7, 3, "click")
    )
    found = supported(2)(events)
    assert (found[:3] == events.times[2]).all()
    assert found[3] == NEVER
    assert found[4] == events.times[4]


def test_age_is_the_defence_that_is_built_in() -> None:
    events = log((0, 0, 0, "dislike"), (1, 0, 20, "dislike"))
    days = int(PROBATION / DAY)
    assert (aged(days)(events) == counted_from(events)).all()
    assert (aged(3)(events)[1] - events.times[1]) / DAY == 3
