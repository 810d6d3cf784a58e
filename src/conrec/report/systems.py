"""All systems side by side: the report's headline and its table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from conrec.evaluate.protocol import OURS, is_ours
from conrec.evaluate.results import Difference, Differences, Figure, Figures, SplitMetrics, Validity, ahead
from conrec.report.charts import Interval, intervals
from conrec.report.formats import between, label, percent, words

ORACLE = "oracle"
HEADLINE = "FHR@20"
METRICS = (HEADLINE, "HR@20", "LUF@20", "LIF@20", "ZUF@20", "CandAcc", "CandAcc_filter")
"""Columns of the table that come first."""


@dataclass(frozen=True)
class Best:
    """The best trivial baseline in the headline's metric."""

    name: str
    figure: Figure
    difference: Difference | None
    """CoNRec minus it, paired."""


@dataclass(frozen=True)
class Headline:
    """CoNRec, the best trivial baseline, and the oracle in one metric, and a chart of all systems."""

    metric: str
    ours: Figure
    best: Best | None
    oracle: Figure | None
    svg: str


@dataclass(frozen=True)
class Cell:
    """One metric of one system."""

    figure: Figure
    best: bool
    """Whether no other system but the oracle has a higher mean."""
    difference: Difference | None
    """CoNRec minus it, paired."""


@dataclass(frozen=True)
class Table:
    """All systems by all metrics: the best in the headline's metric first, the oracle last."""

    columns: list[tuple[str, int | None]]
    """Metric, and how many instances count."""
    rows: list[dict[str, Any]]
    """`name`, `ours`, and `cells`: a `Cell` or None for each column."""
    compared: bool
    """Whether there is any paired difference."""
    validity: Validity | None
    ahead: list[tuple[str, str]]
    """System and metric wherever one is significantly ahead of CoNRec."""


def measured(figures: Figures, metric: str) -> Figure | None:
    """The figure of a metric; None where it was not measured, or nothing counted."""
    figure = figures.get(metric)
    return None if figure is None or figure.mean is None else figure


def paired(differences: Differences, metric: str) -> Difference | None:
    """The difference in a metric; None where it was not measured, or nothing counted."""
    found = differences.get(metric)
    return None if found is None or found.difference is None else found


def headline(metrics: SplitMetrics) -> Headline | None:
    """The report's first figures; None where CoNRec was not measured."""
    found = {name: one for name, figures in metrics.systems.items() if (one := measured(figures, HEADLINE))}
    if OURS not in found:
        return None
    order = sorted(found, key=lambda name: -(found[name].mean or 0))
    rows = [Interval(label(name), found[name].mean or 0, *found[name].ci95, name == OURS) for name in order]
    told = "; ".join(f"{label(name)} {percent(found[name].mean)} {between(found[name].ci95)}" for name in order)
    trivial = [name for name in order if name != ORACLE and not is_ours(name)]
    best = None
    if trivial:
        name = trivial[0]
        best = Best(label(name), found[name], paired(metrics.comparisons.get(name, {}), HEADLINE))
    title = f"{HEADLINE} of every system with 95 % intervals"
    svg = intervals(rows, title, f"From best to worst: {told}.")
    return Headline(HEADLINE, found[OURS], best, found.get(ORACLE), svg)


def table(metrics: SplitMetrics) -> Table | None:
    """Every metric of every system; None where none was measured."""
    systems = metrics.systems
    if not systems:
        return None
    found = {
        name: {metric: one for metric in figures if (one := measured(figures, metric))}
        for name, figures in systems.items()
    }
    named = {metric for figures in found.values() for metric in figures}
    columns = [metric for metric in METRICS if metric in named] + sorted(named - set(METRICS))

    def place(name: str) -> tuple[bool, float]:
        figure = found[name].get(HEADLINE)
        return name == ORACLE, math.inf if figure is None or figure.mean is None else -figure.mean

    others = [figures for name, figures in found.items() if name != ORACLE]
    means = {metric: [figures[metric].mean or 0 for figures in others if metric in figures] for metric in columns}
    rows: list[dict[str, Any]] = []
    for name in sorted(systems, key=place):
        differences = metrics.comparisons.get(name, {})
        cells = [
            Cell(one, name != ORACLE and one.mean == max(means[metric]), paired(differences, metric))
            if (one := found[name].get(metric))
            else None
            for metric in columns
        ]
        rows.append({"name": label(name), "ours": name == OURS, "cells": cells})
    compared = any(cell and cell.difference for row in rows for cell in row["cells"])
    counts = [(words(metric), metrics.instances.get(metric)) for metric in columns]
    better = [(label(name), words(metric)) for name, metric in ahead(metrics.comparisons) if metric in METRICS[:-1]]
    return Table(counts, rows, compared, metrics.validity, better)
