"""The report: one page that an operator reads from top to bottom, made from a finished run folder.

The page is one file without scripts that asks nobody for anything. A part of the run that is not there costs its
section and nothing else: the section then says what is missing. All text of the log (titles, user ids, names) is
escaped by the template engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import jinja2
import numpy as np
from markupsafe import Markup

from conrec.errors import ConrecError
from conrec.evaluate.protocol import OURS, is_ours
from conrec.features.item_features import FeatureWeights
from conrec.report import curves
from conrec.report.charts import DASHES, SERIES, Interval, Series, intervals, lines
from conrec.report.curves import Panel
from conrec.report.users import some_users

ORACLE = "oracle"
VERDICTS = ("not significant", "worse")
"""Of a paired comparison, other than better."""
METRICS = ("FHR@20", "HR@20", "LUF@20", "LIF@20", "ZUF@20", "CandAcc", "CandAcc_filter")
BUDGETS = ("0.01", "0.02", "0.05")
CURVES_SHOWN = 7


def render(run: Path) -> str:
    """The page of a run folder as HTML.

    Raises ConrecError where the folder holds nothing of a run, and for a file in it that cannot be read.
    """
    metrics = {key: value for key, value in _json(run / "metrics.json").items() if value is not None}
    manifests = _manifests(run)
    if not metrics and not manifests:
        raise ConrecError(
            f"{run}: nothing to report (neither metrics.json nor a finished stage); run `conrec run` first"
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("conrec", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number, "points": _points, "count": _count}
    return environment.get_template("report.html.j2").render(
        name=str(metrics.get("dataset") or run.resolve().name),
        mode=metrics.get("split_mode"),
        fold=metrics.get("fold"),
        protocol=metrics.get("protocol", {}),
        headline=_headline(metrics),
        filtering=_filtering(metrics.get("filter")),
        table=_table(metrics),
        stages=_stages(metrics.get("stages")),
        training=_training(run),
        decoding=_decoding(run),
        quality=_quality(_json(run / "compress" / "quality.json")),
        accounting=_accounting(run),
        users=some_users(run),
        run=_run(run, manifests),
        dashes=DASHES,
        series=len(SERIES),
        svg=Markup,  # our own charts are the only markup that is not escaped
    )


# --- numbers that compare systems ------------------------------------------------------------------------------


def _estimate(system: Mapping[str, Any] | None, metric: str) -> dict[str, Any] | None:
    """{"mean", "low", "high"} of one metric; None where it was not measured."""
    value = (system or {}).get(metric)
    if not isinstance(value, dict) or not _is_number(value.get("mean")):
        return None
    low, high = value.get("ci95") or (None, None)
    return {"mean": value["mean"], "low": low, "high": high, "seeds": value.get("seeds") or []}


def _difference(metrics: Mapping[str, Any], other: str, metric: str) -> dict[str, Any] | None:
    """CoNRec minus another system, paired: {"mean", "low", "high", "significant"}."""
    value = metrics.get("comparisons", {}).get(other, {}).get(metric)
    return _paired(value)


def _paired(value: Any) -> dict[str, Any] | None:
    """A difference with its interval; significant where the interval does not hold 0."""
    if not isinstance(value, dict) or not _is_number(value.get("difference")):
        return None
    low, high = value.get("ci95") or (math.nan, math.nan)
    if not (_is_number(low) and _is_number(high)):
        return None
    return {"mean": value["difference"], "low": low, "high": high, "significant": not low <= 0 <= high}


def _headline(metrics: Mapping[str, Any], metric: str = "FHR@20") -> dict[str, Any] | None:
    """CoNRec, the best trivial baseline and the oracle in one metric, and all systems as a chart."""
    systems = metrics.get("systems", {})
    found = {name: e for name in systems if (e := _estimate(systems[name], metric))}
    if OURS not in found:
        return None
    trivial = {n: e for n, e in found.items() if n != ORACLE and not is_ours(n)}
    best = max(trivial, key=lambda n: trivial[n]["mean"], default=None)
    order = sorted(found, key=lambda n: -found[n]["mean"])
    rows = [Interval(_label(n), found[n]["mean"], found[n]["low"], found[n]["high"], n == OURS) for n in order]
    told = "; ".join(f"{_label(n)} {_percent(found[n]['mean'])} {_between(found[n])}" for n in order)
    return {
        "metric": metric,
        "ours": found[OURS],
        "best": best and {"name": _label(best), **found[best]},
        "difference": best and _difference(metrics, best, metric),
        "oracle": found.get(ORACLE),
        "svg": intervals(rows, f"{metric} of every system with 95 % intervals", f"From best to worst: {told}."),
    }


def _table(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """All systems by all metrics, best FHR@20 first, the oracle last."""
    systems = metrics.get("systems", {})
    if not systems:
        return None
    named = {m for system in systems.values() if isinstance(system, dict) for m in system if _estimate(system, m)}
    columns = [m for m in METRICS if m in named] + sorted(named - set(METRICS))

    def key(name: str) -> tuple[bool, float]:
        estimate = _estimate(systems[name], "FHR@20")
        return name == ORACLE, -estimate["mean"] if estimate else math.inf

    best = {
        m: max((e["mean"] for n in systems if n != ORACLE and (e := _estimate(systems[n], m))), default=None)
        for m in columns
    }
    rows = []
    for name in sorted(systems, key=key):
        cells = []
        for metric in columns:
            estimate = _estimate(systems[name], metric)
            if estimate:
                estimate["best"] = name != ORACLE and estimate["mean"] == best[metric]
                estimate["difference"] = _difference(metrics, name, metric)
            cells.append(estimate)
        rows.append({"name": _label(name), "ours": name == OURS, "cells": cells})
    counts = metrics.get("protocol", {}).get("instances", {})
    compared = any(cell and cell["difference"] for row in rows for cell in row["cells"])
    validity = metrics.get("validity")
    return {
        "columns": [(_words(m), counts.get(m)) for m in columns],
        "rows": rows,
        "compared": compared,
        "validity": validity if isinstance(validity, dict) else None,
    }


# --- the filter ------------------------------------------------------------------------------------------------


def _filtering(replay: Any) -> dict[str, Any] | None:
    """What dropping candidates avoids and costs: trade-off curves, and the figures at fixed budgets."""
    systems = (replay or {}).get("systems") if isinstance(replay, dict) else None
    if not systems:
        return None
    order = sorted(systems, key=lambda n: -(systems[n].get("auc") or 0))
    rows = [
        {
            "name": _label(name),
            "ours": name == OURS,
            "auc": systems[name].get("auc"),
            "at": [(systems[name].get("at") or {}).get(budget) for budget in BUDGETS],
        }
        for name in order
    ]
    shown = [n for n in order if not is_ours(n) and systems[n].get("curve")][: CURVES_SHOWN - 1]
    shown = ([OURS] if systems.get(OURS, {}).get("curve") else []) + shown
    chosen = _chosen(replay)
    lost = {n: systems[n]["curve"]["likes_lost"] for n in shown}
    avoided = {n: systems[n]["curve"]["dislikes_avoided"] for n in shown}
    return {
        "replay": replay,
        "chosen": chosen,
        "rival": _rival(systems),
        "unbeaten": _unbeaten(replay.get("comparisons")),
        "rows": rows,
        "budgets": BUDGETS,
        "legend": [(_label(n), k) for k, n in enumerate(shown)],
        "svgs": [_trade_off(lost, avoided, chosen, limit, replay.get("band")) for limit in (1.0, 0.1)] if shown else [],
        "suppression": replay.get("suppression"),
    }


def _chosen(replay: Mapping[str, Any]) -> dict[str, Any] | None:
    """What CoNRec's filter does at the threshold in use."""
    chosen = replay.get("chosen") or replay["systems"].get(OURS, {}).get("chosen")
    return chosen if isinstance(chosen, dict) and _is_number(chosen.get("dislikes_avoided")) else None


