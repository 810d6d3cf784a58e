"""Instances as arrays: what every system is given, and what it is measured against.

The table `prepare/instances.parquet` (written by `data.windows`) holds item ids; here they are rows of
`prepare/items.parquet`, ragged lists are one flat array with offsets, and times are `datetime64[us]` in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.schema import EVENTS, KINDS, POSITIVE_KINDS, REASONS, TIME
from conrec.parallel import declared

if TYPE_CHECKING:
    from conrec.data.user_log import UserLog

INSTANCES = pa.schema(
    [
        ("instance_id", pa.int64()),
        ("split", pa.string()),
        ("user_id", pa.string()),
        ("cutoff", TIME),
        ("n_dislikes", pa.int64()),
        ("n_positives", pa.int64()),
        ("dislikes", pa.list_(pa.string())),
        ("dislike_times", pa.list_(TIME)),
        ("positives", pa.list_(pa.string())),
        ("positive_times", pa.list_(TIME)),
        ("seen", pa.list_(pa.string())),
        ("next", pa.string()),
        ("future", pa.list_(pa.string())),
        ("future_positives", pa.list_(pa.string())),
    ]
)
"""One row an instance; what the columns hold: see `Instances`."""


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
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """For each value the number of its list, int64 [len(values)]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, index: np.ndarray) -> Ragged:
        lengths = self.lengths[index]
        offsets = offsets_of(lengths)
        starts = np.repeat(self.offsets[:-1][index] - offsets[:-1], lengths)
        return Ragged(self.values[starts + np.arange(offsets[-1])], offsets)

    def of_values(self, values: np.ndarray) -> Ragged:
        """Lists of the same lengths with other values: `values` [len(self.values)]."""
        return Ragged(values, self.offsets)

    def where(self, keep: np.ndarray) -> Ragged:
        """The lists without the values where `keep`, bool [len(values)], is false."""
        return Ragged(self.values[keep], offsets_of(np.bincount(self.owners[keep], minlength=len(self))))

    def padded(self) -> np.ndarray:
        """[n, longest], at least one column: the lists as rows, -1 behind their ends."""
        out = np.full((len(self), max(1, int(self.lengths.max(initial=0)))), -1, self.values.dtype)
        out[np.arange(out.shape[1]) < self.lengths[:, None]] = self.values
        return out

    @staticmethod
    def joined(parts: Sequence[Ragged]) -> Ragged:
        offsets = offsets_of(np.concatenate([part.lengths for part in parts]))
        return Ragged(np.concatenate([part.values for part in parts]), offsets)

    @staticmethod
    def of(lists: list[np.ndarray] | list[list[int]], dtype: np.dtype | type = np.int32) -> Ragged:
        parts = [np.asarray(x, dtype=dtype) for x in lists]
        return Ragged(np.concatenate([np.zeros(0, dtype), *parts]), offsets_of([len(x) for x in lists]))


def offsets_of(lengths: np.ndarray | list[int]) -> np.ndarray:
    """int64 [n + 1]: where each of n lists of these lengths begins and the last one ends, one behind the other."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@dataclass(frozen=True)
class Instances:
    """Instances (user, cutoff) with history, truth and what must not be recommended again.

    The fields are the columns INSTANCES in their order. All lists are oldest first. Histories are capped to the newest
    ones by the recipe; `n_dislikes` and `n_positives` are the true counts before the cutoff.
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
    """Item rows consumed before the cutoff: disliked, bought or rated (empty for train)."""
    next: np.ndarray
    """int32 [n]: the first dislike after the cutoff, -1 for none; in training the one the sample was cut before."""
    future: Ragged
    """Item rows disliked within the horizon."""
    future_positives: Ragged

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> Instances:
        """The instances at `index` (positions or a boolean mask), in that order."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        parts: list[Any] = [getattr(self, field.name) for field in fields(self)]
        taken: list[Any] = [part.take(index) if isinstance(part, Ragged) else part[index] for part in parts]
        return Instances(*taken)

    @staticmethod
    def joined(parts: Sequence[Instances]) -> Instances:
        columns: list[Any] = []
        for field in fields(Instances):
            values = [getattr(part, field.name) for part in parts]
            columns.append(Ragged.joined(values) if isinstance(values[0], Ragged) else np.concatenate(values))
        return Instances(*columns)

    def of_split(self, split: str) -> Instances:
        return self.take(self.split == split)


@dataclass(frozen=True)
class Items:
    """The catalogue's side of the log: row n of `prepare/items.parquet` is item n everywhere."""

    ids: list[str]
    titles: list[str]
    categories: list[str | None]
    first_seen: np.ndarray
    """datetime64[us] [n]: first event or listing; NaT for an item that was never seen."""
    texts: pa.ChunkedArray | None = None
    """What the log says of each beside its title, null where that is nothing."""

    def __len__(self) -> int:
        return len(self.ids)

    def says(self, row: int) -> str:
        """All words of an item: its title, and its text."""
        text = None if self.texts is None else self.texts[row].as_py()
        return f"{self.titles[row]}: {text}" if text else self.titles[row]


