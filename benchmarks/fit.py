"""`conrec.fit` on a drawn log (`benchmarks.fit_log`): time and peak memory of all of it, from files to a filter.

Beside it gradient boosting (`conrec.baselines.boosted`) on the same backtest windows of the same prepared log, and
LightFM (`benchmarks.factorization`) on the reactions before test. Each reads the cleaned log and the items' fields that
`conrec.fit` made. A ratio is the learning time of the one over that of our score; everything runs in one fresh process
on the threads that the environment allows.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.fit_log import draw_log
from benchmarks.measure import in_fresh_process, machine, versions
from conrec.files import read_json

SECONDS, MEGABYTES = 60.0, 2000.0
"""What a million events may take on two idle cores."""


def fit(quick: bool, exposures: float = 0.0) -> dict[str, Any]:
    """Fit a log of 1 M events, 50,000 users and 20,000 items, or with `quick` a fiftieth of it; the figures."""
    part = 50 if quick else 1
    sizes = 10**6 // part, 50_000 // part, 20_000 // part
    with tempfile.TemporaryDirectory() as folder:
        for name, table in zip(("events", "items"), draw_log(*sizes, exposures=exposures)):
            pq.write_table(table, Path(folder) / f"{name}.parquet")
        found = in_fresh_process(_fit, Path(folder))
    targets = {f"under {SECONDS:.0f} s": found["wall_s"] < SECONDS, "under 2 GB": found["peak_mb"] < MEGABYTES}
    about = dict(zip(("events", "users", "items"), sizes)) | {"exposures": exposures}
    return {**about, **found, "targets": {} if quick else targets, "machine": machine(), "versions": versions()}


def _fit(folder: Path) -> dict[str, Any]:
    wall, cpu = time.monotonic(), time.process_time()
    import conrec

    model = conrec.fit(folder / "events.parquet", folder / "items.parquet", folder=folder / "run")
    found = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    user = pq.read_table(folder / "events.parquet", columns=["user_id"])["user_id"][0].as_py()
    model.filter(user, [f"i{n}" for n in range(100)])
    found["first_list_s"] = time.monotonic() - wall
    manifests = {path.parts[len(model.folder.parts)]: read_json(path) for path in model.folder.glob("**/manifest.json")}
    found["stages"] = {name: one["seconds"] for name, one in manifests.items() if "seconds" in one}
    return found | _learning(model.folder)


def _learning(run: Path) -> dict[str, Any]:
    """CPU seconds that our score takes to learn, gradient boosting on the same windows, and LightFM; and the share of
    the dislikes that each avoids on test where 1 % of the likes may be lost."""
    from benchmarks.factorization import factorized
    from conrec.baselines.base import training_data
    from conrec.baselines.boosted import Boosted
    from conrec.data.instances import evenly
    from conrec.evaluate.compare import compared
    from conrec.features.prepared_log import PreparedLog
    from conrec.run import open_run
    from conrec.score.backtest import backtests
    from conrec.score.history import HistoryScore
    from conrec.stages.filter import MOST_REPLAYED

    log, (recipe, _, _) = PreparedLog(run / "prepare", run / "compress"), open_run(run)
    windows, known = backtests(log.view, log.split, recipe.split), training_data(log)
    begin = time.process_time()
    conrec = HistoryScore.fit(log.view, log.split.known_items(log.items), windows, 0)
    middle = time.process_time()
    boosted = Boosted(log.view, log.split, windows)
    boosted.fit(known)
    seconds = {"conrec": middle - begin, "boosted": time.process_time() - middle}

    replay = log.replay("test", recipe.split)
    replay = replay.take(evenly(np.arange(len(replay)), MOST_REPLAYED))
    rows = replay.shown.padded()
    scores = {
        "conrec": [conrec.replay_scores(log.view, replay)],
        "boosted": [boosted.score_candidates(replay.instances, rows)[rows != -1]],
    }
    if (lightfm := factorized(log, replay)) is not None:
        seconds["lightfm"], scores["lightfm"] = lightfm.cpu_s, [lightfm.scores]
    found = compared(replay.instances.users[replay.shown.owners], replay.labels.values, scores)
    avoided = {name: one["0.01"].mean for name, one in found.avoided.items()}
    return {"learning_cpu_s": seconds, "avoided_at_1_percent": avoided}


def markdown(found: dict[str, Any]) -> str:
    """The figures as two short tables."""
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found["stages"].items())
    targets = "; ".join(f"{name}: {'yes' if kept else 'no'}" for name, kept in found["targets"].items())
    ours = found["learning_cpu_s"]["conrec"]
    learned = [
        f"| learning: {name}, CPU time | {seconds:.1f} s ({seconds / ours:.2f} of conrec's), avoids "
        f"{found['avoided_at_1_percent'][name]:.3f} of the dislikes at 1 % of likes lost |"
        for name, seconds in found["learning_cpu_s"].items()
    ]
    lines = [
        f"{found['events']:,} events ({found['exposures']:.0%} without a reaction), {found['users']:,} users, "
        f"{found['items']:,} items",
        "",
        "| | |",
        "|---|---|",
        f"| conrec.fit, wall time | {found['wall_s']:.1f} s |",
        f"| conrec.fit, CPU time | {found['cpu_s']:.1f} s |",
        f"| its stages, wall time | {stages} |",
        f"| peak memory | {found['peak_mb']:.0f} MB |",
        f"| until the first filtered list | {found['first_list_s']:.1f} s |",
        *learned,
    ]
    if "lightfm" not in found["learning_cpu_s"]:
        lines.append("| learning: lightfm | not installed |")
    return "\n".join([*lines, *([f"| targets | {targets} |"] if targets else [])])