def _rival(systems: Mapping[str, Any], budget: str = "0.02") -> dict[str, Any] | None:
    """CoNRec beside the best other filter at one budget: whether it is worth deploying at all."""
    at: dict[str, float] = {}
    for name, system in systems.items():
        if _is_number(value := (system.get("at") or {}).get(budget)):
            at[name] = value
    # `conrec_paper` and the like are parts of our own score.
    others = [n for n in at if n != ORACLE and not is_ours(n)]
    if OURS not in at or not others:
        return None
    best = max(others, key=at.__getitem__)
    return {"budget": float(budget), "name": _label(best), "other": at[best], "ours": at[OURS]}


def _unbeaten(comparisons: Any) -> list[dict[str, Any]] | None:
    """Other filters and the budgets at which CoNRec does not avoid significantly more; None where none was compared."""
    if not isinstance(comparisons, dict) or not comparisons:
        return None
    found = []
    for name, table in comparisons.items():
        budgets = {verdict: [float(b) for b, one in table.items() if one["verdict"] == verdict] for verdict in VERDICTS}
        # `conrec_paper` and the like are parts of our own score.
        if any(budgets.values()) and not is_ours(name):
            found.append({"name": _label(name), "undecided": budgets[VERDICTS[0]], "worse": budgets[VERDICTS[1]]})
    return found


