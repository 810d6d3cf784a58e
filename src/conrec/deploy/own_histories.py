"""The history that a snapshot keeps of a user (`score.user_history`), from the log."""

from collections.abc import Sequence

import numpy as np

from conrec.data.instances import Events
from conrec.features.log_view import LogView
from conrec.score.user_history import EVENT, MARKED, SHOWN, History


class OwnHistories:
    """The history of everybody who said something of an item."""

    def __init__(self, log_view: LogView, marks: Events, with_shown: bool) -> None:
        """marks: dislikes that say nothing of interest; with_shown: whether the score asks what was shown."""
        told, events = log_view.told, log_view.events
        self.names = np.union1d(told.names, marks.names)
        owners = np.append(
            np.searchsorted(self.names, told.names)[told.users], np.searchsorted(self.names, marks.users)
        )
        rows = np.zeros(len(owners), EVENT)
        rows["time"] = np.append(told.times, marks.times).astype("datetime64[us]").view(np.int64)
        rows["item"] = np.append(told.items, marks.items)
        rows["value"] = np.append(told.values, np.full(len(marks), np.nan))
        rows["sign"] = np.append(told.signs, np.full(len(marks), MARKED))
        rows["reason"] = np.append(told.log.events.reasons[told.log.order], marks.reasons)
        order = np.lexsort((rows["time"], owners))
        self._events, bounds = rows[order], np.arange(len(self.names) + 1)
        self._bounds = np.searchsorted(owners[order], bounds)
        self._shown, self._first, self._stop = np.zeros(0, SHOWN), bounds * 0, bounds * 0
        if with_shown:
            pairs = events.numbers.astype(np.int64) * len(log_view.items) + events.items
            found, counts = np.unique(pairs[events.shown], return_counts=True)
            exposed = np.isin(found, pairs[events.exposed])
            numbers, items = np.divmod(found, len(log_view.items))
            self._shown = np.zeros(len(found), SHOWN)
            self._shown["item"], self._shown["count"] = items, np.where(exposed, counts, -counts)
            number = events.by_user.number(self.names)
            self._first, self._stop = (np.searchsorted(numbers, number, side) for side in ("left", "right"))

    def packed(self, names: Sequence[str]) -> list[bytes]:
        """`History.packed` of these users; nothing is known of others."""
        return [
            History(
                self._events[self._bounds[n] : self._bounds[n + 1]], self._shown[self._first[n] : self._stop[n]]
            ).packed()
            for n in np.searchsorted(self.names, np.array(names, str)).tolist()
        ]
