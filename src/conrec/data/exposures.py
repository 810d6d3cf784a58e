"""What was really shown after each cutoff, and what became of it: the events of the filter replay (protocol).

For each cutoff and each user with a dislike before it: the items shown within the horizon, labelled by what the user
then did. Nothing of the window is used to choose the users: a user who disliked nothing in it is in the replay too,
which is why it needs predictions for more (user, cutoff) pairs than the hit metrics do (`Replay.instances`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conrec.config import SplitConfig
from conrec.data.by_user import ByUser
from conrec.data.instances import Events, Instances, Items, Ragged, read_events
from conrec.data.schema import POSITIVE_KINDS
from conrec.data.split import Split

DISLIKED, NEUTRAL, LIKED = 1, 0, -1


@dataclass(frozen=True)
class Replay:
    """What was shown after each cutoff, and what became of it."""

    instances: Instances
    """One per (user, cutoff); `next` is -1 where the user disliked nothing in the window."""
    shown: Ragged
    """Item rows in the order of exposure, each item once."""
    labels: Ragged
    """int8, aligned with `shown`: DISLIKED, NEUTRAL or LIKED."""

    def __len__(self) -> int:
        return len(self.instances)


def read_replay(
    prepared: Path,
    items: Items,
    instances: Instances,
    split: str,
    config: SplitConfig,
    events: Events | None = None,
) -> Replay:
    """The replay of one held-out split of a `prepare` folder.

    Split by time: every user with a dislike before a weekly cut and something shown after it. Split by users: the
    (user, cutoff) pairs of the held-out instances, which is all there is. `events` saves reading the log again.
    """
    events = read_events(prepared, items) if events is None else events
    horizon = np.timedelta64(config.horizon_days, "D")
    if config.mode == "time" and config.cutoffs == "rolling":
        cutoffs = Split.read(prepared).cutoffs(split, horizon)
        pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(events, cutoff, horizon)]
    else:
        held_out = instances.of_split(split)
        held_out = held_out.take(held_out.n_dislikes > 0)
        pairs = list(zip(held_out.users.tolist(), held_out.cutoffs))
    return replay_pairs(events, pairs, split, horizon, config.max_dislikes, config.max_positives)


def users_to_replay(events: Events, cutoff: np.datetime64, horizon: np.timedelta64) -> list[str]:
    """Users with a dislike before `cutoff` and any event from it to the horizon, sorted."""
    start, stop = np.searchsorted(events.times, [cutoff, cutoff + horizon])
    names, owner = events.owners()
    disliked = owner[:start][events.kinds[:start] == "dislike"]
    return names[np.intersect1d(disliked, owner[start:stop])].tolist()


def replay_pairs(
    events: Events,
    pairs: list[tuple[str, np.datetime64]],
    split: str,
    horizon: np.timedelta64,
    max_dislikes: int,
    max_positives: int,
) -> Replay:
    """History before, and exposures after, each (user, cutoff); pairs with nothing shown are left out.

    Shown is what was exposed or reacted to; in a log without exposures only what drew a clear sign (protocol). An
    item that was both liked and disliked within the window counts as disliked.
    """
    log = ByUser(events)
    signs = np.where(events.kinds == "dislike", DISLIKED, NEUTRAL)
    signs[np.isin(events.kinds, POSITIVE_KINDS)] = LIKED
    judged = events.rated | (signs == DISLIKED) | (events.kinds == "purchase")
    with_exposures = events.has_exposures

    found: list[dict[str, Any]] = []
    for user, cutoff in pairs:
        past, window = log.around(user, cutoff, horizon)
        shown, labels = _labelled(events.items[window], signs[window], with_exposures)
        if not len(shown):
            continue
        disliked, liked = past[signs[past] == DISLIKED], past[signs[past] == LIKED]
        liked = liked[np.sort(np.unique(events.items[liked], return_index=True)[1])]
        future = events.items[window[signs[window] == DISLIKED]]
        found.append(
            {
                "users": user,
                "cutoffs": cutoff,
                "n_dislikes": len(disliked),
                "n_positives": len(liked),
                "dislikes": events.items[disliked[-max_dislikes:]],
                "dislike_times": events.times[disliked[-max_dislikes:]],
                "positives": events.items[liked[-max_positives:]],
                "positive_times": events.times[liked[-max_positives:]],
                "seen": np.unique(events.items[past[judged[past]]]),
                "next": future[0] if len(future) else -1,
                "future": future,
                "future_positives": events.items[window[signs[window] == LIKED]],
                "shown": shown,
                "labels": labels,
            }
        )

    def column(name: str, dtype: Any) -> np.ndarray:
        return np.array([one[name] for one in found], dtype)

    def lists(name: str, dtype: Any = np.int32) -> Ragged:
        return Ragged.of([one[name] for one in found], dtype)

    return Replay(
        Instances(
            ids=np.arange(len(found)),
            split=np.full(len(found), split),
            users=column("users", str),
            cutoffs=column("cutoffs", "datetime64[us]"),
            n_dislikes=column("n_dislikes", np.int64),
            n_positives=column("n_positives", np.int64),
            dislikes=lists("dislikes"),
            dislike_times=lists("dislike_times", "datetime64[us]"),
            positives=lists("positives"),
            positive_times=lists("positive_times", "datetime64[us]"),
            seen=lists("seen"),
            next=column("next", np.int32),
            future=lists("future"),
            future_positives=lists("future_positives"),
        ),
        shown=lists("shown"),
        labels=lists("labels", np.int8),
    )


def without_prediction(replay: Replay, instances: Instances) -> Instances:
    """Of the replay's instances those whose (user, cutoff) is not among `instances`: still to be predicted for."""
    there = set(zip(instances.users.tolist(), instances.cutoffs.tolist()))
    pairs = zip(replay.instances.users.tolist(), replay.instances.cutoffs.tolist())
    return replay.instances.take(np.array([pair not in there for pair in pairs], bool))


def _labelled(items: np.ndarray, signs: np.ndarray, with_exposures: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each item once, in order of its first event, with the sign that wins: dislike over like over nothing."""
    rows, first, group = np.unique(items, return_index=True, return_inverse=True)
    label = np.full(len(rows), NEUTRAL)
    label[group[signs == LIKED]] = LIKED
    label[group[signs == DISLIKED]] = DISLIKED
    order = np.argsort(first)
    rows, label = rows[order], label[order]
    return (rows, label) if with_exposures else (rows[label != NEUTRAL], label[label != NEUTRAL])