def _trade_off(
    lost: Mapping[str, Any],
    avoided: Mapping[str, Any],
    chosen: Mapping[str, Any] | None,
    up_to: float,
    band: Mapping[str, Any] | None,
) -> str:
    """Dislikes avoided against likes lost, as far as `up_to` of the likes; a dot on the threshold in use.

    band: CoNRec's 95 % interval over users where it is known (the first tenth of the likes).
    """
    series = []
    for name in lost:
        points = sorted((x, y) for x, y in zip(lost[name], avoided[name]) if x <= up_to)
        if name == OURS and band and up_to <= max(band["likes_lost"]):
            columns = (np.asarray(band[key]) for key in ("likes_lost", "dislikes_avoided", "low", "high"))
            series.append(Series(_label(name), *columns))
            continue
        xs, ys = zip(*points) if points else ((), ())
        series.append(Series(_label(name), _thinned(xs), _thinned(ys)))
    part = "the whole range" if up_to == 1 else f"the first {up_to:.0%} of likes lost"
    title = f"Dislikes avoided against likes lost, {part}"
    text = "One line a system; higher is better. The same figures stand in the table below."
    marks = []
    if chosen and OURS in lost and _is_number(chosen.get("likes_lost")) and chosen["likes_lost"] <= up_to:
        marks = [(_label(OURS), chosen["likes_lost"], chosen["dislikes_avoided"])]
    percent = "~%"
    return lines(series, title, text, "likes lost", y_format=percent, x_format=percent, from_zero=True, marks=marks)


