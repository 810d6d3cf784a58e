"""Instances as arrays: what every system is given, and what it is measured against.

The table `prepare/instances.parquet` (written by `data.windows`) holds item ids; here they are rows of
`prepare/items.parquet`, ragged lists are one flat array with offsets, and times are `datetime64[us]` in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.schema import REASONS


@dataclass(frozen=True)
class Ragged:
    """Lists of different length: list n is `values[offsets[n] : offsets[n + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> np.ndarray:
        return self.values[self.offsets[n] : self.offsets[n + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Length of every list, int64 [n]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """For each value the number of its list, int64 [len(values)]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, index: np.ndarray) -> Ragged:
        """The lists at `index`, in that order."""
        lengths = self.lengths[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(self.offsets[:-1][index] - offsets[:-1], lengths)
        return Ragged(self.values[starts + np.arange(offsets[-1])], offsets)

    def where(self, keep: np.ndarray) -> Ragged:
        """The lists without the values where `keep`, bool [len(values)], is false."""
        lengths = np.bincount(self.owners[keep], minlength=len(self))
        return Ragged(self.values[keep], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @staticmethod
    def joined(parts: Sequence[Ragged]) -> Ragged:
        """One after the other; at least one."""
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(np.concatenate([part.values for part in parts]), offsets)

    @staticmethod
    def of(lists: list[np.ndarray] | list[list[int]], dtype: np.dtype | type = np.int32) -> Ragged:
        """From a list of arrays."""
        lengths = [len(x) for x in lists]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        parts = [np.asarray(x, dtype=dtype) for x in lists]
        return Ragged(np.concatenate(parts) if parts else np.zeros(0, dtype), offsets)


@dataclass(frozen=True)
class Instances:
    """Instances (user, cutoff) with history, truth and what must not be recommended again.

    All lists are oldest first. Histories are capped to the newest ones by the recipe; `n_dislikes` and
    `n_positives` are the true counts before the cutoff.
    """

    ids: np.ndarray
    """int64 [n], unique in the run."""
    split: np.ndarray
    """str [n]: train, validation or test."""
    users: np.ndarray
    """str [n]."""
    cutoffs: np.ndarray
    """datetime64[us] [n]: the history ends before this moment."""
    n_dislikes: np.ndarray
    n_positives: np.ndarray
    dislikes: Ragged
    """Item rows disliked before the cutoff."""
    dislike_times: Ragged
    positives: Ragged
    positive_times: Ragged
    seen: Ragged
    """Item rows rated, disliked or bought before the cutoff (held-out instances; empty for train)."""
    next: np.ndarray
    """int32 [n]: the first dislike after the cutoff."""
    future: Ragged
    """Item rows disliked within the horizon."""
    future_positives: Ragged

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> Instances:
        """The instances at `index` (positions or a boolean mask), in that order."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        parts: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            parts[field.name] = value.take(index) if isinstance(value, Ragged) else value[index]
        return Instances(**parts)

    @staticmethod
    def joined(parts: Sequence[Instances]) -> Instances:
        """One after the other; at least one."""
        columns: dict[str, Any] = {}
        for field in fields(Instances):
            values = [getattr(part, field.name) for part in parts]
            columns[field.name] = Ragged.joined(values) if isinstance(values[0], Ragged) else np.concatenate(values)
        return Instances(**columns)

    def of_split(self, split: str) -> Instances:
        """Those of one split."""
        return self.take(self.split == split)


@dataclass(frozen=True)
class Items:
    """The catalogue's side of the log: row n of `prepare/items.parquet` is item n everywhere."""

    ids: list[str]
    titles: list[str]
    categories: list[str | None]
    first_seen: np.ndarray
    """datetime64[us] [n]: first event or listing; NaT for an item that was never seen."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Events:
    """The cleaned log as arrays, sorted by time."""

    users: np.ndarray
    """str [n]."""
    items: np.ndarray
    """int32 [n] rows of the items."""
    times: np.ndarray
    """datetime64[us] [n]."""
    kinds: np.ndarray
    """str [n]: dislike, exposure, click, favorite, cart or purchase."""
    values: np.ndarray
    """float64 [n]: the rating, nan for an event that is none."""
    reasons: np.ndarray = None  # type: ignore[assignment]
    """int8 [n]: why it was disliked, a place in `data.schema.REASONS`, -1 where nothing was said (the default)."""

    def __post_init__(self) -> None:
        if self.reasons is None:
            object.__setattr__(self, "reasons", np.full(len(self.items), -1, np.int8))

    def __len__(self) -> int:
        return len(self.items)

    def take(self, index: np.ndarray) -> Events:
        """The events at `index` (positions or a boolean mask), in that order."""
        part = Events(*(getattr(self, field.name)[index] for field in fields(self)))
        if "_coded" in self.__dict__:
            names, codes = self._coded
            part.__dict__["_coded"] = names, codes[index]
        return part

    @cached_property
    def _coded(self) -> tuple[np.ndarray, np.ndarray]:
        """`users` as names, str [u] ascending, and the place of each event's among them, int32 [n].

        Comparing millions of names takes seconds, so it is done once; there may be more names than there are users.
        """
        names, codes = np.unique(self.users, return_inverse=True)
        return names, codes.astype(np.int32)

    def owners(self) -> tuple[np.ndarray, np.ndarray]:
        """Who is in the log, str [u] ascending, and whose each event is, int64 [n]."""
        names, codes = self._coded
        there = np.bincount(codes, minlength=len(names)) > 0
        return names[there], (np.cumsum(there) - 1)[codes]

    def of_users(self, users: np.ndarray) -> np.ndarray:
        """bool [n]: the event is of one of these users, str [m]."""
        names, codes = self._coded
        return np.isin(names, users)[codes]

    @property
    def rated(self) -> np.ndarray:
        """bool [n]: the event carries a rating, so the user has judged the item."""
        return ~np.isnan(self.values)

    @property
    def has_exposures(self) -> bool:
        """Whether the platform logged what it showed (a neutral rating is not a exposure)."""
        return bool(self._exposed.any())

    @property
    def shown(self) -> np.ndarray:
        """bool [n]: what the platform logged as shown; where it logs nothing, what was judged: all."""
        exposed = self._exposed
        return exposed if exposed.any() else np.ones(len(self), bool)

    @property
    def _exposed(self) -> np.ndarray:
        return (self.kinds == "exposure") & ~self.rated


def read_items(folder: Path) -> Items:
    """The items of a `prepare` folder."""
    return as_items(pq.read_table(folder / "items.parquet", columns=["item_id", "title", "category", "first_seen"]))


def as_items(table: pa.Table) -> Items:
    """A table ITEMS (data.schema) in the order of its rows."""
    return Items(
        table["item_id"].to_pylist(),
        table["title"].to_pylist(),
        table["category"].to_pylist(),
        _times(table["first_seen"].combine_chunks()),
    )


def read_events(folder: Path, items: Items) -> Events:
    """The cleaned events of a `prepare` folder."""
    columns = ["user_id", "item_id", "time", "kind", "value", "reason"]
    texts = ["user_id", "item_id", "kind"]
    return as_events(pq.read_table(folder / "events.parquet", columns=columns, read_dictionary=texts), items)


def as_events(table: pa.Table, items: Items) -> Events:
    """A table EVENTS (data.schema), whose items are all among `items`, sorted by time, user and item."""
    (names, users), (ids, named), (kinds, kind) = (_texts(table[name]) for name in ("user_id", "item_id", "kind"))
    times = _times(table["time"].combine_chunks())
    events = Events(
        names[users],
        _rows(pa.array(ids, pa.string()), items)[named],
        times,
        kinds[kind],
        table["value"].cast(pa.float64()).to_numpy(),
        pc.fill_null(pc.index_in(table["reason"], pa.array(REASONS)), -1).to_numpy().astype(np.int8),
    )
    events.__dict__["_coded"] = names, users
    step = [np.diff(key) for key in (times.view(np.int64), users, named)]
    sorted_already = (step[0] > 0) | (step[0] == 0) & ((step[1] > 0) | (step[1] == 0) & (step[2] >= 0))
    return events if sorted_already.all() else events.take(np.lexsort((named, users, times)))


def _texts(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column of texts as those that occur, str [u] ascending, and the place of each row's among them, int32 [n]."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    texts, place = np.unique(whole.dictionary.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return texts, place.astype(np.int32)[whole.indices.to_numpy()]


def read_instances(folder: Path, items: Items) -> Instances:
    """The instances of a `prepare` folder, sorted by id."""
    table = pq.read_table(folder / "instances.parquet").sort_by("instance_id")

    def ragged(name: str) -> Ragged:
        column = table[name].combine_chunks()
        offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(column).to_numpy())]).astype(np.int64)
        flat = column.flatten()
        is_time = pa.types.is_timestamp(flat.type)
        return Ragged(_times(flat) if is_time else _rows(flat, items), offsets)

    return Instances(
        ids=table["instance_id"].to_numpy(),
        split=table["split"].to_numpy().astype(str),
        users=table["user_id"].to_numpy().astype(str),
        cutoffs=_times(table["cutoff"].combine_chunks()),
        n_dislikes=table["n_dislikes"].to_numpy(),
        n_positives=table["n_positives"].to_numpy(),
        dislikes=ragged("dislikes"),
        dislike_times=ragged("dislike_times"),
        positives=ragged("positives"),
        positive_times=ragged("positive_times"),
        seen=ragged("seen"),
        next=_rows(table["next"].combine_chunks(), items),
        future=ragged("future"),
        future_positives=ragged("future_positives"),
    )


def with_dislikes(instances: Instances, most: int) -> Instances:
    """At most so many instances with an earlier dislike, evenly spread over the period."""
    return instances.take(evenly(np.flatnonzero(instances.n_dislikes > 0), most))


def evenly(index: np.ndarray, n: int) -> np.ndarray:
    """At most n of these, evenly spread, in order."""
    return index[np.unique(np.linspace(0, len(index) - 1, min(n, len(index))).astype(int))]


def _times(column: pa.Array) -> np.ndarray:
    """datetime64[us] without a zone (everything is UTC)."""
    return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)


def _rows(column: pa.Array | pa.ChunkedArray, items: Items) -> np.ndarray:
    """Item ids as rows of the items table."""
    rows = pc.index_in(column, value_set=pa.array(items.ids, pa.string()))
    if isinstance(rows, pa.ChunkedArray):
        rows = rows.combine_chunks()
    return rows.to_numpy(zero_copy_only=False).astype(np.int32)
