"""A log of dislikes and exposures alone, as docs/data.md describes it, goes through all stages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conrec.config import SimulateConfig
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.run import STAGES, run_stages
from conrec.simulate import simulate
from tests.deploy.live_run import RECIPE

pytestmark = pytest.mark.slow

NAMES = ("user_id", "item_id")
ODD = ["a,b", "a\nb", "🦆", "../x", "../../etc/passwd", 'q"q', "a\tb", "\u202ex", "\u00e9", "e\u0301", "-1"]
ODD.append("</script><script>alert(1)</script>")


def renamed(table: pa.Table, name: str, ids: list[str]) -> pa.Table:
    """With odd ids in place of these users or items."""
    new = dict(zip(ids, ODD, strict=True))
    column = pa.array([new.get(one, one) for one in table[name].to_pylist()])
    return table.set_column(table.column_names.index(name), name, column)


def test_a_log_that_nobody_likes_anything_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = simulate(SimulateConfig(users=80, items=160, days=50, seed=3), None).log
    kinds = pc.if_else(pc.equal(log.events["kind"], "dislike"), "dislike", "exposure")
    events = log.events.drop_columns(["kind"]).append_column("kind", kinds)
    titles = pa.array(["y" * 900_000, *log.items["title"].to_pylist()[1:]])  # tokenised whole, it takes hours
    items = log.items.select(["item_id", "category", "first_seen"]).append_column("title", titles)
    shown = [[one for one, _ in Counter(events[name].to_pylist()).most_common(len(ODD))] for name in NAMES]
    for name, ids in zip(NAMES, shown):
        events = renamed(events, name, ids)
    source, run = tmp_path / "log", tmp_path / "some" / "run"
    source.mkdir()
    pq.write_table(events, source / "events.parquet")
    pq.write_table(renamed(items, "item_id", shown[1]), source / "items.parquet")
    run_stages((), RECIPE, run, source, None, begin=True)
    run_stages(STAGES, RECIPE, run, source)
    said = capsys.readouterr().err
    assert "item-level alignment is skipped: 0 + 0 held-out questions" in said
    metrics = json.loads((run / "understand" / "seed0" / "metrics.json").read_text())
    assert metrics["questions"] == metrics["questions_held_out"] == 0
    assert "alignment_accuracy" not in metrics
    assert ODD[-1] not in (run / "report.html").read_text()
    known = pq.read_table(run / "prepare" / "events.parquet")
    assert set(ODD) <= set(known["user_id"].to_pylist()) & set(known["item_id"].to_pylist())
    assert {path.name for path in tmp_path.rglob("*") if not path.is_relative_to(run)} == {
        "log", "events.parquet", "items.parquet", "some"
    }  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["systems"]["conrec"]["FHR@20"]["mean"] > 0
    # Without likes no score tells dislikes from them.
    assert metrics["filter"] is None
    assert "filter: too little to learn the filter from: the training periods do not hold both" in said
    with pytest.raises(ConrecError, match="no replay there"):
        refresh(run, RECIPE)
