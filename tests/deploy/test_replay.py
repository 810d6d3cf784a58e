"""`conrec replay`: what it reads, what it says, and a day in the operator's numbers."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from conrec.__main__ import main
from conrec.config import FilterConfig, Recipe
from conrec.data.instances import read_instances
from conrec.deploy.replay import Operator, describe, estimate, read_replays
from conrec.errors import ConrecError
from conrec.evaluate.compare import pooled
from conrec.evaluate.results import Curve
from conrec.run import run_stages
from conrec.stages.filter import filter_replay
from conrec.stages.score import learn_score
from tests.jobs import job
from tests.small_log import small_log, write_small_run

pytestmark = pytest.mark.slow

RECIPE = Recipe(name="small", seeds=(0, 1), filter=FilterConfig(likes_lost=0.05))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prepare, compress and two seeds of score and filter; nobody has a prediction."""
    folder = tmp_path_factory.mktemp("run")
    run_stages((), RECIPE, folder, None, None, begin=True)
    items, log = small_log(users=60, items=40, events=2500)
    write_small_run(folder, items, log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
        for seed in RECIPE.seeds:
            learn_score(job(folder, "score", RECIPE, seed))
            filter_replay(job(folder, "filter", RECIPE, seed))
    assert len(read_instances(folder / "prepare", items))
    return folder


def test_json_is_what_programs_look_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"conrec", "conrec_paper", "bias", "boosted"} <= set(found["systems"])
    for system in found["systems"].values():
        assert set(system["avoided"]) == {"0.01", "0.02", "0.05"}
        assert 0 <= system["auc"] <= 1
        for one in system["avoided"].values():
            low, high = one["ci95"]
            assert 0 <= low <= high <= 1
            assert 0 <= one["mean"] <= 1
    assert found["seeds"] == [0, 1]
    assert "estimate" not in found
    assert found["differences"]["bias"]["0.01"]["verdict"] in ("better", "worse", "not significant")


def test_the_table_shows_the_cost_beside_the_gain(run: Path) -> None:
    found = read_replays(run, RECIPE)
    text = describe(found)
    for word in ("conrec_paper", "boosted", "over-suppression", "of the likes lost", "lists", "threshold"):
        assert word in text
    assert f"{found.chosen.likes_lost:.2%}" in text
    assert f"off by {found.reliability.ece:.2%}" in text
    assert found.suppression.lists_touched >= found.suppression.lists_halved
    assert f"user {found.suppression.users[0].user}:" in text


def test_seeds_are_pooled(run: Path) -> None:
    folders = [run / "filter" / f"seed{seed}" for seed in RECIPE.seeds]
    both, one, other = pooled(folders, "test"), pooled(folders[:1], "test"), pooled(folders[1:], "test")
    for budget in ("0.01", "0.02", "0.05"):
        means = [table.avoided["conrec"][budget].mean for table in (one, other)]
        assert both.avoided["conrec"][budget].mean == pytest.approx(np.mean(means))
        assert both.avoided["bias"][budget] == one.avoided["bias"][budget]
    alone = read_replays(run, replace(RECIPE, seeds=(0,))).systems["conrec"]
    assert alone.avoided["0.01"].mean == pytest.approx(one.avoided["conrec"]["0.01"].mean)


def test_the_tables_of_the_docs_are_one_command(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
    before = sorted(run.rglob("*"))
    runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "filter_tables.py"))["main"](run, [0])
    lines = capsys.readouterr().out.splitlines()
    found = read_replays(run, replace(RECIPE, seeds=(0,))).systems["conrec"].avoided["0.05"].mean
    (ours,) = [line for line in lines if line.startswith("| **history**")]
    assert f"| {found:.3f}" in ours
    assert [line.split(" | ")[0] for line in lines if "lead over" in line] == [
        "| lead over bias",
        "| lead over boosted",
    ]
    assert sorted(run.rglob("*")) == before


def test_a_day_is_simple_arithmetic(run: Path) -> None:
    found = read_replays(run, RECIPE)
    curve = Curve(
        threshold=[0.0, 1.0, 2.0],
        dislikes_avoided=[1.0, 0.5, 0.0],
        likes_lost=[1.0, 0.02, 0.0],
        dropped=[1.0, 0.1, 0.0],
        rate_after=[None, 0.06, 0.1],
    )
    found = msgspec.structs.replace(found, curve=curve, exposures=100, dislikes=10, likes=40)
    guess = estimate(found, Operator(1000, cost_of_dislike=3, value_of_click=2))
    assert guess is not None
    assert (guess.dislikes_a_day, guess.likes_a_day) == (100, 400)
    assert guess.at["0.01"].dislikes_avoided == 0
    assert guess.at["0.02"] == guess.best
    assert guess.best.dislikes_avoided == 50
    assert guess.best.likes_lost == 8
    assert guess.best.net_value == pytest.approx(50 * 3 - 8 * 2)
    assert "best: lose 2.00%" in describe(found, guess)
    worthless = estimate(found, Operator(1000, cost_of_dislike=0, value_of_click=2))
    assert worthless is not None
    assert worthless.best.dropped_share == 0
    assert "nothing pays" in describe(found, worthless)


@pytest.mark.parametrize("flag", ["daily_exposures", "cost_of_dislike", "value_of_click"])
def test_a_number_that_makes_no_sense_names_its_flag(flag: str) -> None:
    numbers = {"daily_exposures": 1.0, "cost_of_dislike": 1.0, "value_of_click": 1.0, flag: -1.0}
    with pytest.raises(ConrecError, match="--" + flag.replace("_", "-")):
        Operator(**numbers)


def test_without_a_replay_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="bring the run as far as filter first"):
        read_replays(tmp_path, RECIPE)
