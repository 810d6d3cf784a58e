"""The benchmark of growth: its logs, its slopes, and the rates that it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import fit_log
from benchmarks.fit_log import DAYS, START, draw_log
from benchmarks.scale import PLANNED, Meter, _draw, growth, markdown, rates
from conrec.config import load_recipe
from conrec.plan.costs import Plan
from conrec.run import find_recipe


def test_growth_is_the_slope_over_what_can_be_measured() -> None:
    sizes = [10**4, 10**5, 10**6]
    assert growth(sizes, [n**2 * 1e-8 for n in sizes]) == pytest.approx(2)
    assert growth(sizes, [n * np.log(n) * 1e-5 for n in sizes]) == pytest.approx(1.09, abs=0.02)
    assert growth(sizes, [0.001, 1.0, 10.0]) == pytest.approx(1)  # the first is too short to be measured
    assert growth(sizes, [0.001, 0.01, 10.0]) is None


def test_a_log_is_the_same_whatever_is_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_log(2000, 100, 40, exposures=0.5)
    monkeypatch.setattr(fit_log, "AT_ONCE", 300)
    for one, two in zip(whole, draw_log(2000, 100, 40, exposures=0.5)):
        assert one.equals(two)


def test_the_day_follows_the_log(tmp_path: Path) -> None:
    _draw(tmp_path, 3600, 100, 40)
    log, day = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("events", "day"))
    end = START + np.timedelta64(DAYS, "D")
    assert len(day) == 3600 // DAYS
    assert log["time"].to_numpy().max() < end <= day["time"].to_numpy().min()
    assert day["time"].to_numpy().max() < end + np.timedelta64(1, "D")


def test_parts_within_parts_are_measured_apart() -> None:
    meter = Meter()
    with meter.part("outer"):
        block = np.ones(20_000_000)
        with meter.part("inner"):
            small = np.ones(1000)
        del block
    assert small.sum() == 1000
    outer, inner = meter.found["outer"], meter.found["inner"]
    assert outer["cpu_s"] >= inner["cpu_s"]
    assert outer["peak_mb"] >= inner["peak_mb"] > 0


def measured(events: int) -> dict[str, Any]:
    """As a log with costs of 1 ms an event, 2 s a run, and 100 bytes an event would be measured."""
    part = {"cpu_s": 2 + 1e-3 * events, "wall_s": 0.0, "peak_mb": 300 + 1e-4 * events}
    parts = {name: part for _, name, _ in PLANNED.values()}
    disk = dict.fromkeys((*parts, "snapshots"), 50.0 * events)
    about = {"events": events, "users": events // 10, "items": events // 50, "published": events // 20, "machine": {}}
    whole = {"parts": parts, "disk_bytes": disk}
    return {**about, **whole, "whole": whole, "lists": {"parts": {"trie of a day": part}}}


def test_rates_give_back_what_was_measured() -> None:
    found = rates([measured(n) for n in (10**4, 10**5, 10**6)])
    log = {"events": 10**5, "users": 10**4, "items": 2000, "dislikes": 6000, "likes": 14_000, "days": DAYS}
    seconds, memory, _ = Plan(load_recipe(find_recipe(Path("fit"))), log, {}).of_log(found["stages"]["score"])
    assert seconds == pytest.approx(102, rel=0.1)
    assert memory == pytest.approx(310e6, rel=0.1)
    assert set(PLANNED) < set(found["stages"])


def test_what_grows_too_fast_is_marked() -> None:
    slow = [measured(n) for n in (10**4, 10**5)]
    assert "(!)" not in markdown(slow)
    slow[1]["parts"]["score"] = {"cpu_s": 12_000.0, "wall_s": 0.0, "peak_mb": 1.0}
    (row,) = [line for line in markdown(slow).splitlines() if line.startswith("| score ")]
    assert row.endswith("3.00 (!) |")
