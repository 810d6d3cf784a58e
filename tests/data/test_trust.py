"""From when on an event counts for others: not before its account is some days old."""

import numpy as np

from conrec.data.instances import Events
from conrec.data.trust import PROBATION, counted_from

DAY = np.timedelta64(1, "D")
START = np.datetime64("2026-01-01T12:00:00", "us")


def log(*told: tuple[int, int]) -> Events:
    """Events of a user on a day of the log."""
    users, days = (np.array(column) for column in zip(*told))
    n = len(users)
    names = np.array([f"u{user}" for user in range(10)])
    kinds, nothing = np.zeros(n, np.int8), np.full(n, -1, np.int8)
    return Events(
        names, users.astype(np.int32), np.zeros(n, np.int32), START + days * DAY, kinds, np.full(n, np.nan), nothing
    )


def test_events_of_a_new_account_count_once_it_is_old() -> None:
    events = log((0, 0), (1, 20), (1, 22), (0, 25), (1, 40))
    days = ((counted_from(events) - START) / DAY).tolist()
    assert days == [0, 20 + PROBATION / DAY, 20 + PROBATION / DAY, 25, 40]


def test_who_is_there_when_the_log_begins_is_no_new_account() -> None:
    events = log((0, 0), (1, 6), (2, 7), (2, 9))
    assert ((counted_from(events) - START) / DAY).tolist() == [0, 6, 14, 14]


def test_a_part_of_a_log_keeps_its_users_and_an_empty_log_has_none() -> None:
    events = log((3, 0), (5, 8), (3, 30), (5, 31))
    part = counted_from(events)[events.numbers == 5]
    assert ((part - START) / DAY).tolist() == [15, 31]
    assert len(counted_from(events.take(np.zeros(0, np.int64)))) == 0
