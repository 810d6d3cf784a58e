"""The filter's score on all five folds of users: what the log alone gives, without training a model five times.

    python -m benchmarks.filter_folds RUN

RUN is a run split by users (recipes/movielens.toml) that came as far as compress. A fold has some 130 test users, too
few to tell two good filters apart; the five folds hold everybody once. Of the default score only the part that is
learned from histories is measured, next to *boosted* and *bias*, all fitted to each fold's training users.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from conrec.baselines.base import LikeCounts, Recommender, TrainingData
from conrec.baselines.boosted import Boosted
from conrec.baselines.rates import Bias
from conrec.data.exposures import replay_pairs
from conrec.data.split import UserSplit
from conrec.evaluate.avoided import dislikes_avoided
from conrec.features.prepared_log import PreparedLog
from conrec.run import open_run
from conrec.score.backtest import backtests, middles, signed_only
from conrec.score.history import HistoryScore


def main(run: Path) -> None:
    recipe, _, _ = open_run(run)
    config = recipe.split
    everything = PreparedLog(run / "prepare", run / "compress").view
    users = np.unique(everything.events.users)
    parts = np.array_split(np.random.default_rng(config.seed).permutation(len(users)), 10)
    horizon = np.timedelta64(config.horizon_days, "D")
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("users", "disliked", "history", "boosted", "bias")}
    for fold in range(5):
        test, validation = users[parts[2 * fold]], users[parts[2 * fold + 1]]
        train = np.setdiff1d(users, np.concatenate([test, validation]))
        log_view = replace(everything, train_users=train)
        of_fold = UserSplit(train, validation, test, everything.events.times[-1])
        pairs = middles(log_view, test)
        replay = signed_only(
            replay_pairs(log_view.events, pairs, "test", horizon, config.max_dislikes, config.max_positives)
        )
        backtested = backtests(log_view, of_fold, config)
        history = HistoryScore.fit(log_view, np.arange(len(log_view.items)), backtested, 0)
        known = TrainingData(
            log_view.items,
            log_view.events.take(of_fold.may_learn(log_view.events)),
            replay.instances,
            of_fold.knowledge(log_view.items, log_view.events),
            LikeCounts(log_view.items, log_view.events, train),
        )
        rows = replay.shown.padded()
        found["history"].append(history.replay_scores(log_view, replay))
        systems: list[Recommender] = [Boosted(log_view, of_fold, backtested), Bias()]
        for system in systems:
            system.fit(known)
            found[system.name].append(system.score_candidates(replay.instances, rows)[rows != -1])
        found["users"].append(replay.instances.users[replay.shown.owners])
        found["disliked"].append(replay.labels.values > 0)
    whole = {name: np.concatenate(values) for name, values in found.items()}
    scores = {name: [whole[name]] for name in ("history", "boosted", "bias")}
    result = dislikes_avoided(whole["users"], whole["disliked"], scores)
    assert result is not None
    print(f"{len(np.unique(whole['users']))} users, {len(whole['users'])} exposures")
    for name in scores:
        print(name, {budget: one.mean and round(one.mean, 3) for budget, one in result.of(name).items()})
    for other in ("boosted", "bias"):
        print("history -", other)
        for budget, one in result.difference("history", other).items():
            low, high = one.ci95
            print(f"  {budget}: {one.difference:+.3f} ({low:+.3f} to {high:+.3f}), {one.verdict}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
