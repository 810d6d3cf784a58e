"""Charts of the report: altair specifications drawn once to static SVG.

SVG instead of the vega scripts keeps the page below a megabyte, works with scripts off and prints well; a chart
is 5 to 15 kB, the scripts alone 0.8 MB. Every chart has a title and a description for screen readers, colours that
follow the page's light or dark style (CSS variables), and a natural size that fits a phone.
"""

from __future__ import annotations

import html
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import vl_convert

# Drawn with these, then replaced by CSS variables of the page. None of them is a colour that a user could have chosen.
INK, FAINT, LINE = "#112233", "#556677", "#ccddee"
SERIES = ("#2a78d6", "#e8720c", "#15875a", "#a0489c", "#8a6d00", "#c53a4d", "#2f8fa3", "#6b6b76")
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4], [1, 3], [6, 2, 2, 2])
_VARIABLES = {INK: "ink", FAINT: "faint", LINE: "line"} | {c: f"series-{n}" for n, c in enumerate(SERIES)}
WIDTH, HEIGHT = 275, 160


@dataclass(frozen=True)
class Series:
    """One line: `x`, `y` float [n], and optionally a band from `low` to `high`, float [n]."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Interval:
    """One row of a dot plot: an estimate with its 95 % interval (absent: the dot alone)."""

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    strong: bool = False
    """Drawn in the first colour instead of the neutral one."""


def lines(
    series: Sequence[Series],
    title: str,
    description: str,
    x_title: str = "",
    y_format: str = "~g",
    x_format: str = "~s",
    rules: Mapping[str, float] | None = None,
    from_zero: bool = False,
    marks: Iterable[tuple[str, float, float]] = (),
    colours: Mapping[str, int] | None = None,
) -> str:
    """A line chart as SVG. `rules`: label -> x of a vertical line; `marks`: (series, x, y) of emphasised points;
    `colours`: series -> number of its colour, where charts beside each other must agree."""
    names = [s.name for s in series]
    number = {n: (colours or {}).get(n, k) % len(SERIES) for k, n in enumerate(names)}
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[SERIES[number[n]] for n in names]), legend=None)
    dash = alt.StrokeDash(
        "series:N", scale=alt.Scale(domain=names, range=[DASHES[number[n]] for n in names]), legend=None
    )
    x = alt.X("x:Q", title=x_title or None, axis=alt.Axis(format=x_format, tickCount=5), scale=alt.Scale(nice=False))

    def y_of(field: str) -> alt.Y:
        return alt.Y(field, title=None, axis=alt.Axis(format=y_format, tickCount=5), scale=alt.Scale(zero=from_zero))

    y = y_of("y:Q")
    layers: list[Any] = []
    if rules:
        labels = [{"label": name, "x": float(at)} for name, at in rules.items()]
        rule = alt.Chart(alt.Data(values=labels))
        layers.append(rule.mark_rule(stroke=LINE, strokeWidth=1.5).encode(x="x:Q"))
        text = rule.mark_text(align="left", baseline="bottom", dx=3, dy=-1, fontSize=10, color=FAINT)
        layers.append(text.encode(x="x:Q", y=alt.value(0), text="label:N"))
    points = [p for s in series for p in _points(s)]
    bands = [p for p in points if p["high"] > p["low"]]
    if bands:
        band = alt.Chart(alt.Data(values=bands)).mark_area(opacity=0.16)
        fill = alt.Fill("series:N", scale=colour["scale"], legend=None)
        layers.append(band.encode(x=x, y=y_of("low:Q"), y2="high:Q", fill=fill, detail=["series:N", "piece:N"]))
    line = alt.Chart(alt.Data(values=points)).mark_line(strokeWidth=1.8)
    layers.append(line.encode(x=x, y=y, color=colour, strokeDash=dash, detail="piece:N"))
    # A line of one point is invisible, so short series show their points too.
    short = {s.name for s in series if len(s.x) <= 12}
    emphasised = [{"series": n, "x": float(a), "y": float(b)} for n, a, b in marks]
    dots = emphasised if emphasised else [p for p in points if p["series"] in short]
    if dots:
        dot = alt.Chart(alt.Data(values=dots)).mark_circle(size=70 if emphasised else 28, opacity=1)
        layers.append(dot.encode(x=x, y=y, color=colour))
    return _svg(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), title, description)


def intervals(rows: Sequence[Interval], title: str, description: str, x_format: str = ".0%") -> str:
    """Estimates with their intervals, one under the other, as SVG."""
    values = [
        {
            "name": r.name,
            "mean": r.mean,
            "low": r.mean if r.low is None else r.low,
            "high": r.mean if r.high is None else r.high,
            "strong": r.strong,
        }
        for r in rows
    ]
    order = [r.name for r in rows]
    base = alt.Chart(alt.Data(values=values))
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=130, ticks=False, domain=False, grid=False))
    x = alt.X("low:Q", title=None, axis=alt.Axis(format=x_format, tickCount=5), scale=alt.Scale(zero=False, nice=True))
    colour = alt.condition("datum.strong", alt.value(SERIES[0]), alt.value(FAINT))
    layers: list[Any] = []
    layers.append(base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", y=y, color=colour))
    layers.append(base.mark_circle(size=60, opacity=1).encode(x="mean:Q", y=y, color=colour))
    return _svg(alt.layer(*layers).properties(width=210, height={"step": 24}), title, description)


def binned(name: str, steps: np.ndarray, values: np.ndarray, bins: int = 30) -> Series:
    """A long noisy curve, or several seeds' curves pooled, as at most `bins` points.

    steps, values: [n] in any order. The line is the mean of each bin (a bin is one step where there are few), the
    band goes from its smallest to its largest value. Values that are not finite are left out.
    """
    finite = np.isfinite(values)
    steps, values = np.asarray(steps)[finite], np.asarray(values, dtype=float)[finite]
    distinct, owner = np.unique(steps, return_inverse=True)
    if len(distinct) > bins:
        owner = owner * bins // len(distinct)
    count = np.bincount(owner)
    x, mean = np.bincount(owner, weights=steps) / count, np.bincount(owner, weights=values) / count
    low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(low, owner, values)
    np.maximum.at(high, owner, values)
    return Series(name, x, mean, low, high)


def _points(series: Series) -> list[dict[str, Any]]:
    """Rows for vega; a value that is not finite breaks the line, and a new piece begins after it."""
    low = series.y if series.low is None else series.low
    high = series.y if series.high is None else series.high
    finite = np.isfinite(series.x) & np.isfinite(series.y)
    piece = np.cumsum(~finite)
    return [
        {
            "series": series.name,
            "piece": int(piece[n]),
            "x": float(series.x[n]),
            "y": float(series.y[n]),
            "low": float(low[n]),
            "high": float(high[n]),
        }
        for n in np.flatnonzero(finite)
    ]


def _svg(chart: Any, title: str, description: str) -> str:
    """The chart as an accessible SVG element that follows the page's colours."""
    chart = chart.configure(
        background="transparent",
        padding={"left": 12, "right": 8, "top": 5, "bottom": 5},
        font="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
        aria=False,
    )
    chart = chart.configure_view(stroke=None).configure_axis(
        labelColor=INK, titleColor=FAINT, gridColor=LINE, domainColor=LINE, tickColor=LINE,
        labelFontSize=11, titleFontSize=11, titleFontWeight="normal", gridOpacity=0.6,
        labelFlush=False,
    )  # fmt: skip
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    number = f"{zlib.crc32((title + description).encode()):08x}"  # ids must differ within the page
    head, rest = svg.split(">", 1)
    named = f' role="img" aria-labelledby="chart-{number}-title" aria-describedby="chart-{number}-text">'
    words = (
        f'<title id="chart-{number}-title">{html.escape(title)}</title>'
        f'<desc id="chart-{number}-text">{html.escape(description)}</desc>'
    )
    return head + named + words + rest
