"""Which part of the log may be learned from: `prepare/split.json`, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conrec.data.instances import Events, Items
from conrec.data.knowledge import Knowledge


@dataclass(frozen=True)
class Split:
    """`time`: everything before `validation_start` may be learned from. `users`: everything of `train_users`."""

    mode: str
    validation_start: np.datetime64 | None
    train_users: np.ndarray | None

    @classmethod
    def read(cls, folder: Path) -> Split:
        """Of a `prepare` folder."""
        table = json.loads((folder / "split.json").read_text())
        if table["mode"] == "users":
            return cls("users", None, np.asarray(table["train_users"]))
        start = np.datetime64(table["validation_start"].removesuffix("Z").split("+")[0], "us")
        return cls("time", start, None)

    def may_learn(self, events: Events) -> np.ndarray:
        """bool per event: belongs to training."""
        if self.train_users is not None:
            return np.isin(events.users, self.train_users)
        return events.times < self.validation_start

    def knowledge(self, items: Items, events: Events) -> Knowledge:
        """What is known on a day, under this split."""
        return Knowledge(items, events, self.train_users)
