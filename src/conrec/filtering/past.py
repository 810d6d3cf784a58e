"""What a score may look at: the log before a cut, and the contents of the items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conrec.data.instances import Events, Items, read_events, read_items
from conrec.data.split import Split
from conrec.sid.catalog import Catalog, unit_rows


@dataclass(frozen=True)
class Past:
    """The whole log with what is needed to cut it; a score asks for a cut and sees nothing from there on.

    In `users` mode (strong generalisation) what is known of the items is the whole log of the training users, and of
    a user to score the own events before the own cut (protocol).
    """

    items: Items
    events: Events
    """Sorted by time."""
    catalog: Catalog
    content: np.ndarray
    """float32 [n_items, D]: content embeddings before quantisation, rows of length 1."""
    train_users: np.ndarray | None = None
    """str [n] in `users` mode; None: everybody's log before the cut is known."""

    @classmethod
    def read(cls, prepared: Path, compressed: Path) -> Past:
        """From the folders of `prepare` and `compress`."""
        items = read_items(prepared)
        return cls(
            items,
            read_events(prepared, items),
            Catalog.load(compressed),
            unit_rows(np.load(compressed / "embeddings.npy", allow_pickle=False)),
            Split.read(prepared).train_users,
        )

    def known_at(self, cut: np.datetime64) -> Events:
        """Everybody's events that are known at `cut`."""
        if self.train_users is not None:
            return self.events.take(np.isin(self.events.users, self.train_users))
        return self.events.take(np.arange(np.searchsorted(self.events.times, cut)))
