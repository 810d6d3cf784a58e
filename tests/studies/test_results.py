"""The arithmetic of the tables on cells made by hand, and the words that the numbers choose."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.baselines.trivial import trivial_systems
from conrec.report.charts import SERIES
from conrec.studies.cells import CellResult, Measured
from conrec.studies.models import CONREC, POLICY, WITH_POLICY
from conrec.studies.pages import page, picture, write
from conrec.studies.paper import fig2a, table1, table3
from conrec.studies.reproduce import STUDIES
from conrec.studies.results import Row, ahead, as_csv, pool, rows
from conrec.studies.rewards import HIGH
from conrec.studies.study import Study
from tests.studies.modules import study_of

Values = Sequence[float] | np.ndarray
USERS = np.array([f"u{n}" for n in range(40)])


def result(
    system: str, values: Mapping[str, Values], seed: int = 0, fold: int = 0, ids: Sequence[int] = ()
) -> CellResult:
    """A cell's result, one user an instance."""
    length = len(next(iter(values.values())))
    numbers = np.asarray(ids) if ids else np.arange(length)
    arrays = {metric: np.asarray(own, np.float32) for metric, own in values.items()}
    users = np.array([f"{fold}{USERS[n]}" for n in numbers])
    return CellResult("toy", system, seed, fold, Measured(numbers, users, arrays))


def study(**changes: object) -> Study:
    base = Study("toy", "Toy", "What it measures.", lambda context, own, first: [], ("FHR@20",), source="its table")
    return replace(base, **changes)  # type: ignore[arg-type]


def text_of(one: Study, table: Sequence[Row]) -> str:
    return page(one, table, "conrec reproduce toy")


def test_seeds_are_averaged_per_instance() -> None:
    pooled = pool([result("x", {"m": [0, 1, np.nan]}), result("x", {"m": [1, 1, np.nan]}, seed=1)])
    np.testing.assert_allclose(pooled.values["x"]["m"], [0.5, 1, np.nan])
    assert pooled.seeds == {"x": [0, 1]}


def test_instances_are_told_apart_by_fold_and_found_by_id() -> None:
    pooled = pool(
        [
            result("x", {"m": [1, 0]}, ids=[5, 6]),
            result("x", {"m": [0, 1]}, seed=1, fold=1, ids=[5, 6]),
            result("y", {"m": [0.25, 0.75]}, ids=[6, 5]),
        ]
    )
    assert len(pooled.users) == 4
    np.testing.assert_allclose(pooled.values["x"]["m"], [1, 0, 0, 1])
    np.testing.assert_allclose(pooled.values["y"]["m"], [0.75, 0.25, np.nan, np.nan])


def test_differences_are_paired_on_what_counts_for_both() -> None:
    table = rows(
        study(against={"x": "y"}),
        "toy",
        [result("x", {"FHR@20": [1, 1, np.nan, 0]}), result("y", {"FHR@20": [0, np.nan, 1, 0]})],
    )
    x, y = table
    assert x.value.mean == pytest.approx(2 / 3)
    assert y.difference is None
    assert x.difference is not None
    assert (x.difference.mean, x.difference.instances) == (0.5, 2)


def test_pairs_that_differ_alike_are_sure_where_means_alone_are_not() -> None:
    rng = np.random.default_rng(0)
    own = rng.random(40)
    (x, _) = rows(study(against={"x": "y"}), "toy", [result("x", {"FHR@20": own + 0.05}), result("y", {"FHR@20": own})])
    assert x.difference is not None
    assert x.difference.significant
    assert x.value.low is not None
    assert x.value.low < own.mean()


def test_the_best_other_is_chosen_metric_by_metric_and_never_the_truth() -> None:
    cells = [
        result("conrec", {"HR@20": [1, 1, 0, 0], "FHR@20": [1, 1, 1, 0]}),
        result("a", {"HR@20": [1, 0, 0, 0], "FHR@20": [1, 1, 0, 0]}),
        result("b", {"HR@20": [0, 0, 0, 0], "FHR@20": [1, 1, 1, 1]}),
        result("oracle", {"HR@20": [1, 1, 1, 1], "FHR@20": [1, 1, 1, 1]}),
    ]
    one = study(metrics=("HR@20", "FHR@20"), best_other="conrec", aside=("oracle",))
    found = {row.metric: row for row in rows(one, "toy", cells) if row.system == "conrec"}
    assert (found["HR@20"].against, found["FHR@20"].against) == ("a", "b")
    assert found["FHR@20"].difference is not None
    assert found["FHR@20"].difference.mean == -0.25


