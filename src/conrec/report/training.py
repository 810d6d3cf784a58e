"""Training in the report: learning curves, the gain of each stage, and the weights of the item features."""

from pathlib import Path
from typing import Any

from conrec.evaluate.results import Metrics, StageFigures, read
from conrec.features.item_features import FeatureWeights
from conrec.report import curves
from conrec.report.charts import Interval, intervals
from conrec.report.formats import between, number, stage_label
from conrec.report.systems import measured, paired

LEAST_SHOWN = 0.0005
"""Smaller weights are 0 with the three digits that are shown."""


def learning_curves(run: Path) -> list[dict[str, Any]]:
    """Groups of panels (`title`, `panels`): reinforcement learning, warm-up, understanding."""

    def pooled(pattern: str) -> curves.Curves:
        return curves.read_curves(sorted(run.glob(pattern + "/curves.parquet")))

    names = sorted({folder.name for folder in run.glob("utilize/seed*/stage*")}, key=curves.training_order)
    stages = {stage_label(name): pooled(f"utilize/seed*/{name}") for name in names}
    groups = [
        ("Reinforcement learning, stage by stage", curves.panels(stages, curves.GRPO)),
        ("Warm-up", curves.panels({"warm-up": pooled("utilize/seed*/warmup")}, curves.WARMUP)),
        ("Understanding the IDs", curves.panels({"understanding": pooled("understand/seed*")}, curves.UNDERSTAND)),
    ]
    return [{"title": title, "panels": panels} for title, panels in groups if panels]


def stage_gains(metrics: Metrics) -> dict[str, Any] | None:
    """Figures after each training stage, with the paired differences to the warm-up, as a table and charts.

    On validation, where the choices are made, and on test. None where no stage was measured.
    """
    parts = {"validation": metrics.validation.stages, "test": metrics.stages}
    names = list(dict.fromkeys(name for stages in parts.values() for name in stages))  # in the order of training
    columns = [
        {"split": split, "metric": metric}
        for split, stages in parts.items()
        for metric in ("FHR@20", "reward", "HR@20")
        if any(measured(stage.figures, metric) for stage in stages.values())
    ]
    if not columns:
        return None
    svgs = []
    for column in [column for column in columns if column["metric"] != "HR@20"]:
        stages, metric = parts[column["split"]], column["metric"]
        found = [(stage_label(name), one) for name in stages if (one := measured(stages[name].figures, metric))]
        means = [Interval(name, one.mean or 0, *one.ci95, name != "warm-up") for name, one in found]
        told = "; ".join(f"{name} {number(one.mean)} {between(one.ci95, number)}" for name, one in found)
        form = "~%" if metric == "FHR@20" else "~g"
        svgs.append((column, intervals(means, f"{metric} on {column['split']} after each stage", f"{told}.", form)))

    def cell(name: str, split: str, metric: str) -> dict[str, Any]:
        stage = parts[split].get(name, StageFigures({}, {}))
        difference = paired(stage.differences.get("warmup", {}), metric)
        return {"figure": measured(stage.figures, metric), "difference": difference}

    rows = [{"name": stage_label(name), "cells": [cell(name, **column) for column in columns]} for name in names]
    return {"columns": columns, "rows": rows, "svgs": svgs}


def feature_weights(run: Path) -> dict[str, Any] | None:
    """Item features and their weights, seed by seed, with what they give on validation.

    From `predict/seedN/tuning.json`. A row: seed, what for, weights, the metric of the best feature alone, and of all.
    `exposures`: weights of the exposure likelihood. None where no seed has the file.
    """
    features = [name for name in FeatureWeights._fields if name != "temperature"]
    rows: list[tuple[Any, ...]] = []
    exposures: list[tuple[str, float]] = []
    for file in sorted(run.glob("predict/seed*/tuning.json")):
        table, seed = read(file, dict[str, Any]), file.parent.name.removeprefix("seed")
        learned, fitted = table.get("backtest_FHR", {}), table.get("candidates")
        if learned.get("cases"):
            weights = [1 / float(table["temperature"]), *(table.get(name, 0.0) for name in features)]
            rows.append((seed, "lists", weights, max(learned["alone"].values()), learned["together"]))
        if fitted:
            weights = [fitted.get(name, 0.0) for name in ("policy", *features)]
            rows.append((seed, "candidates", weights, None, table.get("validation_CandAcc")))
        # All seeds learn these from one log.
        if learned := table.get("exposures"):
            counting = [(kind, weight) for kind, weight in learned.items() if weight >= LEAST_SHOWN]
            exposures = sorted(counting, key=lambda pair: -pair[1])
    return {"names": ("policy", *features), "rows": rows, "exposures": exposures} if rows else None
