"""What the filter knows of each user, and the default store of it: one record a user, memory-mapped.

A record has the same bytes in every store (a row of `records.npy`, a value in Redis), so they all answer
alike. In one piece, a user costs one or two pages of memory or disk, not one for each array. Item rows are those of
the snapshot that the store belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from conrec.errors import ConrecError
from conrec.filter.id_index import IdIndex, IdIndexWriter
from conrec.filter.npy import NpyWriter, RowFile, map_npy
from conrec.score.factors import UserFactors


@dataclass(frozen=True)
class Layout:
    """How long the parts of a record are; the same for all users of a snapshot."""

    predicted: int
    """Predicted dislikes (the paper: 20)."""
    dislikes: int
    """Past dislikes that are kept, at most 127."""
    liked: int
    """Past positives that are kept (the page shows them; the filter does not need them)."""
    dimensions: int
    """d of the score's vectors; 0 for the paper's score."""
    vector: str = "f4"
    """Type of the vectors: f4, or f2 for half the memory and three digits."""

    def __post_init__(self) -> None:
        if self.dislikes > 127 or min(self.predicted, self.dislikes, self.liked, self.dimensions) < 0:
            raise ValueError(f"{self}: lengths are 0 or more, and at most 127 dislikes")
        if self.vector not in ("f4", "f2"):
            raise ValueError(f"vectors are f4 or f2, not {self.vector}")

    @property
    def record(self) -> np.dtype:
        """One user, little-endian."""
        return np.dtype(
            [
                ("bias", "<f4"),
                ("activity", "<i4"),
                ("vector", f"<{self.vector}", (self.dimensions,)),
                ("predicted", "<i4", (self.predicted,)),
                ("reason_index", "i1", (self.predicted,)),
                ("dislikes", "<i4", (self.dislikes,)),
                ("liked", "<i4", (self.liked,)),
            ]
        )


@dataclass(frozen=True)
class Users:
    """A portion of users as arrays, to be written or as read back. -1 pads every list at its end."""

    ids: Sequence[str]
    predicted: np.ndarray
    """int32 [U, K]: rows of the items predicted to be disliked, best first."""
    reason_index: np.ndarray
    """int8 [U, K]: which of `dislikes` (its position) a prediction is closest to, -1 for none."""
    dislikes: np.ndarray
    """int32 [U, M]: rows of the items disliked before, newest first."""
    liked: np.ndarray
    """int32 [U, L]: rows of the items liked before, newest first."""
    vectors: np.ndarray
    """float [U, d]: the user's vector of the score."""
    biases: np.ndarray
    """float32 [U]."""
    activity: np.ndarray
    """int32 [U]: how often the user disliked or liked something before (thresholds may depend on it)."""

    def __len__(self) -> int:
        return len(self.ids)

    def records(self, layout: Layout, items: int) -> np.ndarray:
        """As records [U]. ValueError where shapes do not fit or a row is none of the `items` ones."""
        rows = np.empty(len(self), layout.record)
        parts = {"bias": self.biases, "activity": self.activity, "vector": self.vectors}
        parts |= {name: getattr(self, name) for name in _LISTS}
        for name, values in parts.items():
            if values.shape != rows[name].shape:
                raise ValueError(f"{name}: shape {values.shape}, the layout asks for {rows[name].shape}")
            if name in _LISTS and values.size:
                end = layout.dislikes if name == "reason_index" else items
                if values.min() < -1 or values.max() >= end:
                    raise ValueError(f"{name}: values {values.min()} to {values.max()}, allowed are -1 to {end - 1}")
                if ((values[:, :-1] < 0) & (values[:, 1:] >= 0)).any() and name != "reason_index":
                    raise ValueError(f"{name}: -1 pads a list at its end only")
            rows[name] = values
        if not (np.isfinite(rows["bias"]).all() and np.isfinite(rows["vector"]).all()):
            raise ValueError("a user's bias or vector is not finite")
        return rows

    def take(self, rows: np.ndarray) -> Users:
        """The users at these rows (int [u])."""
        arrays = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "ids"}
        return Users([self.ids[n] for n in rows.tolist()], **arrays)

    @staticmethod
    def of_records(ids: Sequence[str], records: np.ndarray) -> Users:
        """The way back."""
        lists = {name: np.array(records[name]) for name in _LISTS}
        vectors, biases, activity = (np.array(records[name]) for name in ("vector", "bias", "activity"))
        return Users(ids, **lists, vectors=vectors, biases=biases, activity=activity)


