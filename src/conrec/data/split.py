"""Which part of the log may be learned from, and when the held-out periods lie: `prepare/split.json`, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from conrec.data.instances import Events, Items
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError


@dataclass(frozen=True)
class Split:
    """`time`: everything before `validation_start` may be learned from. `users`: everything of `train_users`."""

    mode: str
    validation_start: np.datetime64 | None
    test_start: np.datetime64 | None
    """Both None in `users` mode."""
    log_end: np.datetime64
    train_users: np.ndarray | None
    """str [n]; None in `time` mode."""

    @classmethod
    def read(cls, folder: Path) -> Split:
        """Of a `prepare` folder."""
        path = folder / "split.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConrecError(f"{path}: not readable ({error}); run the prepare stage again") from error
        end = moment(table["log_end"])
        if table["mode"] == "users":
            return cls("users", None, None, end, np.asarray(table["train_users"], dtype=str))
        return cls("time", moment(table["validation_start"]), moment(table["test_start"]), end, None)

    def may_learn(self, events: Events) -> np.ndarray:
        """bool per event: belongs to training."""
        if self.train_users is not None:
            return events.of_users(self.train_users)
        return events.times < self.validation_start

    def knowledge(self, items: Items, events: Events) -> Knowledge:
        """What is known on a day, under this split."""
        return Knowledge(items, events, self.train_users)

    def cutoffs(self, name: str, horizon: np.timedelta64) -> list[np.datetime64]:
        """The rolling cutoffs of validation or test (`time` mode), every horizon from its start.

        Validation windows end before the test begins (embargo); the last test window may be cut short by the end of
        the log.
        """
        if self.validation_start is None or self.test_start is None:
            raise ValueError("a split by users has no periods, and so no rolling cutoffs")
        if name == "test":
            start, last = self.test_start, self.log_end
        else:
            start, last = self.validation_start, self.test_start - horizon
        return list(np.arange(start, last + np.timedelta64(1, "us"), horizon.astype("timedelta64[us]")))


def moment(iso: str) -> np.datetime64:
    """An ISO time as datetime64[us] in UTC; without a zone it is UTC."""
    parsed = datetime.fromisoformat(iso)
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(parsed, "us")