def _thinned(values: Sequence[float], most: int = 120) -> np.ndarray:
    """At most `most` of a curve's points, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return np.asarray(values, dtype=float)[places]


# --- training --------------------------------------------------------------------------------------------------


def _training(run: Path) -> list[dict[str, Any]]:
    """Groups of panels: understanding, warm-up, reinforcement learning."""

    def of(pattern: str) -> curves.Curves:
        return curves.read_curves(sorted(run.glob(pattern + "/curves.parquet")))

    names = sorted({folder.name for folder in run.glob("utilize/seed*/stage*")}, key=curves.training_order)
    stages = {_stage_label(name): of(f"utilize/seed*/{name}") for name in names}
    groups: list[tuple[str, list[Panel]]] = [
        ("Reinforcement learning, stage by stage", curves.panels(stages, curves.GRPO)),
        ("Warm-up", curves.panels({"warm-up": of("utilize/seed*/warmup")}, curves.WARMUP)),
        (
            "Understanding the IDs",
            curves.panels({"understanding": of("understand/seed*")}, curves.UNDERSTAND),
        ),
    ]
    return [{"title": title, "panels": panels} for title, panels in groups if panels]


def _stages(stages: Any) -> dict[str, Any] | None:
    """What was measured after each training stage, with the paired differences to the warm-up.

    On validation (the choices are made there, so it is the figure to watch) and, where it was measured, on test.
    """
    if not isinstance(stages, dict):
        return None
    parts = {"validation": stages, "test": stages.get("test") or {}}
    names = [name for name in stages if name != "test"]  # in the order of training
    columns = [
        {"split": split, "metric": metric}
        for split, part in parts.items()
        for metric in ("FHR@20", "reward", "HR@20")
        if any(_estimate(part.get(n), metric) for n in names)
    ]
    if not columns:
        return None
    svgs = []
    for column in [c for c in columns if c["metric"] != "HR@20"]:
        part, metric, split = parts[column["split"]], column["metric"], column["split"]
        found = [(_stage_label(n), e) for n in names if (e := _estimate(part.get(n), metric))]
        rows = [Interval(label, e["mean"], e["low"], e["high"], label != "warm-up") for label, e in found]
        told = "; ".join(f"{label} {_number(e['mean'])} {_between(e, _number)}" for label, e in found)
        form = "~%" if metric == "FHR@20" else "~g"
        svgs.append((column, intervals(rows, f"{metric} on {split} after each stage", f"{told}.", form)))
    table = [
        {"name": _stage_label(name), "cells": [_stage_cell(parts[c["split"]].get(name), c["metric"]) for c in columns]}
        for name in names
    ]
    return {"columns": columns, "rows": table, "svgs": svgs}


def _stage_label(name: str) -> str:
    """ "stage 2" for the folder `stage2`."""
    return "warm-up" if name == "warmup" else name.replace("stage", "stage ", 1)


def _stage_cell(stage: Any, metric: str) -> dict[str, Any]:
    """One figure after one stage and its difference to the warm-up, either None where it was not measured."""
    stage = stage or {}
    return {"estimate": _estimate(stage, metric), "difference": _paired((stage.get("difference") or {}).get(metric))}


def _decoding(run: Path) -> dict[str, Any] | None:
    """What decoding leans on (`decode.item_features`), seed by seed, and what that gives on validation."""
    item_features = [name for name in FeatureWeights._fields if name != "temperature"]
    rows: list[tuple[Any, ...]] = []
    shown: list[tuple[str, float]] = []
    for file in sorted(run.glob("predict/seed*/tuning.json")):
        table, seed = _json(file), file.parent.name.removeprefix("seed")
        setting = [table.get(name) for name in FeatureWeights._fields]
        tried, weights = table.get("validation_FHR"), table.get("candidates")
        if all(_is_number(value) for value in setting) and isinstance(tried, dict):
            chosen = FeatureWeights._make(setting)
            alone, found = (tried.get(str(one)) for one in (FeatureWeights(), chosen))
            exponents = [1 / chosen.temperature, *(getattr(chosen, name) for name in item_features)]
            rows.append((seed, "lists", exponents, alone, found))
        if isinstance(weights, dict):
            fitted = [weights.get(name, 0.0) for name in ("policy", *item_features)]
            rows.append((seed, "candidates", fitted, None, table.get("validation_CandAcc")))
        # All seeds learn it from one log. Less than 0.0005 is 0 with the three digits that are shown.
        if isinstance(learned := table.get("exposures"), dict):
            counting = [(trace, weight) for trace, weight in learned.items() if _is_number(weight) and weight >= 0.0005]
            shown = sorted(counting, key=lambda pair: -pair[1])
    return {"names": ("policy", *item_features), "rows": rows, "exposures": shown} if rows else None


# --- data, IDs, the run ----------------------------------------------------------------------------------------


def _quality(quality: Mapping[str, Any]) -> dict[str, Any] | None:
    """The semantic IDs: tables with one row a level, and every other figure by its name."""
    if not quality:
        return None
    tables = []
    for name, levels in quality.items():
        # `history`, the other list, is one row an epoch: nothing to read in a table.
        is_table = isinstance(levels, list) and levels and all(isinstance(level, dict) for level in levels)
        if is_table and name != "history":
            columns = list(dict.fromkeys(c for level in levels for c in level))
            rows = [[level.get(c) for c in columns] for level in levels]
            tables.append({"name": _words(name), "columns": [_words(c) for c in columns], "rows": rows})
    rest = [(_words(name), value) for name, value in _flat(quality) if not isinstance(value, list)]
    return {"tables": tables, "rest": rest}


def _accounting(run: Path) -> dict[str, Any] | None:
    """Read, kept and dropped rows of every table; the split; the pictures."""
    accounting = _json(run / "prepare" / "accounting.json")
    parts = {"events": accounting, **{k: v for k, v in accounting.items() if isinstance(v, dict) and k != "dropped"}}
    tables = []
    for name, part in parts.items():
        if "read" in part and "kept" in part:
            dropped = {str(k): v for k, v in (part.get("dropped") or {}).items()}
            balanced = part["read"] == part["kept"] + sum(dropped.values())
            tables.append(
                {"name": name, "read": part["read"], "kept": part["kept"], "dropped": dropped, "ok": balanced}
            )
    counts = [(name, part) for name, part in parts.items() if name != "events" and "read" not in part]
    pictures = _json(run / "compress" / "images.json")
    if pictures:
        counts.append(("images, when encoded", pictures))
    others = [(_words(name), [(_words(k), v) for k, v in _flat(part)]) for name, part in counts]
    split = [(_words(k), v) for k, v in _flat(_json(run / "prepare" / "split.json")) if not isinstance(v, list)]
    if not tables and not others and not split:
        return None
    return {"tables": tables, "others": others, "split": split}


def _run(run: Path, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Recipe, versions, and what every stage took."""
    stages = [
        {
            "name": m.get("stage", "?"),
            "seed": m.get("seed"),
            "seconds": m.get("seconds"),
            "memory": m.get("peak_memory_mb"),
        }
        for m in manifests
    ]
    versions: dict[str, list[str]] = {}
    for manifest in manifests:
        for name, version in (manifest.get("versions") or {}).items():
            versions.setdefault(name, [])
            if version not in versions[name]:
                versions[name].append(version)
    recipe = run / "recipe.toml"
    return {
        "stages": stages,
        "seconds": sum(s["seconds"] or 0 for s in stages),
        "versions": versions,
        "recipe": recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
    }