@dataclass(frozen=True)
class Events:
    """The cleaned log as arrays, sorted by time, and at one moment by user and item id."""

    names: np.ndarray
    """str [u], ascending: the users. A part of a log keeps the names of the whole."""
    numbers: np.ndarray
    """int32 [n]: the user of each event, a place in `names`. (Comparing millions of names takes seconds.)"""
    items: np.ndarray
    """int32 [n] rows of the items."""
    times: np.ndarray
    """datetime64[us] [n]."""
    kind: np.ndarray
    """int8 [n]: a place in `data.schema.KINDS`; none is an undo."""
    values: np.ndarray
    """float64 [n]: the rating, nan for an event that is none."""
    reasons: np.ndarray
    """int8 [n]: why it was disliked, a place in `data.schema.REASONS`, -1 where nothing was said."""

    __getstate__ = declared

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def by_user(self) -> UserLog:
        """These events, sorted by time, indexed by user; made once."""
        from conrec.data.user_log import UserLog  # which is made of events

        return UserLog(self)

    @property
    def users(self) -> np.ndarray:
        """str [n]: the name of each event's user."""
        return self.names[self.numbers]

    def take(self, index: np.ndarray | slice) -> Events:
        """The events at `index` (positions, a boolean mask, or a slice), in that order."""
        return Events(self.names, *(getattr(self, field.name)[index] for field in fields(self)[1:]))

    def until(self, moment: np.datetime64) -> slice:
        """Where everybody's events before the moment are."""
        return slice(0, int(np.searchsorted(self.times, moment)))

    def owners(self) -> tuple[np.ndarray, np.ndarray]:
        """Users with an event, str [u] ascending, and the place of each event's user among these, int64 [n]."""
        there = np.bincount(self.numbers, minlength=len(self.names)) > 0
        return self.names[there], (np.cumsum(there) - 1)[self.numbers]

    def first_of_item(self) -> np.ndarray:
        """int64, ascending: the place of each user's first event on each item."""
        return np.sort(np.unique(self._pairs, return_index=True)[1])

    def of_users(self, users: np.ndarray) -> np.ndarray:
        """bool [n]: the event is of one of these users, str [m]."""
        return np.isin(self.names, users)[self.numbers]

    @property
    def kinds(self) -> np.ndarray:
        """str [n]: dislike, exposure, click, favorite, cart or purchase."""
        return np.array(KINDS)[self.kind]

    @property
    def is_dislike(self) -> np.ndarray:
        return self.kind == KINDS.index("dislike")

    @property
    def is_positive(self) -> np.ndarray:
        return np.isin(self.kind, [KINDS.index(name) for name in POSITIVE_KINDS])

    @property
    def is_consumed(self) -> np.ndarray:
        """bool [n]: disliked, bought or rated, so the item is not to be recommended to the user again."""
        return self.is_dislike | (self.kind == KINDS.index("purchase")) | self.rated

    @property
    def rated(self) -> np.ndarray:
        """bool [n]: the event carries a rating."""
        return ~np.isnan(self.values)

    @property
    def has_exposures(self) -> bool:
        """Whether the platform logged what it showed (a neutral rating is not an exposure)."""
        return bool(self.exposed.any())

    @property
    def shown(self) -> np.ndarray:
        """bool [n]: the exposures, and the reactions to an item of which the user has none so far: it was shown all the
        same (a log may have one row an exposure that says what came of it, or no exposures at all)."""
        shown, pairs = self.exposed, self._pairs
        exposed, others = np.flatnonzero(shown), np.flatnonzero(~shown)
        asked, place = np.unique(pairs[others], return_inverse=True)
        first = np.full(len(asked) + 1, np.iinfo(np.int64).max).view("datetime64[us]")
        ended = np.append(asked, -1)
        for start in range(0, len(exposed), 2**22)[::-1]:  # from the last on, so that the first one stays
            some = exposed[start : start + 2**22][::-1]
            at = np.searchsorted(asked, pairs[some])
            same = ended[at] == pairs[some]
            first[at[same]] = self.times[some[same]]
        shown[others] = self.times[others] < first[place]
        return shown

    @property
    def _pairs(self) -> np.ndarray:
        """int64 [n]: the same number for the same user and item."""
        return self.numbers.astype(np.int64) * (1 + int(self.items.max(initial=0))) + self.items

    @property
    def exposed(self) -> np.ndarray:
        return (self.kind == KINDS.index("exposure")) & ~self.rated


def read_items(folder: Path) -> Items:
    return as_items(pq.read_table(folder / "items.parquet", columns=["item_id", "title", "category", "first_seen"]))


