"""What a score may look at: the log before a cutoff, and the contents of the items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from conrec.data.instances import Events, Instances, Items, as_items, read_events
from conrec.data.schema import POSITIVE_KINDS
from conrec.data.split import Split
from conrec.features.attribute_rates import AttributeRates
from conrec.items.fields import fields_of
from conrec.sid.catalog import Catalog, unit_rows


@dataclass(frozen=True)
class LogView:
    """The whole log with what is needed to cut it; a score asks for a cutoff and sees nothing from there on.

    In `users` mode (strong generalisation) what is known of the items is the whole log of the training users, and of
    a user to score the own events before the own cutoff (protocol).
    """

    items: Items
    events: Events
    """Sorted by time."""
    catalog: Catalog
    content: np.ndarray
    """float32 [n_items, D]: content embeddings before quantisation, rows of length 1."""
    fields: list[dict[str, str]]
    """Category and attributes of every item (`items.fields.fields_of`)."""
    train_users: np.ndarray | None = None
    """str [n] in `users` mode; None: everybody's log before the cutoff is known."""

    @classmethod
    def read(cls, prepared: Path, compressed: Path) -> LogView:
        """From the folders of `prepare` and `compress`."""
        columns = ["item_id", "title", "category", "first_seen", "attributes"]
        table = pq.read_table(prepared / "items.parquet", columns=columns)
        items = as_items(table)
        return cls(
            items,
            read_events(prepared, items),
            Catalog.load(compressed),
            unit_rows(np.load(compressed / "embeddings.npy", allow_pickle=False)),
            fields_of(table),
            Split.read(prepared).train_users,
        )

    @cached_property
    def attribute_rates(self) -> AttributeRates:
        """Which attributes each user dislikes."""
        return AttributeRates(self.fields, self.events, self.train_users)

    @cached_property
    def told(self) -> ExplicitFeedback:
        """The events that tell what their user thinks of the item."""
        return ExplicitFeedback.of(self.events, len(self.items))


@dataclass(frozen=True)
class ExplicitFeedback:
    """Dislikes, positives (a user's first on each item) and neutral ratings, by user and then by time."""

    names: np.ndarray
    """str [users], sorted."""
    bounds: np.ndarray
    """int64 [users + 1]: user n's events are bounds[n] .. bounds[n + 1]."""
    users: np.ndarray
    """int64 [m], numbers of `names`."""
    items: np.ndarray
    """int32 [m]."""
    times: np.ndarray
    """datetime64[us] [m]."""
    signs: np.ndarray
    """int8 [m]: 1 disliked, -1 liked, 0 neither."""
    values: np.ndarray
    """float64 [m]: ratings, nan where there is none."""

    @classmethod
    def of(cls, events: Events, n_items: int) -> ExplicitFeedback:
        """From a log sorted by time."""
        signs = np.where(events.kinds == "dislike", 1, np.where(np.isin(events.kinds, POSITIVE_KINDS), -1, 0))
        telling = (signs != 0) | events.rated
        told, signs = events.take(telling), signs[telling]
        names, owner = told.owners()
        liked = np.flatnonzero(signs < 0)
        pair = owner[liked] * n_items + told.items[liked]
        again = np.ones(len(liked), bool)
        again[np.unique(pair, return_index=True)[1]] = False
        kept = np.delete(np.arange(len(told)), liked[again])
        order = kept[np.argsort(owner[kept], kind="stable")]
        owner = owner[order]
        return cls(
            names,
            np.searchsorted(owner, np.arange(len(names) + 1)),
            owner,
            told.items[order],
            told.times[order],
            signs[order].astype(np.int8),
            told.values[order],
        )

    def before(self, cutoff: np.datetime64) -> np.ndarray:
        """int64: places of everybody's events before the cutoff."""
        return np.flatnonzero(self.times < cutoff)

    def by_users(self, names: np.ndarray) -> np.ndarray:
        """int64: places of all events of these users."""
        return np.flatnonzero(np.isin(self.names, names)[self.users])

    def histories(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Places of the events of each instance's user before its cutoff, and whose instance it is; int64 [h] both."""
        place = np.minimum(np.searchsorted(self.names, instances.users), len(self.names) - 1)
        places, owners = [], []
        for n, (user, name, cutoff) in enumerate(zip(place, instances.users, instances.cutoffs)):
            if len(self.names) and self.names[user] == name:
                start, stop = self.bounds[user], self.bounds[user + 1]
                stop = start + np.searchsorted(self.times[start:stop], cutoff)
                places.append(np.arange(start, stop))
                owners.append(np.full(stop - start, n))
        if not places:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(places), np.concatenate(owners)
