"""The log that the nightly job takes: a file of JSON lines a day (UTC), each event in it once."""

import threading
from datetime import datetime
from pathlib import Path

import msgspec


class Event(msgspec.Struct):
    """A line: the columns of docs/data.md, and two more that CoNRec passes over."""

    user_id: str
    item_id: str
    time: datetime
    kind: str
    id: str
    feed_context: str


class DayLog:
    """Events are appended, unless their ids are there already, today or the day before.

    For any number of threads, but one process: a second one would not know what the first has written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lock, self._ids = folder, threading.Lock(), {}
        for path in sorted(folder.glob("*.jsonl"))[-2:]:
            with open(path, "rb+") as file:
                text = file.read()
                file.truncate(whole := text.rfind(b"\n") + 1)  # a crash may have cut off the last line
            self._ids[path.stem] = {msgspec.json.decode(line, type=Event).id for line in text[:whole].splitlines()}

    def append(self, events: list[Event]) -> None:
        """Write what is new of these events, and for good (a machine that loses its power may lose the last ones)."""
        with self._lock:
            for one in events:
                day = f"{one.time:%Y-%m-%d}"
                self._ids = {day: set()} | dict(sorted(self._ids.items())[-2:])
                if not any(one.id in ids for ids in self._ids.values()):
                    with open(self._folder / f"{day}.jsonl", "ab") as file:
                        file.write(msgspec.json.encode(one) + b"\n")
                    self._ids[day].add(one.id)
