"""`conrec.fit`'s filter against the filter of a whole run, on one log: the same figure on the same exposures.

    python -m benchmarks.fit_as_run DATA --recipe movietweetings --out runs/fit_as_run

Both learn the history score; `fit` without semantic IDs and lists. Prints the largest difference of two scores, and the
dislikes avoided at 1, 2, and 5 % of likes lost on test, with the paired difference and its interval over users.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import conrec
from conrec.config import Recipe, load_recipe
from conrec.evaluate.avoided import Avoided, dislikes_avoided
from conrec.features.prepared_log import PreparedLog
from conrec.run import find_recipe, run_stages, stages_of
from conrec.score.history import HistoryScore

KEY = ["user_id", "cutoff", "item_id", "label"]


def of_run(run: Path, recipe: Recipe) -> pa.Table:
    """The exposures of test with the score that the run learned: KEY and `run`."""
    log = PreparedLog(run / "prepare", run / "compress")
    replay = log.replay("test", recipe.split)
    scores = HistoryScore.load(run / "score" / "seed0").replay_scores(log.view, replay)
    owners = replay.shown.owners
    return pa.table({
        "user_id": replay.instances.users[owners].tolist(),
        "cutoff": pa.array(replay.instances.cutoffs[owners]).cast(pa.timestamp("us", tz="UTC")),
        "item_id": np.array(log.items.ids, object)[replay.shown.values].tolist(),
        "label": pa.array(replay.labels.values, pa.int8()),
        "run": scores.astype(np.float32),
    })  # fmt: skip


def compare(data: Path, recipe_name: str, out: Path) -> tuple[Avoided, int, float]:
    """Dislikes avoided by both, the exposures that both replayed, and the largest difference of their scores."""
    recipe = load_recipe(find_recipe(Path(recipe_name)))
    run_stages(stages_of(recipe), recipe, out / "run", data, last="score", begin=True)
    conrec.fit(data, recipe=replace(recipe, sid=replace(recipe.sid, levels=0)), folder=out / "fit")
    fit = pq.read_table(out / "fit/filter/seed0/scores.parquet", columns=[*KEY, "conrec"],
                        filters=pc.field("split") == "test").rename_columns([*KEY, "fit"])  # fmt: skip
    both = fit.join(of_run(out / "run", recipe), KEY, join_type="inner")
    assert len(both) == len(fit), "an exposure of the one is none of the other, or is there twice"
    told = both.filter(pc.field("label") != 0)
    scores = {name: told[name].to_numpy() for name in ("fit", "run")}
    found = dislikes_avoided(
        told["user_id"].to_numpy(zero_copy_only=False),
        told["label"].to_numpy() > 0,
        {name: [one] for name, one in scores.items()},
    )
    assert found is not None
    return found, len(told), float(np.abs(scores["fit"] - scores["run"]).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="movietweetings")
    parser.add_argument("--out", type=Path, default=Path("runs/fit_as_run"))
    options = parser.parse_args()
    avoided, exposures, largest = compare(options.data, options.recipe, options.out)
    print(f"{exposures:,} dislikes and likes of test; largest difference of two scores: {largest:.3g}")
    ours, theirs, leads = avoided.of("fit"), avoided.of("run"), avoided.difference("fit", "run")
    for budget, lead in leads.items():
        low, high = lead.ci95
        print(f"{budget}: fit {ours[budget].mean:.4f}, run {theirs[budget].mean:.4f}, "
              f"difference {lead.difference:+.4f} ({low:+.4f} to {high:+.4f})")  # fmt: skip