_LISTS = ("predicted", "reason_index", "dislikes", "liked")


class StoredUser:
    """One user's record."""

    __slots__ = ("_record",)

    def __init__(self, record: np.void) -> None:
        self._record = record

    @property
    def predicted(self) -> np.ndarray:
        """int32 [p], best first; may be empty."""
        return _without_padding(self._record["predicted"])

    @property
    def reason_index(self) -> np.ndarray:
        """int8 [p]: position in `dislikes` of what a prediction is closest to, -1 for none."""
        return self._record["reason_index"][: len(self.predicted)]

    @property
    def dislikes(self) -> np.ndarray:
        """int32 [m], newest first."""
        return _without_padding(self._record["dislikes"])

    @property
    def liked(self) -> np.ndarray:
        """int32 [l], newest first."""
        return _without_padding(self._record["liked"])

    @property
    def activity(self) -> int:
        """Dislikes and likes before."""
        return int(self._record["activity"])

    @property
    def factors(self) -> UserFactors:
        """What the score takes."""
        return UserFactors(self.predicted, self._record["vector"].astype(np.float32), float(self._record["bias"]))


class MappedUsers:
    """Users in a folder: an id index and `records.npy`. Read-only; what is not looked at is not read."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """ConrecError where a file is missing, cut short or of another layout."""
        self.layout = layout
        self._index = IdIndex(folder)
        self._records = map_npy(folder / "records.npy", layout.record, 1)
        self._single = RowFile(folder / "records.npy", layout.record)
        if len(self._index) != len(self._records):
            raise ConrecError(f"{folder}: {len(self._index)} ids but {len(self._records)} records; write it again")

    def get(self, user_id: str) -> StoredUser | None:
        """The user's record, or None for one that is not there."""
        row = self._index.row(user_id)
        return StoredUser(self._single.row(row)) if row >= 0 else None

    def __len__(self) -> int:
        return len(self._records)

    def portions(self, size: int = 100_000) -> Iterator[Users]:
        """All users in the order in which they were added, `size` at a time."""
        for start in range(0, len(self), size):
            rows = range(start, min(start + size, len(self)))
            yield Users.of_records([self._index.id(row) for row in rows], self._records[rows.start : rows.stop])

    def close(self) -> None:
        """Nothing to do: mapping and file go with the last that looks into them."""


class MappedUsersWriter:
    """Writes the folder of `MappedUsers`, users in any number of portions."""

    def __init__(self, folder: Path, layout: Layout, items: int) -> None:
        self._layout, self._items = layout, items
        self._index = IdIndexWriter(folder)
        self._records = NpyWriter(folder / "records.npy", layout.record)

    def add(self, users: Users) -> None:
        """ConrecError for an id that is empty or too long, ValueError for arrays that do not fit."""
        records = users.records(self._layout, self._items)
        self._index.add(users.ids)
        self._records.append(records)

    def finish(self) -> int:
        """The number of users. ConrecError for an id that was added twice."""
        self._records.close()
        self._index.finish()
        return self._records.length


def records_of(values: Sequence[bytes], layout: Layout, where: str) -> np.ndarray:
    """Records [n] out of another store's bytes; ConrecError where they are none."""
    size = layout.record.itemsize
    for value in values:
        if len(value) != size:
            raise ConrecError(f"{where}: a record of {len(value)} bytes, not {size}; write it again")
    return np.frombuffer(b"".join(values), layout.record)


def _without_padding(rows: np.ndarray) -> np.ndarray:
    """-1 only pads the end."""
    if not len(rows) or rows[-1] >= 0:
        return rows
    return rows[: int(np.count_nonzero(rows >= 0))]
