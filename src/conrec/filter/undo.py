"""Dislikes that were taken back: an append-only file beside the sets, in force at once.

Each line of `retractions.jsonl` is one JSON object: user, item, time. A set says how many of the lines were there
when it was made and have been worked in (`Manifest.retractions`); the filter applies the lines after those. So a
dislike that is taken back counts no more from the next request on, and one that a user repeats after the next daily
job counts again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from conrec.errors import ConrecError

FILE = "retractions.jsonl"


def take_back(sets: Path, user: str, item: str) -> None:
    """Note that `user` takes back the dislike of `item` (ids); safe from several processes at once."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"user": user, "item": item, "time": time}) + "\n"
    with (sets / FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # What a crash left half-written must not swallow this line; it stays a line of its own and is skipped.
        end = file.seek(0, os.SEEK_END)
        torn = end > 0 and _last_byte(sets / FILE) != b"\n"
        file.write(b"\n" * torn + line.encode())
        file.flush()
        os.fsync(file.fileno())


class Retractions:
    """The file as the filter reads it: only what is new since the last look. For any number of threads."""

    def __init__(self, sets: Path) -> None:
        self._path = sets / FILE
        self._size = 0
        self._lines: list[tuple[str, str] | None] = []
        self._of_user: dict[str, list[tuple[int, str]]] = {}
        self._reading = threading.Lock()

    def __len__(self) -> int:
        """Lines so far: what the daily job notes in the set that it makes with them."""
        self._look()
        return len(self._lines)

    def of(self, user: str, after: int = 0) -> list[str]:
        """Ids of the items whose dislike the user took back, of the lines from `after` on."""
        self._look()
        return [item for line, item in self._of_user.get(user, ()) if line >= after]

    def all(self) -> list[tuple[str, str]]:
        """(user, item) of every line, oldest first."""
        self._look()
        return [line for line in self._lines if line is not None]

    def _look(self) -> None:
        if self._now() != self._size:
            with self._reading:
                self._read()

    def _now(self) -> int:
        """Bytes in the file."""
        try:
            return os.stat(self._path).st_size
        except FileNotFoundError:
            return 0

    def _read(self) -> None:
        """What was appended, less a last line that has no end yet."""
        size = self._now()
        if size < self._size:
            raise ConrecError(f"{self._path}: has become shorter; it is only ever appended to, put it back")
        with self._path.open("rb") as file:
            file.seek(self._size)
            new = file.read(size - self._size)
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.splitlines():
            pair = _pair(line)
            if pair is not None:
                self._of_user.setdefault(pair[0], []).append((len(self._lines), pair[1]))
            self._lines.append(pair)
        self._size += len(whole)


def _pair(line: bytes) -> tuple[str, str] | None:
    """User and item; None for a line that a crash cut short."""
    try:
        entry = json.loads(line)
        return str(entry["user"]), str(entry["item"])
    except (ValueError, KeyError, TypeError):
        return None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
