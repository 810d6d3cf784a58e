"""One user's own log, as a snapshot keeps it of everybody: for what is asked after the snapshot was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EVENT = np.dtype([("time", "<i8"), ("item", "<i4"), ("value", "<f4"), ("sign", "i1"), ("reason", "i1")])
"""What a user said of an item: microseconds since 1970 (UTC), its row, the rating (nan: none), 1 disliked, -1 liked, 0
neither, or MARKED, and the place of the reason in `data.schema.REASONS` (-1: none)."""
MARKED = 2
"""Rejected for a reason that says nothing of the user's interest ("seen or bought"): never again, but no dislike."""
SHOWN = np.dtype([("item", "<i4"), ("count", "<i4")])
"""How often an item was shown to a user; below 0 where only reactions to it say that it was."""

HEAD = 8
"""Bytes before the events of a packed history: how many events and rows of SHOWN there are."""


class History(NamedTuple):
    """One user's own log."""

    events: np.ndarray
    """EVENT [e], in the order of time: explicit feedback, of the likes of an item the first."""
    shown: np.ndarray
    """SHOWN [s], by item; empty where the log does not say what was shown, or the score does not ask."""

    def told(self, sign: int) -> np.ndarray:
        """int [k]: the rows of the items with this sign, oldest first."""
        return np.asarray(self.events["item"][self.events["sign"] == sign])

    @property
    def rejected(self) -> np.ndarray:
        """EVENT [r], oldest first: dislikes, whatever their reason."""
        return self.events[self.events["sign"] > 0]

    def packed(self) -> bytes:
        """As bytes; `of_bytes` is the way back."""
        head = np.array([len(self.events), len(self.shown)], "<i4")
        return head.tobytes() + self.events.tobytes() + self.shown.tobytes()

    @staticmethod
    def of_bytes(packed: bytes) -> History:
        """ValueError for bytes that are no history."""
        events, shown = int.from_bytes(packed[:4], "little"), int.from_bytes(packed[4:HEAD], "little")
        split = HEAD + events * EVENT.itemsize
        if len(packed) != split + shown * SHOWN.itemsize:
            raise ValueError(f"a history of {len(packed)} bytes")
        return History(np.frombuffer(packed, EVENT, events, HEAD), np.frombuffer(packed, SHOWN, shown, split))


def of_lists(dislikes: Sequence[int], liked: Sequence[int]) -> History:
    """The history of a user of whom no more is known than these rows, newest first."""
    events = np.zeros(len(dislikes) + len(liked), EVENT)
    events["item"] = [*liked[::-1], *dislikes[::-1]]
    events["sign"] = [-1] * len(liked) + [1] * len(dislikes)
    events["value"], events["reason"] = np.nan, -1
    return History(events, np.zeros(0, SHOWN))
