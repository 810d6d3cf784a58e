"""A log by user, against looking at every event."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.user_log import UserLog
from tests.data.events import events_of
from tests.small_log import CUTS, WEEK, small_log

_, LOG = small_log()
USERS = np.array(["", *np.unique(LOG.users)[::7].tolist(), "nobody", "zz"])
MOMENTS = [LOG.times[0], *CUTS, LOG.times[-1], LOG.times[-1] + np.timedelta64(1, "D")]


def test_events_before_a_cutoff_and_in_a_window_are_those_of_the_log() -> None:
    log = UserLog(LOG)
    users, cutoffs = np.repeat(USERS, len(MOMENTS)), np.tile(np.array(MOMENTS), len(USERS))
    before, window = log.before(users, cutoffs), log.window(users, cutoffs, WEEK)
    for n, (user, cutoff) in enumerate(zip(users, cutoffs)):
        own = [place for place in range(len(LOG)) if LOG.users[place] == user]
        assert before[n].tolist() == [place for place in own if LOG.times[place] < cutoff]
        assert window[n].tolist() == [place for place in own if cutoff <= LOG.times[place] < cutoff + WEEK]
        assert log.of(log.number(users[n : n + 1])[0]).tolist() == own


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 2))),
    st.lists(st.tuples(st.sampled_from("abcz"), st.integers(0, 4)), min_size=1),
)
def test_events_of_one_moment_are_all_before_a_later_one_or_none(
    rows: list[tuple[int, str, int]], asked: list[tuple[str, int]]
) -> None:
    times, users, items = (np.array(column) for column in zip(*sorted(rows))) if rows else ([], np.zeros(0, "U1"), [])
    moments = np.array(times, np.int64).astype("datetime64[us]")
    log = events_of(users, np.array(items, np.int32), moments, np.full(len(rows), "click"), np.full(len(rows), np.nan))
    names, cutoffs = np.array([user for user, _ in asked]), np.array([t for _, t in asked]).astype("datetime64[us]")
    before = UserLog(log).before(names, cutoffs)
    for n, (user, cutoff) in enumerate(asked):
        assert before[n].tolist() == [p for p, row in enumerate(sorted(rows)) if row[1] == user and row[0] < cutoff]


def test_a_part_of_a_log_has_its_own_index_under_the_names_of_the_whole() -> None:
    part = LOG.take(LOG.kinds == "dislike")
    users, cutoffs = np.unique(LOG.users), np.full(len(np.unique(LOG.users)), CUTS[1])
    found = UserLog(part).before(users, cutoffs)
    assert part.names.tolist() == LOG.names.tolist()
    assert (part.items[found.values] == LOG.items[LOG.kinds == "dislike"][found.values]).all()


def test_everybodys_events_before_a_moment() -> None:
    np.testing.assert_array_equal(LOG.items[LOG.until(CUTS[1])], LOG.items[LOG.times < CUTS[1]])
    assert LOG.take(np.zeros(0, int)).until(CUTS[1]) == slice(0, 0)
