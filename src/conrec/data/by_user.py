"""A log by user: what one of them did before a moment."""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Events


class ByUser:
    """Events, and where those of each user are."""

    def __init__(self, events: Events) -> None:
        """events: sorted by time."""
        self.events = events
        self._names, owner = events.owners()
        self._order = np.argsort(owner, kind="stable")
        self._bounds = np.searchsorted(owner[self._order], np.arange(len(self._names) + 1))

    def before(self, user: str, cutoff: np.datetime64) -> np.ndarray:
        """int64 [e]: places in `events` of a user's events before the cutoff, oldest first; none of a stranger."""
        number = int(np.searchsorted(self._names, user))
        if number == len(self._names) or self._names[number] != user:
            return np.zeros(0, np.int64)
        own = self._order[self._bounds[number] : self._bounds[number + 1]]
        return own[: np.searchsorted(self.events.times[own], cutoff)]

    def around(self, user: str, cutoff: np.datetime64, horizon: np.timedelta64) -> tuple[np.ndarray, np.ndarray]:
        """int64 [e] and [f]: as `before`, and the user's events from the cutoff on, up to the horizon."""
        own = self.before(user, cutoff + horizon)
        here = np.searchsorted(self.events.times[own], cutoff)
        return own[:here], own[here:]

    def until(self, moment: np.datetime64) -> slice:
        """Where everybody's events before it are."""
        return slice(0, int(np.searchsorted(self.events.times, moment)))
