"""The service's bench in small: it runs, and its verdict can be a bad one."""

from __future__ import annotations

import copy
import json

import pytest

from benchmarks.results import replace_section
from benchmarks.serve import LADDER, failures, markdown, serve, targets, unfiltered

pytestmark = pytest.mark.slow

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")


@pytest.fixture(scope="module")
def result() -> dict:
    return json.loads(json.dumps(serve(quick=True), allow_nan=False))


def test_it_measures_and_no_request_fails(result: dict) -> None:
    assert failures(result) == 0
    assert len(result["hot_swap"]["versions"].keys() - {""}) == 2
    assert result["open_loop"]["requests"] == result["hot_swap"]["requests"] == 400
    assert [run["dislikes"]["requests"] for run in result["online"]["runs"]] == [2000] * 3
    assert result["killed"]["lost"] == 0
    assert 0 < result["in_process"]["p50_us"] < result["in_process"]["p99_us"]
    assert result["service_memory_mb"]["own"] > 10
    assert result["startup_seconds"] > 0
    assert result["targets"] == {}


def test_a_bad_outcome_is_told(result: dict) -> None:
    for load, name in (("open_loop", "failed"), ("hot_swap", "failed")):
        bad = copy.deepcopy(result)
        bad[load][name] = 3
        assert failures(bad) == 3
    passed, stuck = copy.deepcopy(result), copy.deepcopy(result)
    passed["open_loop"]["unfiltered"] += 2
    assert failures(passed) == 0
    assert unfiltered(passed) == unfiltered(result) + 2
    stuck["hot_swap"]["versions"] = {"20261122T021500Z-0001": 400}
    assert failures(stuck) == 1


def test_the_bars(result: dict) -> None:
    assert result["killed"]["answered"] > 0
    good = copy.deepcopy(result)
    online, killed, inside = good["online"], good["killed"], good["in_process"]
    lists = [run["filter"] for run in online["runs"]]
    for load in (*good["closed_loop_by_connections"].values(), good["open_loop"], good["hot_swap"], *lists):
        load["unfiltered"] = 0
    for run, p99 in zip(online["runs"], (9.0, 2.9, 1.0)):  # the median counts
        run["filter"]["p99_ms"], run["empty"]["p99_ms"] = p99, 1.0
    online["memory_mb"], killed["lost"] = {"before": 100.0, "after": 109.0}, 0
    inside["p50_us"], inside["bare_us"], inside["update_us"] = 149.0, 50.0, 999.0
    assert list(targets(good).values()) == [True] * 7
    lists[1]["p99_ms"], inside["p50_us"], inside["update_us"] = 3.1, 151.0, 1000.0
    good["hot_swap"]["unfiltered"], killed["lost"], online["memory_mb"]["after"] = 1, 1, 111.0
    assert list(targets(good).values()) == [False, True, False, False, False, False, False]
    online["runs"][0]["dislikes"]["failed"] = 1
    assert list(targets(good).values()) == [False] * 7
    lists[1]["p99_ms"] = None
    assert json.loads(json.dumps(targets(good))) == targets(good)


def test_how_much_a_core_bears(result: dict) -> None:
    rungs = result["sustained"]
    assert [rung["times"] for rung in rungs] == list(LADDER[: len(rungs)])
    assert all(rung["holds"] for rung in rungs[:-1])
    assert 0 < result["online"]["cpu_share"] < 2
    good, late = ({"times": n, "failed": 0, "p99_ms": p99, "holds": p99 <= 25} for n, p99 in ((0.5, 9.0), (1.0, 26.0)))
    broken = late | {"failed": 3}
    for rungs, said in (
        ([good], "bears 0.5 times this (100 lists, 100 empty requests, 500 dislikes a second) at a p99 of 9.0 ms"),
        ([good, late], "for the lists; at 1 times their p99 was 26 ms"),
        ([good, broken], "at 1 times 3 requests failed"),
        ([broken], "bears not half of this; at 1 times 3 requests failed"),
    ):
        assert said in markdown({**result, "sustained": rungs})


def test_the_section_of_the_results(result: dict, tmp_path) -> None:
    text = markdown({**result, "targets": {"a target": False}})
    assert "a target: NO" in text
    assert "| open, Poisson, 200/s |" in text
    file = tmp_path / "RESULTS.md"
    file.write_text("a\n<!-- serve -->\nold\n<!-- /serve -->\nb\n")
    replace_section(file, "serve", text)
    assert file.read_text() == f"a\n<!-- serve -->\n{text}<!-- /serve -->\nb\n"
