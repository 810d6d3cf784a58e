"""Dislikes that users took back: an append-only file beside the snapshots, in force at once.

Each line of `undo.jsonl` is one JSON object: user, item, time. A snapshot says how many of the lines were there when
it was made and have been worked in (`Manifest.undos`); the filter applies the lines after those. So a dislike that is
taken back counts no more from the next request on, and one that a user repeats after the next daily job counts again.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from conrec.errors import ConrecError

FILE = "undo.jsonl"


@dataclass(frozen=True)
class Undo:
    """A dislike that a user took back."""

    user: str
    item: str
    time: np.datetime64
    """When it was taken back (UTC)."""


def undo_dislike(snapshots: Path, user: str, item: str) -> None:
    """Note that `user` undoes the dislike of `item` (ids); safe from several processes at once."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"user": user, "item": item, "time": time}) + "\n"
    with (snapshots / FILE).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # What a crash left half-written must not swallow this line; it stays a line of its own and is skipped.
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_undos(snapshots: Path) -> list[Undo | None]:
    """Every whole line of the file, oldest first; None for one that a crash cut short."""
    path = snapshots / FILE
    return _parsed(path.read_bytes())[0] if path.exists() else []


class Undos:
    """The file as the filter reads it: only what is new since the last look. For any number of threads."""

    def __init__(self, snapshots: Path) -> None:
        self._path = snapshots / FILE
        self._size = self._lines = 0
        self._of_user: dict[str, list[tuple[int, str]]] = {}
        self._reading = threading.Lock()

    def of(self, user: str, after: int = 0) -> list[str]:
        """Ids of the items whose dislike the user took back, of the lines from `after` on."""
        if self._now() != self._size:
            with self._reading:
                self._read()
        return [item for line, item in self._of_user.get(user, ()) if line >= after]

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
            undos, read = _parsed(file.read(size - self._size))
        for line, undo in enumerate(undos, self._lines):
            if undo is not None:
                self._of_user.setdefault(undo.user, []).append((line, undo.item))
        self._lines += len(undos)
        self._size += read


def _parsed(text: bytes) -> tuple[list[Undo | None], int]:
    """The whole lines (None for one that is no undo), and how many bytes they take."""
    whole = text[: text.rfind(b"\n") + 1]
    undos: list[Undo | None] = []
    for line in whole.splitlines():
        try:
            entry = json.loads(line)
            time = np.datetime64(entry["time"].removesuffix("Z").removesuffix("+00:00"), "us")
            undos.append(Undo(str(entry["user"]), str(entry["item"]), time))
        except (ValueError, KeyError, TypeError, AttributeError):
            undos.append(None)
    return undos, len(whole)
