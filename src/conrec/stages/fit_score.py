"""Fit the filter's default score: the history on the training period, the weights on validation, to the dislikes and
likes of a third of its users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from conrec.data.exposures import DISLIKED, NEUTRAL, Replay
from conrec.data.split import Split
from conrec.features.log_view import LogView
from conrec.progress import say
from conrec.score.backtest import Backtest
from conrec.score.filter_score import FilterScore, enough_to_weigh, fitting_users
from conrec.score.history import HistoryScore
from conrec.score.regression import Rows
from conrec.stages.fit_history import HISTORY, fit_history


def fit_score(
    log_view: LogView,
    split: Split,
    backtested: Sequence[Backtest],
    replays: Mapping[str, Replay],
    cosines: Mapping[str, np.ndarray],
    predicted: Path,
    folder: Path,
    seed: int,
) -> tuple[FilterScore, dict[str, dict[str, np.ndarray]], np.ndarray]:
    """The default score; for each split the scores of its parts, float64 over everything shown; and what `weigh` says.

    replays and cosines (the paper's score of everything shown) are of validation and test; only validation's labels
    are looked at, and only those of some users. predicted: a `predict/seedN` folder; the history score that is there is
    the same one.
    """
    try:
        kept = predicted / HISTORY
        history = HistoryScore.load(kept) if kept.exists() else fit_history(log_view, split, backtested, seed)
    except ValueError as error:
        say(f"filter: {error}; the score is the paper's")
        nobody = np.zeros(len(replays["validation"].labels.values), bool)
        return replace(FilterScore.paper(), name="default"), {name: {} for name in replays}, nobody
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, replay in replays.items():
        parts[name] = dict(zip(("history", "rates"), history_scores(history, log_view, replay)))
    score = FilterScore("default", history=history)
    replay = replays["validation"]
    users = replay.instances.users[replay.shown.owners]
    score, fitted_on = weigh(score, parts["validation"], cosines["validation"], replay.labels.values, users)
    say(
        f"filter: weights of history {score.history_weight:.3g}, "
        f"largest cosine {score.cosine_weight:.3g}, fitted to {len(np.unique(users[fitted_on])):,} users of validation"
    )
    score.save(folder)
    return score, parts, fitted_on


def weigh(
    score: FilterScore, parts: Mapping[str, np.ndarray], cosine: np.ndarray, labels: np.ndarray, users: np.ndarray
) -> tuple[FilterScore, np.ndarray]:
    """The score with its weights, and bool [m]: what was shown to those whose labels they were fitted to.

    parts (`history`), cosine, labels and users are of everything shown, [m] each.
    Nobody's labels were used where `fitting_users` gave too few, and the history stands alone.
    """
    fitting = fitting_users(users)
    mine = np.flatnonzero(fitting & (labels != NEUTRAL))
    disliked = labels[mine] == DISLIKED
    score = score.weighed(parts["history"][mine], cosine[mine], disliked, users[mine])
    return score, fitting & enough_to_weigh(disliked)


def history_scores(history: HistoryScore, log_view: LogView, replay: Replay) -> tuple[np.ndarray, np.ndarray]:
    """float64 twice: of everything shown, each at its own cutoff, the score and what it would be without tastes."""
    owners, shown = replay.shown.owners, replay.shown.values
    whole, plain = np.empty(len(shown)), np.empty(len(shown))
    for part in history.by_day(log_view, replay.instances.cutoffs):
        day = history.day(log_view, replay.instances.cutoffs[part[0]])
        some = np.flatnonzero(np.isin(owners, part))
        rows = Rows(
            day.users(replay.instances.take(part)),
            day.numbers,
            day.features,
            np.searchsorted(part, owners[some]),
            shown[some],
            replay.labels.values[some] > 0,
        )
        whole[some], plain[some] = history.combination.scores(rows), history.plain.scores(rows)
    return whole, plain
