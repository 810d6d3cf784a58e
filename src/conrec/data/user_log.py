"""A log indexed by user: what a user did before a moment, or from it on, for many users at once.

The events of a log are sorted by time, so those before a moment are the first p of them, for some p. Sorted by user
and then by place in the log, each user's events are one slice, and those of them before the moment are where the
place is below p. One binary search for the pair (user, p) finds the end of that slice.
"""

import numpy as np

from conrec.data.instances import Events, Ragged, offsets_of


class UserLog:
    """Events, and where those of each user are."""

    def __init__(self, events: Events) -> None:
        """events: sorted by time."""
        self.events = events
        self.order = np.argsort(events.numbers, kind="stable")
        """int64 [n]: the events' places in the log, by user and then as in the log. A *position* is a place in it."""
        self.bounds = np.searchsorted(events.numbers[self.order], np.arange(len(events.names) + 2))
        """int64 [u + 2]: user n has the positions from bounds[n] to bounds[n + 1]; a stranger, number u, has none."""
        self._width = len(events) + 1
        self._keys = events.numbers[self.order].astype(np.int64) * self._width + self.order

    def number(self, users: np.ndarray) -> np.ndarray:
        """int64 [b]: the place of each user, str [b], among `events.names`; of a stranger one after the last."""
        names = self.events.names
        place = np.searchsorted(names, users)
        known = place < len(names)
        known[known] = names[place[known]] == users[known]
        return np.where(known, place, len(names))

    def of(self, number: int) -> np.ndarray:
        """int64 [e]: places in the log of all events of one user."""
        return self.order[self.bounds[number] : self.bounds[number + 1]]

    def position(self, numbers: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """int64 [b]: the first position of each user's events from the moment, datetime64[us] [b], on."""
        before = np.searchsorted(self.events.times, moments)
        return np.asarray(np.searchsorted(self._keys, numbers * self._width + before))

    def lists(self, first: np.ndarray, stop: np.ndarray) -> Ragged:
        """Places in the log of the positions from `first` to `stop`, int64 [b] each."""
        positions = slices(first, stop)
        return positions.of_values(self.order[positions.values])

    def before(self, users: np.ndarray, cutoffs: np.ndarray) -> Ragged:
        """Places in the log of the events of each user, str [b], before the cutoff, oldest first."""
        numbers = self.number(users)
        return self.lists(self.bounds[numbers], self.position(numbers, cutoffs))

    def window(self, users: np.ndarray, cutoffs: np.ndarray, horizon: np.timedelta64) -> Ragged:
        """Places in the log of the events of each user, str [b], from the cutoff on, up to the horizon."""
        numbers = self.number(users)
        return self.lists(self.position(numbers, cutoffs), self.position(numbers, cutoffs + horizon))


def slices(first: np.ndarray, stop: np.ndarray) -> Ragged:
    """The numbers from `first` to `stop` (left out), int64 [b] each, as lists."""
    offsets = offsets_of(stop - first)
    return Ragged(np.repeat(first - offsets[:-1], stop - first) + np.arange(offsets[-1]), offsets)
