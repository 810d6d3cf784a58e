"""The split of a log: which part may be learned from, and which period or which users are held out (protocol, 4.1).

By time: validation begins at the quantile `validation_from` of the dislikes' times, test at `test_from`, both floored
to midnight UTC.

By users (strong generalisation, Liang et al. 2018): users are shuffled into ten parts; fold f tests on part 2f,
validates on part 2f + 1 and trains on the rest, so that over the five folds everybody is held out once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from conrec.config import SplitConfig
from conrec.data.instances import Events, Items
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError
from conrec.files import readable

SPLITS = ("train", "validation", "test")
DAY_US = 86_400_000_000
EPOCH = np.datetime64(0, "us")


class Split:
    """The split of a log: a `TimeSplit` or a `UserSplit`."""

    mode: str
    log_end: np.datetime64
    validation_start: np.datetime64 | None
    """None in a split by users."""
    train_users: np.ndarray | None
    """str [n]; None in a split by time."""
    by_category: bool
    """Whether `split.pool` is "category" (`data.knowledge`)."""

    @staticmethod
    def read(prepared: Path) -> TimeSplit | UserSplit:
        """The split of a `prepare` folder. Raises ConrecError where it cannot be read."""
        path = prepared / "split.json"
        with readable(path, "the prepare"):
            table = json.loads(path.read_text(encoding="utf-8"))
        end, by_category = moment(table["log_end"]), table.get("pool") == "category"
        if table["mode"] == "users":
            users = {f"{name}_users": np.asarray(table[f"{name}_users"], str) for name in SPLITS}
            return UserSplit(log_end=end, by_category=by_category, **users)
        return TimeSplit(moment(table["validation_start"]), moment(table["test_start"]), end, by_category)

    def may_learn(self, events: Events) -> np.ndarray:
        """bool [n]: the event belongs to training."""
        if self.train_users is not None:
            return events.of_users(self.train_users)
        return events.times < self.validation_start

    def known_items(self, items: Items) -> np.ndarray:
        """int64 [m]: rows of the items that encoders, codebooks, and scores may learn from."""
        if self.validation_start is None:
            return np.arange(len(items))
        return np.flatnonzero(items.first_seen < self.validation_start)  # NaT (never seen) compares as false

    def knowledge(self, items: Items, events: Events) -> Knowledge:
        """Items on offer and counts of dislikes on any day, as far as this split lets them be known."""
        return Knowledge(items, events, self.train_users, by_category=self.by_category)


@dataclass(frozen=True)
class TimeSplit(Split):
    """Everything before `validation_start` may be learned from."""

    validation_start: np.datetime64
    test_start: np.datetime64
    log_end: np.datetime64
    by_category: bool = False
    mode = "time"
    train_users = None

    def cutoffs(self, name: str, horizon: np.timedelta64) -> list[np.datetime64]:
        """The rolling cutoffs of validation or test, every horizon from its start.

        Validation windows end before the test begins (embargo); the last test window may be cut short by the end of
        the log.
        """
        if name == "test":
            start, last = self.test_start, self.log_end
        else:
            start, last = self.validation_start, self.test_start - horizon
        return list(np.arange(start, last + np.timedelta64(1, "us"), horizon.astype("timedelta64[us]")))


@dataclass(frozen=True)
class UserSplit(Split):
    """The whole log of `train_users` may be learned from."""

    train_users: np.ndarray
    """str [n], ascending, as the other two."""
    validation_users: np.ndarray
    test_users: np.ndarray
    log_end: np.datetime64
    by_category: bool = False
    mode = "users"
    validation_start = None


def plan_split(events: Events, config: SplitConfig) -> TimeSplit | UserSplit:
    """The split that the recipe asks for.

    Raises ConrecError where the recipe's values contradict each other or the log holds too little.
    """
    dislikes = events.times[events.is_dislike]
    if not len(dislikes):
        raise ConrecError(
            "the log holds no dislikes after cleaning; check data.dislike_at_most or the kinds in the recipe"
        )
    log_end, by_category = events.times[-1], config.pool == "category"
    if config.mode == "users":
        return UserSplit(log_end=log_end, by_category=by_category, **_fold(events.owners()[0], config))
    if config.cutoffs != "rolling":
        raise ConrecError('split.cutoffs = "per_user" needs split.mode = "users"; in time mode cutoffs are "rolling"')
    if not 0 < config.validation_from < config.test_from < 1:
        raise ConrecError("split.validation_from and split.test_from must satisfy 0 < validation_from < test_from < 1")
    quantiles = np.quantile(dislikes.astype(np.int64), (config.validation_from, config.test_from)).astype(np.int64)
    validation, test = quantiles // DAY_US * np.timedelta64(DAY_US, "us") + EPOCH
    return TimeSplit(validation, test, log_end, by_category)


def describe_split(
    split: TimeSplit | UserSplit, config: SplitConfig, counts: dict[str, int], dropped: dict[str, int]
) -> dict[str, Any]:
    """The content of `split.json`: mode, moments (ISO, UTC; null in users mode), users (null in time mode), the
    numbers of instances by split, and how many possible instances were dropped, by cause."""
    table: dict[str, Any] = {
        "mode": split.mode,
        "horizon_days": config.horizon_days,
        "pool": config.pool,
        "validation_start": iso(split.validation_start) if isinstance(split, TimeSplit) else None,
        "test_start": iso(split.test_start) if isinstance(split, TimeSplit) else None,
        "log_end": iso(split.log_end),
        "fold": config.fold if isinstance(split, UserSplit) else None,
    }
    for name in SPLITS:
        users = getattr(split, f"{name}_users", None)
        table[f"{name}_users"] = None if users is None else users.tolist()
    return table | {"counts": {name: counts.get(name, 0) for name in SPLITS}, "dropped": dropped}


def moment(text: str) -> np.datetime64:
    """An ISO time as datetime64[us] in UTC; without a zone it is UTC."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(parsed, "us")


def iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[us]')}Z"


def _fold(users: np.ndarray, config: SplitConfig) -> dict[str, np.ndarray]:
    """Who is in each split, ascending: of ten shuffled parts two are held out. users: str [n], ascending."""
    if config.cutoffs != "per_user":
        raise ConrecError('split.mode = "users" needs split.cutoffs = "per_user": a held-out user has one cutoff')
    parts = np.array_split(np.random.default_rng(config.seed).permutation(len(users)), 10)
    test, validation = parts[2 * config.fold], parts[2 * config.fold + 1]
    train = np.setdiff1d(np.arange(len(users)), np.concatenate([test, validation]))
    return {f"{name}_users": users[np.sort(part)] for name, part in zip(SPLITS, (train, validation, test), strict=True)}
