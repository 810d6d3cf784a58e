"""Rehearsals: the filter's own task on the training period, to learn from.

A rehearsal is a moment of training at which only what came before it is known, and what was shown in the horizon
after it with what became of that; nothing of validation or test is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conrec.config import SplitConfig
from conrec.data.split import Split
from conrec.filtering.past import Past
from conrec.filtering.replay import Replay, replay_pairs, users_to_replay

FOLDS = 5
MOST_CUTS = 20
ENOUGH = 60_000
"""Dislikes and likes; further back nothing more is learned from."""
FIRST_HORIZONS = 4
"""So many horizons after the log's beginning comes the first cut: before, next to nothing is known."""


@dataclass(frozen=True)
class Rehearsal:
    """One moment."""

    past: Past
    """What may be known; in `users` mode without the users that are asked about."""
    cut: np.datetime64
    """In `users` mode the latest of the users' own cuts, of which nothing is asked."""
    replay: Replay
    """Only what was disliked or liked."""


def rehearsals(past: Past, split: Split, config: SplitConfig) -> list[Rehearsal]:
    """All of a run, oldest first; none where the training period is too short.

    Split by time: a cut every horizon, back from the start of validation, for everybody with a dislike before it.
    Split by users: the training users in five folds, each asked at the middle dislike as held-out users are, with
    the other folds' logs known.
    """
    horizon = np.timedelta64(config.horizon_days, "D")
    lengths = config.max_dislikes, config.max_positives
    if split.train_users is None:
        cuts = _cuts(past, split, horizon)
        pairs = [(user, cut) for cut in cuts for user in users_to_replay(past.events, cut, horizon)]
        replay = signed_only(replay_pairs(past.events, pairs, "train", horizon, *lengths))
        return [Rehearsal(past, cut, _take(replay, replay.instances.cuts == cut)) for cut in cuts]
    known = np.sort(split.train_users)
    fold = np.random.default_rng(config.seed).permutation(len(known)) % FOLDS
    found = []
    for n in range(FOLDS):
        asked = known[fold == n]
        pairs = middles(past, asked)
        if pairs:
            replay = signed_only(replay_pairs(past.events, pairs, "train", horizon, *lengths))
            others = replace(past, train_users=known[fold != n])
            found.append(Rehearsal(others, max(cut for _, cut in pairs), replay))
    return found


def _cuts(past: Past, split: Split, horizon: np.timedelta64) -> list[np.datetime64]:
    """Oldest first; as many as hold enough to learn from."""
    told, signed = past.told, 0
    cuts: list[np.datetime64] = []
    if not len(past.events):
        return []
    times = np.sort(told.times[told.signs != 0])
    assert split.validation_start is not None
    cut = split.validation_start - horizon
    while cut >= past.events.times[0] + FIRST_HORIZONS * horizon and len(cuts) < MOST_CUTS and signed < ENOUGH:
        signed += int(np.diff(np.searchsorted(times, [cut, cut + horizon]))[0])
        cuts.append(cut)
        cut = cut - horizon
    return cuts[::-1]


def middles(past: Past, users: np.ndarray) -> list[tuple[str, np.datetime64]]:
    """Each user with at least two dislikes, and the moment of the middle one."""
    told, pairs = past.told, []
    for number in np.flatnonzero(np.isin(told.names, users)):
        mine = slice(told.bounds[number], told.bounds[number + 1])
        times = told.times[mine][told.signs[mine] > 0]
        if len(times) >= 2:
            pairs.append((str(told.names[number]), times[len(times) // 2]))
    return pairs


def signed_only(replay: Replay) -> Replay:
    """Without what drew no sign."""
    keep = replay.labels.values != 0
    return Replay(replay.instances, replay.shown.where(keep), replay.labels.where(keep))


def _take(replay: Replay, index: np.ndarray) -> Replay:
    rows = np.flatnonzero(index)
    return Replay(replay.instances.take(rows), replay.shown.take(rows), replay.labels.take(rows))