def _manifests(run: Path) -> list[dict[str, Any]]:
    """The manifests of all finished stages, in the order they were finished."""
    files = [f for p in ("*/manifest.json", "*/seed*/manifest.json") for f in run.glob(p)]
    files = [f for f in files if not any(part.endswith((".partial", ".old")) for part in f.parts)]
    return [_json(f) for f in sorted(files, key=lambda f: (f.stat().st_mtime_ns, str(f)))]


# --- reading and formats ---------------------------------------------------------------------------------------


def _json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is not there."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConrecError(f"{file}: not readable as JSON ({error}); run its stage again with --force") from None
    if not isinstance(value, dict):
        raise ConrecError(f"{file}: holds no JSON object; run its stage again with --force")
    return value


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as (name, value) with names joined by a space."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for k, v in value.items() for pair in _flat(v, f"{prefix} {k}".strip())]


def _label(name: str) -> str:
    return "CoNRec" if name == OURS else _words(name)


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _percent(value: Any, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}\u202f%" if _is_number(value) else "–"


def _points(value: Any) -> str:
    """A difference of shares, in percentage points with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−") if _is_number(value) else "–"


def _number(value: Any) -> str:
    """Counts as counts, shares with three digits, larger measures with one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return _count(value)
    return f"{value:.{3 if abs(value) < 10 else 1}f}".replace("-", "−")


def _count(value: Any) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if _is_number(value) else "–"


def _between(estimate: Mapping[str, Any], form: Any = _percent) -> str:
    """(low to high), or nothing without an interval."""
    return "" if estimate["low"] is None else f"({form(estimate['low'])} to {form(estimate['high'])})"
