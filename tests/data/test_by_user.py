"""A user's events before a moment, against looking at every event."""

import numpy as np

from conrec.data.by_user import ByUser
from tests.small_log import CUTS, small_log

_, LOG = small_log()


def test_a_users_events_before_a_cut_are_those_of_the_log() -> None:
    log = ByUser(LOG)
    for user in np.unique(LOG.users)[::7].tolist():
        for cutoff in (LOG.times[0], *CUTS, LOG.times[-1] + np.timedelta64(1, "D")):
            expected = [n for n in range(len(LOG)) if LOG.users[n] == user and LOG.times[n] < cutoff]
            assert log.before(user, cutoff).tolist() == expected
    assert log.before("nobody", LOG.times[-1]).tolist() == []
    assert log.before("zz", LOG.times[-1]).tolist() == []


def test_a_users_events_around_a_cut_are_those_of_the_log() -> None:
    log, week = ByUser(LOG), np.timedelta64(7, "D")
    for user in [*np.unique(LOG.users)[::7].tolist(), "nobody"]:
        for cutoff in CUTS:
            own = [n for n in range(len(LOG)) if LOG.users[n] == user]
            past, window = log.around(user, cutoff, week)
            assert past.tolist() == [n for n in own if LOG.times[n] < cutoff]
            assert window.tolist() == [n for n in own if cutoff <= LOG.times[n] < cutoff + week]


def test_everybodys_events_before_a_moment() -> None:
    np.testing.assert_array_equal(LOG.items[ByUser(LOG).until(CUTS[1])], LOG.items[LOG.times < CUTS[1]])
    assert ByUser(LOG.take(np.zeros(0, int))).until(CUTS[1]) == slice(0, 0)
