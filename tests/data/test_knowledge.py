"""What everybody disliked lately, when the accounts that say so are new."""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Events
from conrec.data.knowledge import Knowledge
from conrec.data.trust import PROBATION
from tests.data.events import events_of
from tests.small_log import small_log

DAY = np.timedelta64(1, "D")
DAYS, SMOOTHING = 14.0, 0.05
ITEMS, LOG = small_log()
END = LOG.times.max() + DAY
TARGET = 3


def with_a_ring(log: Events, moment: np.datetime64) -> Events:
    """The log, and 50 accounts that are first seen when they dislike the target."""
    times = np.append(log.times, np.full(50, moment))
    users = np.append(log.names[log.numbers], [f"ring{n}" for n in range(50)])
    rows = np.append(log.items, np.full(50, TARGET, log.items.dtype))
    kinds, values = np.append(log.kinds, ["dislike"] * 50), np.append(log.values, np.full(50, np.nan))
    order = np.argsort(times, kind="stable")
    return events_of(users[order], rows[order], times[order], kinds[order], values[order])


def test_a_ring_of_new_accounts_moves_no_prior_until_it_is_old() -> None:
    attacked = Knowledge(ITEMS, with_a_ring(LOG, END))
    before = Knowledge(ITEMS, LOG)
    for later in (DAY, PROBATION):
        told = attacked.prior(END + later, DAYS, SMOOTHING)
        np.testing.assert_allclose(told, before.prior(END + later, DAYS, SMOOTHING))
    old = END + PROBATION + DAY
    assert attacked.prior(old, DAYS, SMOOTHING)[TARGET] > 2 * before.prior(old, DAYS, SMOOTHING)[TARGET]
    # Then each of its dislikes weighs what its age says.
    weights = np.zeros(len(ITEMS))
    log = with_a_ring(LOG, END)
    np.add.at(weights, log.items[log.is_dislike], np.exp(-((old - log.times[log.is_dislike]) / DAY) / DAYS))
    expected = (weights + SMOOTHING) * (ITEMS.first_seen < old)
    np.testing.assert_allclose(attacked.prior(old, DAYS, SMOOTHING), expected / expected.sum())


def test_where_users_are_split_all_that_is_known_counts() -> None:
    log = with_a_ring(LOG, END)
    known = Knowledge(ITEMS, log, log.names)
    counts = np.bincount(log.items[log.is_dislike], minlength=len(ITEMS)) + SMOOTHING
    counts *= ITEMS.first_seen < END
    np.testing.assert_allclose(known.prior(END, DAYS, SMOOTHING), counts / counts.sum())
