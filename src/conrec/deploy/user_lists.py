"""What a snapshot keeps of a user: the history, its newest items, and which of them each prediction follows from."""

from collections.abc import Sequence

import numpy as np

from conrec.data.instances import Events, Ragged
from conrec.data.user_log import UserLog
from conrec.features.log_view import LogView
from conrec.score.user_history import EVENT, MARKED, SHOWN, History


class OwnHistories:
    """The history of everybody who said something of an item (`score.user_history`)."""

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
            exposed = np.isin(found, pairs[(events.kinds == "exposure") & ~events.rated])
            numbers, items = np.divmod(found, len(log_view.items))
            self._shown = np.zeros(len(found), SHOWN)
            self._shown["item"], self._shown["count"] = items, np.where(exposed, counts, -counts)
            number = UserLog(events).number(self.names)
            self._first, self._stop = (np.searchsorted(numbers, number, side) for side in ("left", "right"))

    def packed(self, names: Sequence[str]) -> list[bytes]:
        """`History.packed` of these users; nothing is known of others."""
        return [
            History(
                self._events[self._bounds[n] : self._bounds[n + 1]], self._shown[self._first[n] : self._stop[n]]
            ).packed()
            for n in np.searchsorted(self.names, np.array(names, str)).tolist()
        ]


def newest(lists: Ragged, width: int) -> np.ndarray:
    """int32 [B, width]: the last of each list, last first, -1 where there are no more."""
    place = np.arange(width)
    rows = np.full((len(lists), width), -1, np.int32)
    there = place < lists.lengths[:, None]
    at = lists.offsets[1:, None] - 1 - place
    rows[there] = lists.values[at[there]]
    return rows


def reason_index(unit: np.ndarray, predicted: np.ndarray, dislikes: np.ndarray) -> np.ndarray:
    """int8 [B, K]: which past dislike (its position) each prediction is closest to, -1 without any.

    unit: float32 [n, d], the items' unit rows; predicted: int [B, K] and dislikes: int [B, M] are rows, -1 pads.
    """
    cosine = np.einsum("bkd,bmd->bkm", unit[predicted], unit[dislikes], optimize=True)
    cosine[np.broadcast_to(dislikes[:, None] < 0, cosine.shape)] = -np.inf
    nearest = cosine.argmax(axis=2).astype(np.int8)
    nearest[(predicted < 0) | (dislikes[:, :1] < 0)] = -1
    return nearest
