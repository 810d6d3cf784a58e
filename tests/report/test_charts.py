"""Charts are well-formed, accessible, follow the page's colours, and say what the numbers say."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.report.charts import SERIES, Interval, Series, binned, intervals, lines, panels

SVG = "{http://www.w3.org/2000/svg}"


def paths(svg: str) -> list[str]:
    """Outlines of the drawn lines."""
    groups = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if "mark-line" in g.get("class", "")]
    return [p.get("d", "") for g in groups for p in g.iter(f"{SVG}path")]


def test_chart_is_named_described_and_escaped():
    svg = lines([Series("a", np.arange(3.0), np.arange(3.0))], "<b>title</b>", 'text & "more"')
    root = ET.fromstring(svg)  # raises where it is not well-formed
    title, text = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert (title.text, text.text) == ("<b>title</b>", 'text & "more"')
    assert (root.get("aria-labelledby"), root.get("aria-describedby")) == (title.get("id"), text.get("id"))


def test_colours_are_the_pages():
    series = [Series(f"s{n}", np.arange(3.0), np.arange(3.0) + n) for n in range(len(SERIES))]
    svg = lines(series, "t", "d")
    assert all(colour in svg for colour in SERIES)
    assert not re.search(r"#[0-9a-f]{6}\b|#[0-9a-f]{3}\b", svg)


def test_a_gap_breaks_the_line():
    x, y = np.arange(6.0), np.array([1, 2, np.nan, 2, 3, 4.0])
    assert len(paths(lines([Series("a", x, y)], "t", "d"))) == 2
    assert len(paths(lines([Series("a", x, np.arange(6.0))], "t", "d"))) == 1


def test_interval_rows_keep_their_order():
    rows = [Interval("zebra", 0.3, 0.2, 0.4), Interval("<ape>", 0.2, 0.1, 0.3, True), Interval("mole", 0.1)]
    texts = [t.text for t in ET.fromstring(intervals(rows, "t", "d")).iter(f"{SVG}text")]
    assert [t for t in texts if t in ("zebra", "<ape>", "mole")] == ["zebra", "<ape>", "mole"]


def test_panels_share_their_lines_and_each_has_its_own_scale():
    groups = {
        "cats & dogs": [Interval("zebra", 0.3, 0.2, 0.4), Interval("ape", 0.2, 0.1, 0.3, True)],
        "mice": [Interval("mole", 0.011), Interval("ape", 0.012, 0.01, 0.013)],
    }
    drawing = ET.fromstring(panels(groups, "t", "d"))
    texts = [t.text for t in drawing.iter(f"{SVG}text")]
    assert [t for t in texts if t in ("zebra", "ape", "mole")] == ["zebra", "ape", "mole"]
    assert [t for t in texts if t in groups] == list(groups)
    assert {"0.4", "0.013"} <= set(texts)
    dots = [g for g in drawing.iter(f"{SVG}g") if "mark-symbol" in g.get("class", "")]
    rows = [[path.get("transform").split(",")[1] for path in one] for one in dots]
    assert rows[0][1] == rows[1][1]  # ape
    assert len({*rows[0], *rows[1]}) == 3


@pytest.mark.slow
def test_same_input_same_chart_in_every_process():
    code = (
        "import numpy as np; from conrec.report.charts import Series, lines;"
        "print(lines([Series(n, np.arange(3.0), np.arange(3.0)) for n in 'ab'], 't', 'd'))"
    )
    charts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in "12"
    }
    assert charts == {lines([Series(n, np.arange(3.0), np.arange(3.0)) for n in "ab"], "t", "d") + "\n"}


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-1e3, 1e3)), min_size=1, max_size=120), st.integers(1, 40))
def test_binned_keeps_mean_and_extremes(points, bins):
    steps, values = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    curve = binned("a", steps, values, bins)
    assert 1 <= len(curve.x) <= min(bins, len(set(steps.tolist())))
    assert np.all(np.diff(curve.x) > 0)
    assert np.all((curve.low <= curve.y + 1e-9) & (curve.y <= curve.high + 1e-9))
    assert (curve.low.min(), curve.high.max()) == (values.min(), values.max())


def test_binned_pools_seeds_at_the_same_step():
    curve = binned("a", np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 3.0, np.nan]))
    assert curve.x.tolist() == [0, 1]
    assert curve.y.tolist() == [2.0, 2.0]
    assert (curve.low.tolist(), curve.high.tolist()) == ([1.0, 2.0], [3.0, 2.0])


@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_single_point_series(count):
    ET.fromstring(lines([Series("a", np.arange(float(count)), np.ones(count))], "t", "d"))
