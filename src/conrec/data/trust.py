"""From when on an event counts for what everybody's log says of the items: not before its account is some days old.

Accounts cost nothing, so what new ones say of an item (its rate, count, bias, and latent factors, the rates of its
attributes) must not move what others are shown. For the users themselves all they say counts at once.
"""

import numpy as np

from conrec.data.instances import Events

PROBATION = np.timedelta64(7, "D")
"""So long after its first event an account counts for others. Who is there in the first days of the log is no new
account: the log began later than the platform."""


def counted_from(events: Events) -> np.ndarray:
    """datetime64[us] [n]: events of a log sorted by time count for others before a cutoff that is later than this."""
    if not len(events):
        return events.times
    first = np.full(len(events.names), events.times[-1])
    np.minimum.at(first, events.numbers, events.times)
    old = first < events.times[0] + PROBATION
    return np.maximum(events.times, np.where(old, first, first + PROBATION)[events.numbers])
