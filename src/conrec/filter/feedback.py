"""What users say between two snapshots: dislikes and undos, and mutes, in a database beside the snapshots, in force at
once (docs/feedback.md).

`feedback.sqlite` is only ever added to (but for `drop_before` and `forget`). A snapshot says up to which position it
has been worked in (`Manifest.feedback`); the filter applies what came after, and every daily job looks at all of it
again: what counts is the time of each entry, not when or how often it arrives (`in_force`).
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from conrec.data.clean import last_undo
from conrec.errors import ConrecError
from conrec.filter.mutes import Mute

FILE = "feedback.sqlite"
Kind = Literal["dislike", "undo"]
_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, user TEXT NOT NULL, item TEXT NOT NULL,
    kind TEXT NOT NULL, time INTEGER NOT NULL, reason TEXT
);
CREATE TABLE IF NOT EXISTS mutes (user TEXT, kind TEXT, name TEXT, PRIMARY KEY (user, kind, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_user ON feedback (user, position);
CREATE INDEX IF NOT EXISTS of_pair ON feedback (user, item, time);
"""
# Without a time of its own an entry follows all before it on this item, whatever the clocks say.
_INSERT = """
INSERT INTO feedback (id, user, item, kind, time, reason)
SELECT :id, :user, :item, :kind, coalesce(:time, max(:now, coalesce(max(time) + 1, 0))), :reason
FROM feedback WHERE user = :user AND item = :item
ON CONFLICT (id) DO NOTHING
"""
_NEWS = """
SELECT (SELECT max(position) FROM feedback WHERE user = ? AND position > ?), kind, name
FROM (SELECT 1) LEFT JOIN mutes ON user = ?
"""
_COLUMNS = "user, item, kind, time, reason, id, position"


class Entry(NamedTuple):
    """A dislike, or the undo of one."""

    user: str
    item: str
    kind: Kind
    time: int | None = None
    """Microseconds since 1970 (UTC); None, until it is written: now."""
    reason: str | None = None
    """One of `data.schema.REASONS`."""
    id: str | None = None
    """An entry whose id was there before is passed over."""
    position: int = 0


class Feedback:
    """The entries of one folder of snapshots. For any number of threads and processes of a machine.

    Every call raises ConrecError where the database cannot be used.
    """

    def __init__(self, snapshots: Path) -> None:
        self._path = snapshots / FILE
        # One for each: a write waits for the disk now and then, a request must not. And one at a time: a statement that
        # overlaps with another on its connection sees what that one saw, not what is there now.
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reading, self._writing = threading.Lock(), threading.Lock()

    def add(self, entries: Sequence[Entry], not_before: int = 0) -> int:
        """Write entries, all or none, and for good; how many of them are new.

        not_before: the earliest time of one that has none of its own.
        """
        return self.add_each([entries], not_before)[0]

    def add_each(self, batches: Sequence[Sequence[Entry]], not_before: int = 0) -> list[int]:
        """As `add`, several batches in one go, all or none, in half the time; how many entries of each are new."""
        now = max(time.time_ns() // 1000, not_before)
        return self._write(_INSERT, *([entry._asdict() | {"now": now} for entry in one] for one in batches))

    def mute(self, user: str, mute: Mute) -> None:
        """Write a mute, for good; a second time changes nothing."""
        self._write("INSERT OR IGNORE INTO mutes VALUES (?, ?, ?)", [(user, mute.kind, mute.name)])

    def unmute(self, user: str, mute: Mute) -> bool:
        """Take a mute away; whether there was one."""
        where = "user = ? AND kind = ? AND name = ?"
        return self._write(f"DELETE FROM mutes WHERE {where}", [(user, mute.kind, mute.name)]) == [1]

    def forget(self, user: str) -> int:
        """Remove all that a user said and muted, and every trace of it from the files; how many rows."""
        gone = sum(self._write(f"DELETE FROM {table} WHERE user = ?", [(user,)])[0] for table in ("feedback", "mutes"))
        (self._writer or self._opened()).execute("VACUUM")
        if self._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())[0][0]:
            raise ConrecError(f"{self._path}: is being read, so old pages stay; forget once more")
        return gone

    def drop_before(self, moment: int, position: int) -> None:
        """Remove what users said before a moment (microseconds since 1970), as far as a position. Mutes stay."""
        self._write("DELETE FROM feedback WHERE time < ? AND position <= ?", [(moment, position)])

    def _write(self, statement: str, *batches: Sequence[Any]) -> list[int]:
        """Run a statement for each row of some batches, all or none; how many rows of the database each one changed."""
        try:
            with self._writing:
                database = self._writer = self._writer or self._opened()
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    changes = [database.total_changes]
                    for rows in batches:
                        database.executemany(statement, rows)
                        changes.append(database.total_changes)
                    return [after - before for before, after in pairwise(changes)]
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def news(self, user: str, after: int) -> tuple[int | None, list[Mute]]:
        """The position of a user's newest entry behind the position `after` (None: there is none), and the mutes."""
        found = self._rows(_NEWS, (user, after, user))
        return found[0][0] if found else None, [Mute(kind, name) for _, kind, name in found if kind]

    def of(self, user: str) -> list[Entry]:
        return self._entries("user = ? ORDER BY position", (user,))

    def until(self, position: int) -> list[Entry]:
        """Everybody's entries up to a position, as they came."""
        return self._entries("position <= ? ORDER BY position", (position,))

    def position(self) -> int:
        """The position of the newest entry; 0 where there is none."""
        found = self._rows("SELECT coalesce(max(position), 0) FROM feedback", ())
        return int(found[0][0]) if found else 0

    def _entries(self, where: str, values: tuple[object, ...]) -> list[Entry]:
        return [Entry(*row) for row in self._rows(f"SELECT {_COLUMNS} FROM feedback WHERE {where}", values)]

    def _rows(self, asked: str, values: tuple[object, ...]) -> list[tuple]:
        if self._reader is None and not os.path.exists(self._path):
            return []
        try:
            with self._reading:
                self._reader = self._reader or self._opened()
                return self._reader.execute(asked, values).fetchall()
        except UnicodeEncodeError:  # half a character; nobody has such an id
            return []
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        weakref.finalize(self, database.close)
        # Readers and a writer do not wait for each other. What was answered outlives the process, not a machine that
        # loses its power: to wait for the disk takes 10 ms an entry.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")
        database.executescript(_TABLE)
        return database

    def _unusable(self, error: sqlite3.Error) -> ConrecError:
        return ConrecError(f"{self._path}: {error}; it has to be what conrec wrote, on a disk of this machine")


def in_force(pairs: np.ndarray, marked: np.ndarray, undone: np.ndarray, times: np.ndarray) -> np.ndarray:
    """bool [n]: which entries count, whatever their order: the first dislike of a pair since its last undo.

    pairs: int [n], the number of each entry's user and item; marked: bool [n], a rejection that is no dislike
    (`score.user_history.MARKED`), which counts beside one; undone, times: as in `last_undo`.
    """
    alive = np.flatnonzero(~undone & (times > last_undo(pairs, undone, times)))
    keys = pairs[alive] * 2 + marked[alive]
    order = np.lexsort((times[alive], keys))
    counts = np.zeros(len(pairs), bool)
    counts[alive[order[np.diff(keys[order], prepend=-1) != 0]]] = True
    return counts
