"""Charts of the report: Vega-Lite specifications drawn once to static SVG.

SVG instead of the Vega scripts keeps the page below a megabyte, works with scripts off and prints well: a chart is
5 to 15 kB, the scripts alone 0.8 MB. The specifications are plain Vega-Lite; a wrapper that checks each of their
parts took four times as long as the drawing. Every chart has a title and a description for screen readers, colours
that follow the page's light or dark style (CSS variables), and a natural size that fits a phone.
"""

import html
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from conrec.report.texts import sentences

SERIES = tuple(f"var(--series-{n})" for n in range(8))
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [10, 4], [1, 3], [6, 2, 2, 2])
PANEL = 190
"""Width of one chart of several side by side, in pixels."""
WIDEST = 6.5
"""Mean width of a letter in pixels, in a font wider than the one that a chart is laid out in."""
STYLE = json.loads((files(__package__) / "vega.json").read_text("utf-8"))
"""Vega-Lite's configuration: the page's font and colours, and room for labels that a device's own font makes wider."""


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
    """Whether it is drawn in the first colour instead of the neutral one."""


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
    numbers = [(colours or {}).get(n, k) % len(SERIES) for k, n in enumerate(names)]
    points = [p for s in series for p in _points(s)]
    # A line of one point is invisible, so short series show their points too.
    short = {s.name for s in series if len(s.x) <= 12}
    emphasised = [{"series": n, "x": float(a), "y": float(b)} for n, a, b in marks]
    chart = sentences("report/charts.json").lines(
        points=points,
        bands=[p for p in points if p["high"] > p["low"]],
        dots=emphasised or [p for p in points if p["series"] in short],
        dot=70 if emphasised else 28,
        labels=[{"label": name, "x": float(at)} for name, at in (rules or {}).items()],
        names=names,
        colours=[SERIES[n] for n in numbers],
        dashes=[DASHES[n] for n in numbers],
        x_title=x_title,
        x_format=x_format,
        y_format=y_format,
        from_zero=from_zero,
    )
    return _svg(json.loads(chart), title, description)


def intervals(rows: Sequence[Interval], title: str, description: str, x_format: str = ".0%") -> str:
    """Estimates with their intervals, one under the other, as SVG that fits a phone; longer names are cut."""
    return _svg(_dots(rows, [row.name for row in rows], 130, x_format, 210), title, description)


def panels(groups: Mapping[str, Sequence[Interval]], title: str, description: str, x_title: str = "") -> str:
    """`intervals` of several groups side by side, each under its name and on a scale of its own, with the digits that
    this needs; what has the same name stands in the same line."""
    names = list(dict.fromkeys(row.name for rows in groups.values() for row in rows))
    parts: list[dict[str, Any]] = []
    for name, rows in groups.items():
        head = {"title": {"text": name, "fontSize": 12, "color": "var(--ink)"}}
        parts.append(_dots(rows, names, None if parts else 320, "", PANEL, x_title) | head)
    return _svg({"hconcat": parts, "spacing": 24}, title, description)


def _dots(
    rows: Sequence[Interval], names: Sequence[str], most: int | None, x_format: str, width: int, x_title: str = ""
) -> dict[str, Any]:
    """A dot plot with a line for each of `names`, which stand beside it, cut at so many pixels (None: they do not)."""
    room = most and min(most, round(WIDEST * max(map(len, names), default=0)))
    values = [
        asdict(r) | {"low": r.mean if r.low is None else r.low, "high": r.mean if r.high is None else r.high}
        for r in rows
    ]
    chart = sentences("report/charts.json").dots(values, names, most, room, x_format, width, x_title)
    return dict(json.loads(chart))


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
    columns = {"x": series.x, "y": series.y, "low": low, "high": high}
    return [
        {"series": series.name, "piece": int(piece[n])} | {name: float(column[n]) for name, column in columns.items()}
        for n in np.flatnonzero(finite)
    ]


def _svg(chart: dict[str, Any], title: str, description: str) -> str:
    """The chart as an accessible SVG element that follows the page's colours."""
    import vl_convert  # an extra of 85 MB, and only who looks at a chart needs it

    padding = {"left": 12, "right": 8, "top": 5, "bottom": 5}  # a device's own font may be wider than ours
    svg = vl_convert.vegalite_to_svg(chart | {"config": STYLE, "background": "transparent", "padding": padding})
    number = f"{zlib.crc32((title + description).encode()):08x}"  # ids must differ within the page
    head, rest = svg.split(">", 1)
    named = f' role="img" aria-labelledby="chart-{number}-title" aria-describedby="chart-{number}-text">'
    words = (
        f'<title id="chart-{number}-title">{html.escape(title)}</title>'
        f'<desc id="chart-{number}-text">{html.escape(description)}</desc>'
    )
    return head + named + words + rest
