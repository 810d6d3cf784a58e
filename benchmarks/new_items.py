"""The filter's score on new items: what content is worth where nobody has judged an item yet.

    python -m benchmarks.new_items RUN [OTHER ...]

Each is a run split by users (recipes/polis.toml) that came as far as compress; the others have the same log, and other
item embeddings (`items.text`). Users are in five folds and items in five parts. Of the other folds' users everything
is known, but for what they said of one part: to the score these items are new. It is learned by default, and then asked
about the fold's users as held-out users are, for new and for known items apart. Nothing is chosen here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from conrec.data.exposures import replay_pairs
from conrec.data.split import UserSplit
from conrec.errors import ConrecError
from conrec.evaluate.avoided import dislikes_avoided
from conrec.features.prepared_log import PreparedLog
from conrec.run import open_run
from conrec.score.backtest import backtests, middles, signed_only
from conrec.score.history import HistoryScore

FOLDS = 5
DRAWS = 500
"""Resamples of users behind an interval of the AUC."""


def main(runs: Sequence[Path]) -> None:
    """Print a table of all runs, and what each gains on the first."""
    recipe, _, _ = open_run(runs[0])
    if recipe.split.mode != "users":
        raise ConrecError(f"{runs[0]}: split by {recipe.split.mode}; in time new items are in every window already")
    config, horizon = recipe.split, np.timedelta64(recipe.split.horizon_days, "D")
    views = {str(run): PreparedLog(run / "prepare", run / "compress").view for run in runs}
    events, items = views[str(runs[0])].events, len(views[str(runs[0])].items)
    users, rng = np.unique(events.users), np.random.default_rng(config.seed)
    folds, part = np.array_split(rng.permutation(len(users)), FOLDS), rng.permutation(items) % FOLDS
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("users", "disliked", "new", *views)}
    for fold, rows in enumerate(folds):
        test = users[np.sort(rows)]
        train = np.setdiff1d(users, test)
        known = events.take(np.flatnonzero(~(events.of_users(train) & (part[events.items] == fold))))
        split = UserSplit(train, test[:0], test, events.times[-1])
        of_fold = {name: replace(view, events=known, train_users=train) for name, view in views.items()}
        pairs = middles(of_fold[str(runs[0])], test)
        replay = signed_only(replay_pairs(known, pairs, "test", horizon, config.max_dislikes, config.max_positives))
        for name, log_view in of_fold.items():
            history = HistoryScore.fit(log_view, np.arange(items), backtests(log_view, split, config), 0)
            found[name].append(history.replay_scores(log_view, replay))
        found["users"].append(replay.instances.users[replay.shown.owners])
        found["disliked"].append(replay.labels.values > 0)
        found["new"].append(part[replay.shown.values] == fold)
    whole = {name: np.concatenate(values) for name, values in found.items()}
    print("| items | run | exposures | AUC | avoided at 1 % | 2 % | 5 % |\n|---|---|---|---|---|---|---|")
    for label, some in (("new", whole["new"]), ("known", ~whole["new"])):
        owners, disliked = whole["users"][some], whole["disliked"][some]
        scores = {name: whole[name][some] for name in views}
        avoided = dislikes_avoided(owners, disliked, {name: [one] for name, one in scores.items()})
        if avoided is None:
            raise ConrecError(f"{runs[0]}: no dislike, or no like, of {label} items")
        first = str(runs[0])
        for name, one in scores.items():
            shares = " | ".join(f"{estimate.mean:.3f}" for estimate in avoided.of(name).values())
            print(f"| {label} | {name} | {len(one):,} | {roc_auc_score(disliked, one):.4f} | {shares} |")
        for name in list(scores)[1:]:
            gain = [
                f"{one.difference:+.3f} ({one.ci95[0]:+.3f} to {one.ci95[1]:+.3f})"
                for one in avoided.difference(name, first).values()
            ]
            auc = _auc_gain(owners, disliked, scores[first], scores[name])
            print(f"| {label} | {name} less {first} | | {auc} | {' | '.join(gain)} |", flush=True)


def _auc_gain(users: np.ndarray, disliked: np.ndarray, before: np.ndarray, after: np.ndarray) -> str:
    """Difference of the AUC with its interval over users."""
    names, owner = np.unique(users, return_inverse=True)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[owner]
        drawn.append(_auc(disliked, after, times) - _auc(disliked, before, times))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{_auc(disliked, after) - _auc(disliked, before):+.4f} ({low:+.4f} to {high:+.4f})"


def _auc(disliked: np.ndarray, scores: np.ndarray, times: np.ndarray | None = None) -> float:
    return float(roc_auc_score(disliked, scores, sample_weight=times))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
