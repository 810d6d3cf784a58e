"""A log of dislikes and exposures alone, as docs/data.md describes it, goes through all stages."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conrec.config import SimulateConfig
from conrec.run import STAGES, run_stages
from conrec.simulate import simulate
from tests.deploy.live_run import RECIPE

pytestmark = pytest.mark.slow


def test_a_log_that_nobody_likes_anything_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = simulate(SimulateConfig(users=80, items=160, days=50, seed=3), None).log
    kinds = pc.if_else(pc.equal(log.events["kind"], "dislike"), "dislike", "exposure")
    events = log.events.drop_columns(["kind"]).append_column("kind", kinds)
    titles = pa.array(["y" * 900_000, *log.items["title"].to_pylist()[1:]])  # tokenised whole, it takes hours
    source, run = tmp_path / "log", tmp_path / "run"
    source.mkdir()
    pq.write_table(events, source / "events.parquet")
    pq.write_table(
        log.items.select(["item_id", "category", "first_seen"]).append_column("title", titles), source / "items.parquet"
    )
    run_stages((), RECIPE, run, source, None, begin=True)
    run_stages(STAGES, RECIPE, run, source)
    said = capsys.readouterr().err
    assert "item-level alignment is skipped: 0 + 0 held-out questions" in said
    metrics = json.loads((run / "understand" / "seed0" / "metrics.json").read_text())
    assert metrics["questions"] == metrics["questions_held_out"] == 0
    assert "alignment_accuracy" not in metrics
    assert (run / "report.html").is_file()
    assert json.loads((run / "metrics.json").read_text())["systems"]["conrec"]["FHR@20"]["mean"] > 0
