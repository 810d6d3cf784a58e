"""Stage: replay the filter on what was really shown."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.baselines.base import training_data
from conrec.baselines.boosted import Boosted
from conrec.baselines.rates import Bias
from conrec.baselines.trivial import filter_systems
from conrec.data.distractors import rows_of
from conrec.data.exposures import DISLIKED, LIKED, Replay
from conrec.data.instances import Instances, Items, evenly
from conrec.errors import ConrecError
from conrec.evaluate.compare import compared
from conrec.evaluate.protocol import OURS
from conrec.evaluate.reliability import reliability
from conrec.evaluate.replay import choose_threshold, measure, suppression
from conrec.evaluate.results import FilterReplay, write
from conrec.pipeline.job import Job
from conrec.progress import say, track
from conrec.score.backtest import backtests
from conrec.score.probability import DislikeProbability, probability
from conrec.score.similarity import max_cosine
from conrec.stages.score import TOO_LITTLE, read_history

SPLITS = ("validation", "test")
MOST_REPLAYED = 10_000
"""Users at cutoffs that a run without lists replays of each split, at most: enough for any promise, and on a large log
the replay would else take longer than all the rest."""


def filter_replay(job: Job) -> None:
    """Score everything that was shown, and write `scores.parquet` and `replay.json`.

    `scores.parquet` has every shown item with its label, the history score (`conrec`), the paper's (`conrec_paper`),
    and every other filter's score. Where no history score could be learned, a run with lists goes on without a filter.
    Thresholds are chosen on validation within the recipe's budget of lost likes (`filter.threshold` overrides
    CoNRec's) and judged on test. Predictions come from predict's `predictions.parquet` and, for users who disliked
    nothing in a window, its `replay.parquet`.
    """
    recipe, out, seed, predicts = job.recipe, job.out, job.seed, "predict" in job.folders
    log_view, split, items = job.log.view, job.log.split, job.log.items
    score = read_history(job.of("score"))
    if score is None:
        why = f"too little to learn the filter from: {TOO_LITTLE}; take a longer log"
        if not predicts:
            raise ConrecError(why)
        say(f"filter: {why}")
        return
    known = training_data(job.log)
    systems = [
        *(filter_systems() if predicts else [Bias()]),
        Boosted(log_view, split, backtests(log_view, split, recipe.split), seed),
    ]
    for system in systems:
        system.fit(known)
    replays = {name: job.log.replay(name, recipe.split) for name in SPLITS}
    if not predicts:
        for name, replay in replays.items():
            some = evenly(np.arange(len(replay)), MOST_REPLAYED)
            if len(some) < len(replay):
                say(f"filter: {len(some):,} of the {len(replay):,} users at cutoffs of {name} are replayed")
            replays[name] = replay.take(some)

    report: dict[str, Any] = {"seed": seed, "likes_lost_budget": recipe.filter.likes_lost, "threshold": None}
    scores: dict[str, dict[str, np.ndarray]] = {}
    for name, replay in replays.items():
        rows, coverage = replay.shown.padded(), None
        scores[name] = {OURS: score.replay_scores(log_view, replay).astype(np.float32)}
        if predicts:
            lists = predicted_lists(job.of("predict"), replay.instances, items, recipe.predict.k)
            scores[name][f"{OURS}_paper"] = max_cosine(log_view.catalog.unit, rows, lists)[rows != -1]
            coverage = float(np.any(lists >= 0, axis=1)[replay.shown.owners].mean()) if len(replay) else None
        for system in track(systems, f"filter replay, {name}"):
            scores[name][system.name] = system.score_candidates(replay.instances, rows)[rows != -1]
        report[name] = {"instances": len(replay), "coverage": coverage, "systems": {}}

    for name in scores["validation"]:
        chosen = recipe.filter.threshold if name == OURS else None
        if chosen is None:
            liked = scores["validation"][name][replays["validation"].labels.values == LIKED]
            chosen = choose_threshold(liked, recipe.filter.likes_lost) if len(liked) else None
        if chosen is not None and not np.isfinite(chosen):
            chosen = float(scores["validation"][name].min()) - 1
        if name == OURS:
            report["threshold"] = chosen
            if chosen is None:
                say("filter: no like in the validation windows to choose a threshold by; set filter.threshold")
        for part, replay in replays.items():
            report[part]["systems"][name] = measure(scores[part][name], replay.labels.values, chosen)
    for name, replay in replays.items():
        report[name]["suppression"] = suppression(scores[name][OURS], replay, report["threshold"])
    test, of_test = replays["test"], {name: [one] for name, one in scores["test"].items()}
    owners = test.instances.users[test.shown.owners]
    report["test"]["comparison"] = compared(owners, test.labels.values, of_test)
    chances = DislikeProbability.fit(scores["validation"][OURS], replays["validation"].labels.values == DISLIKED)
    if chances is not None:
        given = probability(chances.of(scores["test"][OURS]))
        report["test"]["reliability"] = reliability(given, test.labels.values == DISLIKED, owners)
    tables = [_score_table(name, replays[name], scores[name], items) for name in SPLITS]
    pq.write_table(pa.concat_tables(tables), out / "scores.parquet", compression="zstd")
    write(out / "replay.json", msgspec.convert(report, FilterReplay))


def predicted_lists(predicted: Path, instances: Instances, items: Items, k: int) -> np.ndarray:
    """int32 [B, k]: the predicted set for each (user, cutoff), whatever the split; rows of -1 without one."""
    found: dict[tuple[str, Any], list[str]] = {}
    for name in ("predictions.parquet", "replay.parquet"):
        if (predicted / name).exists():
            table = pq.read_table(predicted / name, columns=["user_id", "cutoff", "items"])
            pairs = zip(table["user_id"].to_pylist(), table["cutoff"].cast(pa.timestamp("us")).to_numpy().tolist())
            found.update(zip(pairs, table["items"].to_pylist()))
    pairs = zip(instances.users.tolist(), instances.cutoffs.astype("datetime64[us]").tolist())
    lists = pa.array([found.get(pair, []) for pair in pairs], pa.list_(pa.string()))
    return np.maximum(rows_of(pa.chunked_array([lists]), items.ids, k), -1)


def _score_table(split: str, replay: Replay, scores: dict[str, np.ndarray], items: Items) -> pa.Table:
    owners, ids = replay.shown.owners, np.array(items.ids, object)
    return pa.table(
        {
            "split": pa.array([split] * len(owners), pa.string()),
            "user_id": pa.array(replay.instances.users[owners].tolist(), pa.string()),
            "cutoff": pa.array(replay.instances.cutoffs[owners]).cast(pa.timestamp("us", tz="UTC")),
            "item_id": pa.array(ids[replay.shown.values].tolist(), pa.string()),
            "label": pa.array(replay.labels.values, pa.int8()),
            **{name: pa.array(values, pa.float32()) for name, values in scores.items()},
        }
    )
