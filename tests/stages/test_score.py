"""The stage score: what it writes, that validation has no part in it, and what it says of too short a log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conrec.config import Recipe
from conrec.score.history import HistoryScore
from conrec.stages.score import learn_score, read_history
from tests.jobs import job
from tests.small_log import CUTS, small_log, write_small_run

RECIPE = Recipe(name="small")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    items, log = small_log(users=60, items=40, events=2500)
    write_small_run(tmp_path, items, log)
    return tmp_path


def learned(run: Path, name: str) -> HistoryScore:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        learn_score(job(run, "score", RECIPE, out=run / name))
    found = read_history(run / name)
    assert found is not None
    return found


def test_labels_after_the_training_period_change_nothing(run: Path) -> None:
    before = learned(run, "before")
    table = json.loads((run / "before" / "score.json").read_text())
    assert table["history"]
    assert table["windows"] > 0
    assert table["dislikes"] > 0
    assert table["likes"] > 0
    path = run / "prepare" / "events.parquet"
    events = pq.read_table(path)
    kinds = events["kind"].to_numpy(zero_copy_only=False).astype(object)
    late = events["time"].cast("timestamp[us]").to_numpy() >= CUTS[0]
    assert late.any()
    turned = {"dislike": "favorite", "favorite": "dislike"}
    kinds[late] = [turned.get(kind, kind) for kind in kinds[late]]
    place = events.schema.get_field_index("kind")
    pq.write_table(events.set_column(place, "kind", [kinds.tolist()]), path)
    after = learned(run, "after")
    for name, value in before.state().items():
        np.testing.assert_array_equal(after.state()[name], value, err_msg=name)


def test_too_short_a_log_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn_score(job(run, "score", RECIPE, out=run / "score"))
    assert read_history(run / "score") is None
    assert "do not hold both" in json.loads((run / "score" / "score.json").read_text())["reason"]
    said = capsys.readouterr()
    assert "there will be no filter" in said.out + said.err
