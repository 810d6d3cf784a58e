"""The filter replay: the items shown after each cutoff, with the sign each user gave (protocol).

For each cutoff and each user with a dislike before it: the items shown within the horizon, labelled by what the user
then did. Nothing of the window is used to choose the users: a user who disliked nothing in it is in the replay too,
which is why it needs predictions for more (user, cutoff) pairs than the hit metrics do (`Replay.instances`).
"""

from dataclasses import dataclass

import numpy as np

from conrec.config import SplitConfig
from conrec.data.histories import Histories
from conrec.data.instances import Events, Instances, Ragged
from conrec.data.split import TimeSplit, UserSplit

DISLIKED, NEUTRAL, LIKED = 1, 0, -1


@dataclass(frozen=True)
class Replay:
    """Users at cutoffs, the items shown to each within the horizon, and the sign each item drew."""

    instances: Instances
    """One per (user, cutoff); `next` is -1 where the user disliked nothing in the window."""
    shown: Ragged
    """Item rows in the order of exposure, each item once."""
    labels: Ragged
    """int8, aligned with `shown`: DISLIKED, NEUTRAL or LIKED."""

    def __len__(self) -> int:
        return len(self.instances)

    def take(self, index: np.ndarray) -> "Replay":
        return Replay(self.instances.take(index), self.shown.take(index), self.labels.take(index))


def make_replay(
    events: Events, instances: Instances, split: TimeSplit | UserSplit, name: str, config: SplitConfig
) -> Replay:
    """The replay of validation or test.

    Split by time: every user with a dislike before a weekly cutoff and something shown after it. Split by users: the
    (user, cutoff) pairs of the held-out instances, which is all there is.
    """
    horizon = np.timedelta64(config.horizon_days, "D")
    if isinstance(split, TimeSplit):
        cutoffs = split.cutoffs(name, horizon)
        pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(events, cutoff, horizon)]
    else:
        held_out = instances.of_split(name)
        held_out = held_out.take(held_out.n_dislikes > 0)
        pairs = list(zip(held_out.users.tolist(), held_out.cutoffs))
    return replay_pairs(events, pairs, name, horizon, config.max_dislikes, config.max_positives)


def users_to_replay(events: Events, cutoff: np.datetime64, horizon: np.timedelta64) -> list[str]:
    """Users with a dislike before `cutoff` and any event from it to the horizon, sorted."""
    start, stop = np.searchsorted(events.times, [cutoff, cutoff + horizon])
    disliked = events.numbers[:start][events.is_dislike[:start]]
    return events.names[np.intersect1d(disliked, events.numbers[start:stop])].tolist()


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
    users = np.array([user for user, _ in pairs], str)
    cutoffs = np.array([cutoff for _, cutoff in pairs], "datetime64[us]")
    window = events.by_user.window(users, cutoffs, horizon)
    signs = DISLIKED * events.is_dislike.astype(np.int8) + LIKED * events.is_positive.astype(np.int8)
    shown, labels = _labelled(window.of_values(events.items[window.values]), signs[window.values], events.has_exposures)
    kept = np.flatnonzero(shown.lengths)
    instances = Histories(events).instances(
        users[kept], cutoffs[kept], max_dislikes, max_positives, horizon=horizon, split=split
    )
    return Replay(instances, shown.take(kept), labels.take(kept))


def without_prediction(replay: Replay, instances: Instances) -> Instances:
    """The replay's instances whose (user, cutoff) is not among `instances`, and that need a prediction of their own."""
    there = set(zip(instances.users.tolist(), instances.cutoffs.tolist()))
    pairs = zip(replay.instances.users.tolist(), replay.instances.cutoffs.tolist())
    return replay.instances.take(np.array([pair not in there for pair in pairs], bool))


def _labelled(items: Ragged, signs: np.ndarray, with_exposures: bool) -> tuple[Ragged, Ragged]:
    """Each item of a list once, in order of its first event, with the sign that wins: dislike over like over nothing.

    signs: int8, aligned with the items. Without exposures an item that drew no sign is left out.
    """
    keys = items.owners * (1 + int(items.values.max(initial=0))) + items.values
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    label = np.full(len(first), NEUTRAL, np.int8)
    label[group[signs == LIKED]] = LIKED
    label[group[signs == DISLIKED]] = DISLIKED
    labels = np.zeros(len(keys), np.int8)
    labels[first] = label
    keep = np.zeros(len(keys), bool)
    keep[first] = True
    if not with_exposures:
        keep &= labels != NEUTRAL
    return items.where(keep), items.of_values(labels).where(keep)
