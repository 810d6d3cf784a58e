"""All systems side by side: the report's headline and its table."""

import math
from typing import Any

from conrec.evaluate.protocol import OURS, is_ours
from conrec.evaluate.results import Difference, Differences, Figure, Figures, SplitMetrics, ahead
from conrec.report.charts import Interval, intervals
from conrec.report.formats import between, label, percent, words

ORACLE = "oracle"
JUDGED = ("FHR", "HR", "LUF", "LIF", "ZUF", "CandAcc")  # the protocol's metrics, whatever k


def measured(figures: Figures, metric: str) -> Figure | None:
    """The figure of a metric; None where it was not measured, or nothing counted."""
    figure = figures.get(metric)
    return None if figure is None or figure.mean is None else figure


def first_metric(systems: dict[str, Figures]) -> str:
    """The headline's metric, with the length of this run's lists."""
    return next((name for one in systems.values() for name in one if name.startswith("FHR@")), "FHR@20")


def paired(differences: Differences, metric: str) -> Difference | None:
    """The difference in a metric; None where it was not measured, or nothing counted."""
    found = differences.get(metric)
    return None if found is None or found.difference is None else found


def headline(metrics: SplitMetrics) -> dict[str, Any] | None:
    """The report's first figures, and a chart of all systems in one metric; None where CoNRec was not measured.

    `ours`, `oracle`: their figures, None without an oracle; `best`: the best trivial baseline, with CoNRec's paired
    `difference`; None without any.
    """
    metric = first_metric(metrics.systems)
    found = {name: one for name, figures in metrics.systems.items() if (one := measured(figures, metric))}
    if OURS not in found:
        return None
    order = sorted(found, key=lambda name: -(found[name].mean or 0))
    rows = [Interval(label(name), found[name].mean or 0, *found[name].ci95, name == OURS) for name in order]
    told = "; ".join(f"{label(name)} {percent(found[name].mean)} {between(found[name].ci95)}" for name in order)
    best = next((name for name in order if name != ORACLE and not is_ours(name)), "")
    difference = paired(metrics.comparisons.get(best, {}), metric)
    return {
        "metric": metric,
        "ours": found[OURS],
        "best": {"name": label(best), "figure": found[best], "difference": difference} if best else None,
        "oracle": found.get(ORACLE),
        "svg": intervals(rows, f"{metric} of every system with 95 % intervals", f"From best to worst: {told}."),
    }


def table(metrics: SplitMetrics) -> dict[str, Any] | None:
    """All systems by all metrics: the best in the headline's metric first, the oracle last; None where there are none.

    Each cell has its `figure`, whether it is the `best` (the oracle aside), and CoNRec's paired `difference` to it.
    `ahead`: system and metric wherever one is significantly ahead of CoNRec.
    """
    systems = metrics.systems
    if not systems:
        return None
    found = {
        name: {metric: one for metric in figures if (one := measured(figures, metric))}
        for name, figures in systems.items()
    }
    first, named = first_metric(systems), dict.fromkeys(metric for figures in found.values() for metric in figures)
    columns = sorted(named, key=lambda metric: metric != first)  # the others as they were measured

    def place(name: str) -> tuple[bool, float]:
        figure = found[name].get(first)
        return name == ORACLE, math.inf if figure is None or figure.mean is None else -figure.mean

    others = [figures for name, figures in found.items() if name != ORACLE]
    means = {metric: [figures[metric].mean or 0 for figures in others if metric in figures] for metric in columns}

    def cell(name: str, metric: str) -> dict[str, Any] | None:
        figure = found[name].get(metric)
        best = figure is not None and name != ORACLE and figure.mean == max(means[metric])
        difference = paired(metrics.comparisons.get(name, {}), metric)
        return {"figure": figure, "best": best, "difference": difference} if figure else None

    rows: list[dict[str, Any]] = [
        {"name": label(name), "ours": name == OURS, "cells": [cell(name, metric) for metric in columns]}
        for name in sorted(systems, key=place)
    ]
    return {
        "columns": [(words(metric), metrics.instances.get(metric)) for metric in columns],
        "rows": rows,
        "compared": any(cell and cell["difference"] for row in rows for cell in row["cells"]),
        "ahead": [(label(n), words(m)) for n, m in ahead(metrics.comparisons) if m.partition("@")[0] in JUDGED],
    }
