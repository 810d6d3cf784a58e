"""A small trained run over the first days of a simulated log, and the days after it as files; shared by tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import (
    DataConfig,
    EvaluateConfig,
    GrpoStage,
    ItemsConfig,
    LmConfig,
    PredictConfig,
    Recipe,
    SidConfig,
    SimulateConfig,
    SplitConfig,
    UnderstandConfig,
    UtilizeConfig,
)
from conrec.data.schema import TIME
from conrec.run import STAGES, run_stages
from conrec.simulate import simulate

DAYS = 60
RECIPE = Recipe(
    name="live",
    data=DataConfig("generic"),
    split=SplitConfig(horizon_days=3),
    items=ItemsConfig(image="none"),
    sid=SidConfig(epochs=2),
    lm=LmConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=32, vocabulary=400, max_dislikes=6, max_positives=6),
    understand=UnderstandConfig(
        translation_epochs=0.2, alignment_samples=300, alignment_min_repeats=1, alignment_held_out=0.4, row_tokens=128
    ),
    utilize=UtilizeConfig(
        warmup_epochs=0.2, num_generations=4, validation_users=16, stages=(GrpoStage("full", prompts=16, beta=0.5),)
    ),
    predict=PredictConfig(beams=20, temperatures=(4.0,)),
    evaluate=EvaluateConfig(bootstrap=50),
)


@dataclass(frozen=True)
class LiveRun:
    """A run up to its filter stage, and what happened afterwards."""

    run: Path
    recipe: Recipe
    days: list[Path]
    """Events of the days after the run's log, in order, items of the log only."""
    items: Path
    """Items listed after it."""
    their_events: Path
    """Events on those."""


def make_live_run(folder: Path, days_after: int = 3) -> LiveRun:
    """Simulate, cut off the last days, and run the rest from prepare to filter."""
    folder.mkdir(parents=True, exist_ok=True)
    log = simulate(SimulateConfig(users=150, items=220, days=DAYS, seed=3), None).log
    events = log.events.sort_by("time")
    first = pc.min(events["time"]).cast(pa.timestamp("us")).as_py()
    start = np.datetime64(first, "D").astype("datetime64[us]")
    bounds = [
        pa.scalar(start + np.timedelta64(DAYS - n, "D"), pa.timestamp("us")).cast(TIME)
        for n in range(days_after, -1, -1)
    ]
    old = pc.less(log.items["first_seen"], bounds[0])
    known = pc.is_in(events["item_id"], log.items.filter(old)["item_id"].combine_chunks())
    before = pc.less(events["time"], bounds[0])
    source = folder / "log"
    source.mkdir()
    pq.write_table(log.items.filter(old).drop_columns(["image", "image_bytes"]), source / "items.parquet")
    pq.write_table(events.filter(before), source / "events.parquet")
    days = []
    for n in range(days_after):
        inside = pc.and_(pc.greater_equal(events["time"], bounds[n]), pc.less(events["time"], bounds[n + 1]))
        days.append(folder / f"day{n}.parquet")
        pq.write_table(events.filter(pc.and_(inside, known)), days[-1])
    items, their_events = folder / "new_items.parquet", folder / "new_events.parquet"
    pq.write_table(log.items.filter(pc.invert(old)).drop_columns(["image", "image_bytes"]), items)
    pq.write_table(events.filter(pc.and_(pc.invert(known), pc.greater_equal(events["time"], bounds[0]))), their_events)

    run = folder / "run"
    run_stages((), RECIPE, run, source, None, begin=True)
    run_stages(STAGES, RECIPE, run, source, last="filter")
    return LiveRun(run, RECIPE, days, items, their_events)
