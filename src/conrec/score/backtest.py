"""Backtest windows: the filter's own task on the training period, to learn from.

A window is a moment of training at which only what came before it is known, and what was shown in the horizon after it
with what became of that. Nothing of validation or test is in it.
"""

from dataclasses import dataclass, replace

import numpy as np

from conrec.config import SplitConfig
from conrec.data.exposures import Replay, replay_pairs, users_to_replay
from conrec.data.instances import evenly
from conrec.data.split import Split
from conrec.features.log_view import LogView

FOLDS = 5
MAX_CUTOFFS = 20
ENOUGH = 60_000
"""As soon as the windows hold so many dislikes and likes, no older one is added."""
MOST = 120_000  # of a window that holds more, some of the users are asked, evenly taken
FIRST_HORIZONS = 4
"""So many horizons after the log's beginning comes the first cutoff: before, next to nothing is known."""


@dataclass(frozen=True)
class Backtest:
    """One backtest window."""

    log_view: LogView
    """What may be known; in `users` mode without the users that are asked about."""
    cutoff: np.datetime64
    """The moment; in `users` mode the latest of the users' own cutoffs, at which nothing is asked."""
    replay: Replay
    """What was disliked or liked in the horizon after it."""


def backtests(log_view: LogView, split: Split, config: SplitConfig) -> list[Backtest]:
    """All windows of a run, oldest first; none where the training period is too short.

    Split by time: a cutoff every horizon, back from the start of validation, for everybody with a dislike before it.
    Split by users: the training users in five folds, each asked at the middle dislike as held-out users are, with
    the other folds' logs known.
    """
    horizon = np.timedelta64(config.horizon_days, "D")
    lengths = config.max_dislikes, config.max_positives
    if split.train_users is None:
        cutoffs = _cutoffs(log_view, split, horizon)
        pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(log_view.events, cutoff, horizon)]
        replay = signed_only(replay_pairs(log_view.events, pairs, "train", horizon, *lengths))
        which = [np.flatnonzero(replay.instances.cutoffs == cutoff) for cutoff in cutoffs]
        if len(which) == 1:  # of a large log one window alone is more than enough
            which = [evenly(which[0], max(1, len(which[0]) * MOST // max(MOST, len(replay.shown.values))))]
        return [Backtest(log_view, cutoff, replay.take(part)) for cutoff, part in zip(cutoffs, which)]
    known = np.sort(split.train_users)
    fold = np.random.default_rng(config.seed).permutation(len(known)) % FOLDS
    found = []
    for n in range(FOLDS):
        asked = known[fold == n]
        pairs = middles(log_view, asked)
        if pairs:
            replay = signed_only(replay_pairs(log_view.events, pairs, "train", horizon, *lengths))
            others = replace(log_view, train_users=known[fold != n])
            found.append(Backtest(others, max(cutoff for _, cutoff in pairs), replay))
    return found


def _cutoffs(log_view: LogView, split: Split, horizon: np.timedelta64) -> list[np.datetime64]:
    """Cutoffs of the windows, oldest first: as many as hold enough to learn from."""
    feedback, signed, cutoffs = log_view.told, 0, list[np.datetime64]()
    if not len(log_view.events):
        return []
    times = np.sort(feedback.times[feedback.signs != 0])
    assert split.validation_start is not None
    cutoff, first = split.validation_start - horizon, log_view.events.times[0] + FIRST_HORIZONS * horizon
    while cutoff >= first and len(cutoffs) < MAX_CUTOFFS and signed < ENOUGH:
        signed += int(np.diff(np.searchsorted(times, [cutoff, cutoff + horizon]))[0])
        cutoffs.append(cutoff)
        cutoff = cutoff - horizon
    return cutoffs[::-1]


def middles(log_view: LogView, users: np.ndarray) -> list[tuple[str, np.datetime64]]:
    """Each user with at least two dislikes, and the moment of the middle one."""
    feedback, pairs = log_view.told, []
    for number in np.flatnonzero(np.isin(feedback.names, users)):
        mine = slice(feedback.bounds[number], feedback.bounds[number + 1])
        times = feedback.times[mine][feedback.signs[mine] > 0]
        if len(times) >= 2:
            pairs.append((str(feedback.names[number]), times[len(times) // 2]))
    return pairs


def signed_only(replay: Replay) -> Replay:
    """The replay without what drew neither a dislike nor a like."""
    keep = replay.labels.values != 0
    return Replay(replay.instances, replay.shown.where(keep), replay.labels.where(keep))
