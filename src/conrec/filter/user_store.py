"""What the filter knows of each user, and the default store of it: one record a user, memory-mapped.

A record has the same bytes in every store (a row of `records.npy`, a value in Redis), so they all answer
alike. In one piece, a user costs one or two pages of memory or disk, not one for each array. Item rows are those of
the snapshot that the store belongs to. Beside the record stands the user's whole history, and of who never disliked
anything the history alone: nothing is predicted for them until they do.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from conrec.errors import ConrecError
from conrec.filter.id_index import IdIndex, IdIndexWriter
from conrec.filter.npy import NpyWriter, RowFile, map_npy
from conrec.score.factors import UserFactors
from conrec.score.user_history import History, of_lists

HEAD = 8
"""Bytes of a record before the vector: bias and activity."""


@dataclass(frozen=True)
class Layout:
    """How long the parts of a record are; the same for all users of a snapshot."""

    predicted: int
    """Predicted dislikes (the paper: 20)."""
    dimensions: int
    """d of the score's vectors."""

    @cached_property
    def record(self) -> np.dtype:
        """One user, little-endian."""
        return np.dtype(
            [
                ("bias", "<f4"),
                ("activity", "<i4"),
                ("vector", "<f4", (self.dimensions,)),
                ("predicted", "<i4", (self.predicted,)),
            ]
        )


@dataclass(frozen=True)
class Users:
    """A portion of users as arrays, to be written or as read back."""

    ids: Sequence[str]
    predicted: np.ndarray
    """int32 [U, K]: rows of the items predicted to be disliked, best first; -1 pads a list at its end."""
    vectors: np.ndarray
    """float [U, d]: the user's vector of the score."""
    biases: np.ndarray
    """float32 [U]."""
    activity: np.ndarray
    """int32 [U]: how often the user disliked or liked something before (thresholds may depend on it)."""
    histories: Sequence[bytes] = ()
    """`History.packed` of each; without them nothing is known of what they did."""

    def __len__(self) -> int:
        return len(self.ids)

    def records(self, layout: Layout, items: int) -> np.ndarray:
        """As records [U]. ValueError where shapes do not fit or a row is none of the `items` ones."""
        rows = np.empty(len(self), layout.record)
        lists = self.predicted
        parts = {"bias": self.biases, "activity": self.activity, "vector": self.vectors, "predicted": lists}
        for name, values in parts.items():
            if values.shape != rows[name].shape:
                raise ValueError(f"{name}: shape {values.shape}, the layout asks for {rows[name].shape}")
            rows[name] = values
        if lists.size and (lists.min() < -1 or lists.max() >= items):
            raise ValueError(f"predicted: values {lists.min()} to {lists.max()}, allowed are -1 to {items - 1}")
        if ((lists[:, :-1] < 0) & (lists[:, 1:] >= 0)).any():
            raise ValueError("predicted: -1 pads a list at its end only")
        if not (np.isfinite(rows["bias"]).all() and np.isfinite(rows["vector"]).all()):
            raise ValueError("a user's bias or vector is not finite")
        return rows

    def all_histories(self) -> Sequence[bytes]:
        return self.histories or [of_lists([], []).packed()] * len(self)

    def take(self, rows: np.ndarray) -> Users:
        """The users at these rows (int [u]), without their histories."""
        ids = [self.ids[n] for n in rows.tolist()]
        return Users(ids, self.predicted[rows], self.vectors[rows], self.biases[rows], self.activity[rows])

    @staticmethod
    def of_records(ids: Sequence[str], records: np.ndarray) -> Users:
        """The way back, but for the histories."""
        predicted, vectors, biases, activity = (records[name] for name in ("predicted", "vector", "bias", "activity"))
        return Users(ids, np.array(predicted), np.array(vectors), np.array(biases), np.array(activity))


class StoredUser:
    """One user's record and history; without the record there is nothing else to ask for than the history."""

    def __init__(self, layout: Layout, record: bytes, history: bytes) -> None:
        """record: empty where there is none."""
        self.has_record, self._layout, self._record, self._history = bool(record), layout, record, history

    @property
    def history(self) -> History:
        return History.of_bytes(self._history)

    # Each field by its place: numpy's records take several times as long.
    @property
    def predicted(self) -> np.ndarray:
        """int32 [p], best first; may be empty."""
        rows = np.frombuffer(self._record, "<i4", self._layout.predicted, HEAD + 4 * self._layout.dimensions)
        return rows if not len(rows) or rows[-1] >= 0 else rows[rows >= 0]  # -1 pads the end

    @property
    def activity(self) -> int:
        return int.from_bytes(self._record[4:HEAD], "little")

    @property
    def factors(self) -> UserFactors:
        vector = np.frombuffer(self._record, "<f4", self._layout.dimensions, HEAD)
        return UserFactors(vector, *struct.unpack_from("<f", self._record))


class MappedUsers:
    """Users in a folder: an id index, `records.npy`, and all histories in one file. Read-only; what is not looked at is
    not read. Users with a history alone come last."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """ConrecError where a file is missing, cut short or of another layout."""
        self.layout = layout
        self._index = IdIndex(folder)
        self._records = map_npy(folder / "records.npy", layout.record, 1)
        self._single = RowFile(folder / "records.npy", layout.record)
        self._ends = map_npy(folder / "history_ends.npy", np.int64, 1, scattered=True).data  # cheaper numbers
        histories = map_npy(folder / "histories.npy", np.uint8, 1)
        self._histories = RowFile(folder / "histories.npy", histories.dtype)
        if len(self._index) != len(self._ends) or len(histories) != (self._ends[-1] if len(self._ends) else 0):
            raise ConrecError(f"{folder}: ids and histories do not fit together; write it again")
        if len(self._records) > len(self._ends):
            raise ConrecError(f"{folder}: {len(self._index)} ids but {len(self._records)} records; write it again")

    def get(self, user_id: str) -> StoredUser | None:
        row = self._index.row(user_id)
        if row < 0:
            return None
        start = self._ends[row - 1] if row else 0
        history = self._histories.rows(start, self._ends[row] - start)
        return StoredUser(self.layout, self._single.rows(row, 1) if row < len(self) else b"", history)

    def __len__(self) -> int:
        return len(self._records)

    def entries(self) -> int:
        """How many users there are, with or without a record."""
        return len(self._index)

    def portions(self, size: int = 100_000) -> Iterator[Users]:
        """All users with a record in the order in which they were added, `size` at a time."""
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
        self._histories = NpyWriter(folder / "histories.npy", np.dtype(np.uint8))
        self._ends = NpyWriter(folder / "history_ends.npy", np.dtype(np.int64))

    def add(self, users: Users) -> None:
        """ConrecError for an id that is empty or too long, ValueError for arrays that do not fit."""
        records = users.records(self._layout, self._items)
        self.add_histories(users.ids, users.all_histories())
        self._records.append(records)

    def add_histories(self, ids: Sequence[str], histories: Sequence[bytes]) -> None:
        """Users without a record, after all others."""
        self._index.add(ids)
        self._ends.append(self._histories.length + np.cumsum([len(one) for one in histories], dtype=np.int64))
        self._histories.append(np.frombuffer(b"".join(histories), np.uint8))

    def finish(self) -> int:
        """The number of users with a record. ConrecError for an id that was added twice."""
        for file in (self._records, self._histories, self._ends):
            file.close()
        self._index.finish()
        return self._records.length