def as_items(table: pa.Table) -> Items:
    """A table ITEMS (data.schema) in the order of its rows."""
    return Items(
        table["item_id"].to_pylist(),
        table["title"].to_pylist(),
        table["category"].to_pylist(),
        _times(table["first_seen"].combine_chunks()),
        table["text"] if "text" in table.column_names else None,
    )


def read_events(folder: Path, items: Items) -> Events:
    # Users and items not as dictionaries: the reader would repeat one of a million names for each part of the file.
    path = folder / "events.parquet"
    return as_events(pq.read_table(path, columns=EVENTS.names, read_dictionary=["kind"]), items)


def as_events(table: pa.Table, items: Items) -> Events:
    """A table EVENTS (data.schema), whose items are all among `items`, sorted by time, user and item."""
    (names, users), (ids, named), (kinds, kind) = (_texts(table[name]) for name in ("user_id", "item_id", "kind"))
    times = _times(table["time"].combine_chunks())
    events = Events(
        names,
        users,
        _rows(pa.array(ids, pa.string()), items)[named],
        times,
        np.array([KINDS.index(name) for name in kinds], np.int8)[kind],
        table["value"].cast(pa.float64()).to_numpy(),
        pc.fill_null(pc.index_in(table["reason"], pa.array(REASONS)), -1).to_numpy().astype(np.int8),
    )
    step = [np.diff(key) for key in (times.view(np.int64), users, named)]
    sorted_already = (step[0] > 0) | (step[0] == 0) & ((step[1] > 0) | (step[1] == 0) & (step[2] >= 0))
    return events if sorted_already.all() else events.take(np.lexsort((named, users, times)))


def _texts(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column of texts as those that occur, str [u] ascending, and the place of each row's among them, int32 [n]."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    else:
        column = column.cast(pa.string()).dictionary_encode()
    # Either way all chunks have the same dictionary.
    chunks = column.chunks or [pa.array([], pa.string()).dictionary_encode()]
    texts, place = np.unique(chunks[0].dictionary.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return texts, np.concatenate([place.astype(np.int32)[chunk.indices.to_numpy()] for chunk in chunks])


def read_instances(folder: Path, items: Items) -> Instances:
    return as_instances(pq.read_table(folder / "instances.parquet").sort_by("instance_id"), items)


def as_instances(table: pa.Table, items: Items) -> Instances:
    """A table INSTANCES, in the order of its rows."""

    def parsed(name: str, column: pa.Array) -> Any:
        if pa.types.is_list(column.type):
            return Ragged(parsed(name, column.flatten()), offsets_of(pc.list_value_length(column).to_numpy()))
        if pa.types.is_timestamp(column.type):
            return _times(column)
        if not pa.types.is_string(column.type):
            return column.to_numpy()
        if name in ("split", "user_id"):
            return column.to_numpy(zero_copy_only=False).astype(str)
        return _rows(column, items)

    return Instances(*(parsed(name, table[name].combine_chunks()) for name in INSTANCES.names))


def instances_table(instances: Instances, items: Items) -> pa.Table:
    """The table INSTANCES, with item ids instead of rows."""
    ids = pa.array(items.ids, pa.string())

    def column(kind: pa.DataType, values: np.ndarray | Ragged) -> pa.Array:
        if isinstance(values, Ragged):
            flat = column(kind.value_type, values.values)
            return pa.ListArray.from_arrays(pa.array(values.offsets, pa.int32()), flat)
        is_row = pa.types.is_string(kind) and values.dtype.kind == "i"
        return ids.take(pa.array(values)) if is_row else pa.array(values).cast(kind)

    columns = (getattr(instances, field.name) for field in fields(instances))
    return pa.table([column(*pair) for pair in zip(INSTANCES.types, columns)], schema=INSTANCES)


def with_dislikes(instances: Instances, most: int) -> Instances:
    """At most so many instances with an earlier dislike, evenly spread over the period."""
    return instances.take(evenly(np.flatnonzero(instances.n_dislikes > 0), most))


def evenly(index: np.ndarray, n: int) -> np.ndarray:
    """At most n of these, evenly spread, in order."""
    return index[np.unique(np.linspace(0, len(index) - 1, min(n, len(index))).astype(int))]


def cut(count: int, most: int) -> list[np.ndarray]:
    """Places int64 of so many things, in parts alike of at most `most`; one part at least."""
    return np.array_split(np.arange(count), max(1, -(-count // most)))


def _times(column: pa.Array) -> np.ndarray:
    """datetime64[us] without a zone (everything is UTC)."""
    return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)


def _rows(column: pa.Array, items: Items) -> np.ndarray:
    rows = pc.index_in(column, value_set=pa.array(items.ids, pa.string()))
    return rows.to_numpy(zero_copy_only=False).astype(np.int32)