def test_whatever_is_significantly_ahead_is_named_part_or_rival_but_the_truth() -> None:
    one = study(metrics=("HR@20", "FHR@20"), best_other="conrec", aside=("oracle",), parts="conrec's ")
    one = replace(one, headlines=("FHR@20",))
    first = [float(n < 20) for n in range(40)]
    more, one_more = ([float(n < hits) for n in range(40)] for hits in (30, 21))
    hits = {"conrec": (first, first), "conrec's prior": (first, first), "a": (first, one_more), "oracle": (more, more)}

    def told(**others: tuple[Values, Values]) -> tuple[list[tuple[str, str]], str]:
        own = {name.replace("_", "'s "): both for name, both in others.items()}
        cells = [result(name, dict(zip(one.metrics, both))) for name, both in (hits | own).items()]
        table = rows(one, "toy", cells)
        return [(row.system, row.metric) for row in ahead(one, table)], text_of(one, table)

    named, text = told()
    assert named == []
    assert "No system and no part of conrec is significantly ahead of it in any metric, on any log." in text
    named, text = told(conrec_prior=(first, more), a=(more, one_more))
    assert named == [("a", "HR@20"), ("conrec's prior", "FHR@20")]
    assert "ahead of conrec: a in HR@20 on toy (+0.250); conrec's prior in FHR@20 on toy (+0.250).\n" in text
    # A part is no rival: CoNRec's lead is that over the best of the others.
    assert "| toy | -4.8% (a) |" in text


def test_what_systems_see_of_the_simulator_is_said_of_the_recipe_that_ran() -> None:
    cells = [replace(result("x", {"FHR@20": [1, 0]}), dataset="simulator")]
    table = rows(study(), "simulator", cells)
    for columns, said in ((False, "and none of these.\n"), (True, "and these too, as columns.\n")):
        assert said in page(study(), table, "conrec reproduce toy", columns)
    assert "simulated platform" not in text_of(study(), rows(study(), "toy", [result("x", {"FHR@20": [1, 0]})]))


def test_a_lead_over_the_best_other_is_a_share_too() -> None:
    one = study(best_other="x", paper={"x": {"FHR@20": 0.05}, "y": {"FHR@20": 0.04}, "z": {"FHR@20": 0.01}})
    cells = [result(name, {"FHR@20": [float(n < hits) for n in range(40)]}) for name, hits in (("x", 15), ("w", 10))]
    text = text_of(one, rows(one, "toy", cells))
    assert "x 0.375 against w 0.250" in text
    assert ", +50.0% where the paper has +25.0%: the paper's direction holds" in text


def test_margins_name_the_best_other_and_say_where_they_are_significant() -> None:
    one = study(best_other="x", paper={"x": {"FHR@20": 0.05}, "y": {"FHR@20": 0.04}})
    cells = [result(name, {"FHR@20": [float(n < hits) for n in range(40)]}) for name, hits in (("x", 30), ("w", 10))]
    lead = "| | FHR@20 |\n|---|---|\n| the paper | +25.0% |\n| toy | **+200.0%** (w) |\n"
    assert lead in text_of(one, rows(one, "toy", cells))
    unsure = rows(one, "toy", [result("x", {"FHR@20": [1, 0, 1, 0]}), result("w", {"FHR@20": [1, 1, 0, 0]})])
    assert "| toy | +0.0% (w) |" in text_of(one, unsure)


def test_a_second_opponent_is_told_and_kept_but_no_row_of_its_own() -> None:
    one = study(metrics=("ZUF@20",), best_other="x", second={"ZUF@20": ("p7", "p14")})
    hits = {"x": 20, "w": 30, "p7": 5, "p14": 10}
    table = rows(one, "toy", [result(name, {"ZUF@20": [float(n < h) for n in range(40)]}) for name, h in hits.items()])
    text = page(one, table, "conrec reproduce toy")
    assert "x 0.500 against w 0.750" in text
    assert "x 0.500 against p14 0.250, +0.250" in text
    assert text.count("| x |") == 1
    of_x = [line for line in csv.DictReader(io.StringIO(as_csv(table))) if line["system"] == "x"]
    assert [(line["against"], line["verdict"]) for line in of_x] == [("w", "worse"), ("p14", "better")]


