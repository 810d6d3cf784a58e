"""Which instances there are: who is asked about, and at which cutoffs (protocol, paper section 4.1).

Training samples are one a dislike, cut just before it. In a split by time a held-out period has a cutoff every
horizon, from its first midnight on, for the users who dislike something in the window. Nothing that trains or tunes
may see into the next period: samples whose horizon reaches past the start of validation are dropped (embargo),
likewise validation windows past the start of test. In a split by users a held-out user with at least two dislikes has
one cutoff, just before the middle one (the (n // 2)-th of n, from 0). docs/data.md lists what is left out, by cause.
Training samples of the log's first day, before any item was seen, stay: stages that decode leave them out themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from conrec.config import SplitConfig
from conrec.data.histories import Histories
from conrec.data.instances import Events, Instances, Items, Ragged, cut
from conrec.data.split import SPLITS, TimeSplit, UserSplit, iso
from conrec.errors import ConrecError
from conrec.parallel import map_parts

NEVER = np.datetime64(2**62, "us")
AT_ONCE = 200_000  # instances of a part (`conrec.parallel`)


@dataclass(frozen=True)
class _Cutoffs:
    """Possible instances of one split: users (numbers of the log's names) and cutoffs, by cutoff and then user."""

    users: np.ndarray
    times: np.ndarray
    next: np.ndarray | None = None
    """int32 [n]: the dislikes that training samples were cut before."""


def make_instances(
    events: Events, items: Items, split: TimeSplit | UserSplit, config: SplitConfig, names: Sequence[str] = SPLITS
) -> tuple[Instances, dict[str, int]]:
    """The instances of the splits `names`, by split, cutoff and user; how many possible ones were dropped, by cause.

    `events` is the cleaned log (no user dislikes an item twice). Raises ConrecError where one of the splits has no
    instance.
    """
    dislikes = events.take(events.is_dislike)
    horizon = np.timedelta64(config.horizon_days, "D")
    if isinstance(split, TimeSplit):
        possible, dropped = _by_time(dislikes, split, horizon)
    else:
        possible, dropped = _by_user(dislikes, split)
    histories, knowledge, parts = Histories(events), split.knowledge(items, events), []
    dropped |= {"no_history": 0, "empty_pool": 0}
    opening = np.min(items.first_seen[~np.isnat(items.first_seen)])
    for name in names:
        at = possible[name]
        users = events.names[at.users]
        kept = np.sum(histories.counts(users, at.times), axis=0) > 0
        dropped["no_history"] += int((~kept).sum())
        if at.next is None:
            if split.by_category:
                asked = histories.instances(users, at.times, 0, 0)
                # One after the other: each list of what is excluded is as long as the catalogue.
                excluded = [len(knowledge.excluded(asked.take(np.array([n]))).values) for n in range(len(asked))]
                pool = np.array(excluded, np.int64) < len(items)
            else:
                # The candidate pool is that of midnight, and holds the items seen by then.
                pool = at.times.astype("datetime64[D]") > opening
            dropped["empty_pool"] += int((kept & ~pool).sum())
            kept &= pool
        if not kept.any():
            raise ConrecError(_why_none(name, split, config))
        asking = partial(histories.instances, horizon=horizon, split=name)
        instances = _in_parts(asking, users[kept], at.times[kept], config.max_dislikes, config.max_positives)
        if at.next is not None:
            nothing = Ragged(np.zeros(0, np.int32), np.zeros(len(instances) + 1, np.int64))
            instances = replace(instances, next=at.next[kept], seen=nothing)
        parts.append(instances)
    together = Instances.joined(parts)
    return replace(together, ids=np.arange(len(together))), {cause: n for cause, n in dropped.items() if n}


def _in_parts(asked: Callable[..., Instances], users: np.ndarray, times: np.ndarray, *most: int) -> Instances:
    """What `Histories.instances` makes, by all workers of a cluster."""
    found = map_parts(lambda part: asked(users[part], times[part], *most), cut(len(users), AT_ONCE), "windows")
    return Instances.joined(list(found))


def _by_time(dislikes: Events, split: TimeSplit, horizon: np.timedelta64) -> tuple[dict[str, _Cutoffs], dict[str, int]]:
    """The dislikes of the training period, and a cutoff every horizon for users with a dislike in the window."""
    early = dislikes.times < split.validation_start
    inside = early & (dislikes.times + horizon <= split.validation_start)
    dropped = {"train_embargo": int((early & ~inside).sum())}
    found = {"train": _before_each(dislikes, inside)}
    periods = ("validation", split.validation_start, split.test_start), ("test", split.test_start, NEVER)
    for name, start, stop in periods:
        window = (dislikes.times >= start) & (dislikes.times < stop)
        which = (dislikes.times[window] - start) // horizon
        pairs = np.unique(np.stack([which, dislikes.numbers[window]]), axis=1)
        times = start + pairs[0] * horizon
        whole = times + horizon <= stop
        dropped[f"{name}_embargo"] = int((~whole).sum())
        found[name] = _Cutoffs(pairs[1][whole], times[whole])
    return found, dropped


def _by_user(dislikes: Events, split: UserSplit) -> tuple[dict[str, _Cutoffs], dict[str, int]]:
    """The dislikes of the training users, and one cutoff a held-out user, just before the middle dislike."""
    found, too_few = {"train": _before_each(dislikes, dislikes.of_users(split.train_users))}, 0
    for name, names in (("validation", split.validation_users), ("test", split.test_users)):
        own = dislikes.take(dislikes.of_users(names))
        order = np.argsort(own.numbers, kind="stable")
        users, starts, counts = np.unique(own.numbers[order], return_index=True, return_counts=True)
        enough = counts >= 2
        too_few += int((~enough).sum())
        times = own.times[order[(starts + counts // 2)[enough]]]
        by_time = np.argsort(times, kind="stable")
        found[name] = _Cutoffs(users[enough][by_time], times[by_time])
    return found, {"one_dislike": too_few}


def _before_each(dislikes: Events, inside: np.ndarray) -> _Cutoffs:
    """One sample a dislike under the mask, cut just before it."""
    chosen = dislikes.take(inside)
    return _Cutoffs(chosen.numbers, chosen.times, chosen.items)


def _why_none(name: str, split: TimeSplit | UserSplit, config: SplitConfig) -> str:
    none = f"too little data: no {name} instance is left"
    if isinstance(split, UserSplit):
        least = "a dislike" if name == "train" else "two dislikes"
        return f"{none} in fold {config.fold}: none of its users has a history and at least {least}"
    if name == "test":
        return f"{none}: nobody with a history has a dislike after {iso(split.test_start)}"
    period = f"the log's beginning and {iso(split.validation_start)}"
    if name == "validation":
        period = f"{iso(split.validation_start)} and {iso(split.test_start)}"
    return (
        f"{none} with a whole horizon of {config.horizon_days} days between {period}; "
        "take a longer log, a smaller split.horizon_days or another split.validation_from and test_from"
    )