def test_words_follow_the_numbers() -> None:
    flat = [0.0] * 20 + [1.0] * 20
    up = study(against={"x": "y"}, paper={"x": {"FHR@20": 0.05}, "y": {"FHR@20": 0.04}})
    better = rows(up, "toy", [result("x", {"FHR@20": [1.0] * 40}), result("y", {"FHR@20": flat})])
    text = text_of(up, better)
    assert "the paper reports x 0.0500, y 0.0400 (its table)" in text
    assert "x 1.000 against y 0.500, +0.500" in text
    assert "the paper's direction holds, significant" in text
    worse = rows(up, "toy", [result("x", {"FHR@20": flat}), result("y", {"FHR@20": [1.0] * 40})])
    assert "the paper's direction does not hold, significant" in text_of(up, worse)
    same = rows(up, "toy", [result("x", {"FHR@20": flat}), result("y", {"FHR@20": flat})])
    assert "no difference" in text_of(up, same)
    unknown = rows(
        study(against={"x": "y"}), "toy", [result("x", {"FHR@20": [1.0] * 40}), result("y", {"FHR@20": flat})]
    )
    assert "direction" not in text_of(study(against={"x": "y"}), unknown)


def test_what_is_forgotten_is_the_share_that_is_lost() -> None:
    one = study(metrics=("accuracy",), against={"sft": "before"}, forgetting="before")
    table = rows(one, "toy", [result("before", {"accuracy": [1, 1, 1, 0]}), result("sft", {"accuracy": [1, 0, 0, 0]})])
    assert [row.forgotten for row in table] == [None, pytest.approx(2 / 3)]
    assert "66.7% of what was learned before is forgotten" in text_of(one, table)


def test_the_table_as_csv_reads_back() -> None:
    table = rows(study(against={"x": "y"}), "toy", [result("x", {"FHR@20": [1, 0]}), result("y", {"FHR@20": [0, 0]})])
    x, y = csv.DictReader(io.StringIO(as_csv(table)))
    assert (x["system"], x["against"], float(x["mean"]), float(x["difference"]), x["seeds"]) == (
        "x",
        "y",
        0.5,
        0.5,
        "0",
    )
    assert (y["against"], y["difference"], y["verdict"]) == ("", "", "")


def test_pictures_stand_alone(tmp_path: Path) -> None:
    cells = [result("x", {"FHR@20": [1, 0, 1]}), result("y", {"FHR@20": [0, 0, 1]})]
    dots = study(against={"x": "y"})
    svg = picture(dots, rows(dots, "toy", cells))
    ET.fromstring(svg)
    assert "--ink:#" in svg
    assert ">FHR@20</text>" in svg
    write(dots, rows(dots, "toy", cells), "conrec reproduce toy", tmp_path / "results")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["toy.csv", "toy.md", "toy.svg"]
    text = page(dots, rows(dots, "toy", cells), "conrec reproduce toy")
    assert "conrec reproduce toy" in text
    assert "toy.svg" in text


def test_the_picture_marks_what_conrec_does_wherever_it_stands() -> None:
    cells = [result("ours", {"FHR@20": [1, 0, 1]}), result("y", {"FHR@20": [0, 0, 1]})]
    marked = []
    for own in ((), ("ours",), ("ours", "y")):
        one = study(against={"y": "ours"}, own=own)
        marked.append(picture(one, rows(one, "toy", cells)).count(f'="{SERIES[0]}"'))
    assert marked == [0, marked[1], 2 * marked[1]]
    assert marked[1] > 0


def test_the_papers_figures_are_for_systems_that_the_studies_run() -> None:
    """A misspelt name would silently drop a comparison."""
    assert [one.name for one in STUDIES.values()] == [
        "fig2a",
        "table1",
        "features",
        "table2",
        "fig2b",
        "table3",
        "table4",
        "table5",
        "language_model",
    ]
    assert {m for one in STUDIES.values() for m in one.text_metrics} <= {
        m for one in STUDIES.values() for m in one.metrics
    }
    paper = study_of(table1).paper
    assert paper["conrec"]["CandAcc"] / paper["instructrec"]["CandAcc"] == pytest.approx(2.013, abs=0.001)
    assert set(study_of(table1).second["ZUF@20"]) <= {system.name for system in trivial_systems(1.0, 1.0)}
    rows = (*list(STUDIES["table2"].variants)[:4], POLICY, WITH_POLICY)
    assert tuple(STUDIES["table2"].variants) == rows
    assert STUDIES["table2"].against == dict(zip(rows[1:], rows))
    assert set(STUDIES["table2"].paper) == set(rows) - {WITH_POLICY}
    after = {f"alignment after {name}" for name in (table3.SFT, table3.GRPO, CONREC)}
    assert set(study_of(table3).paper) == {table3.ALIGNMENT, *after}
    assert set(STUDIES["table4"].paper) == set(STUDIES["table4"].variants)
    assert f"at least {HIGH}" in STUDIES["table4"].measures
    assert set(STUDIES["fig2b"].paper) == {"lc_rec", "lc_rec+positives"}
    assert set(study_of(fig2a).paper) == {fig2a.NEXT, fig2a.WEEK, fig2a.SWING}
    assert POLICY in STUDIES["table5"].variants
