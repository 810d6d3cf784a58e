"""The report: one page that an operator reads from top to bottom, made from a finished run folder.

The page is one file without scripts that asks nobody for anything. A part of the run that is not there costs its
section and nothing else: the section then says what is missing. All text of the log (titles, user ids, names) is
escaped by the template engine.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from conrec.config import load_recipe
from conrec.errors import ConrecError
from conrec.evaluate.results import FilterMetrics, Metrics, StageManifest, read
from conrec.files import read_json
from conrec.report.charts import DASHES, SERIES
from conrec.report.formats import count, number, percent, points, words
from conrec.report.systems import headline, table
from conrec.report.texts import templates
from conrec.report.tradeoff import filtering
from conrec.report.training import feature_weights, learning_curves, stage_gains
from conrec.report.users import some_users


def render(run: Path) -> str:
    """The page of a run folder as HTML.

    Raises ConrecError where the folder holds nothing of a run, and for a file in it that cannot be read.
    """
    metrics = read(run / "metrics.json", Metrics) if (run / "metrics.json").exists() else None
    files = [f for p in ("*/manifest.json", "*/seed*/manifest.json") for f in run.glob(p)]
    files = [f for f in files if not any(part.endswith((".partial", ".old")) for part in f.parts)]
    in_order = sorted(files, key=lambda f: (f.stat().st_mtime_ns, str(f)))  # in which they were finished
    manifests = [read(f, StageManifest) for f in in_order]
    if metrics is None and not manifests:
        raise ConrecError(
            f"{run}: nothing to report (neither metrics.json nor a finished stage); run `conrec run` first"
        )
    recipe = run / "recipe.toml"
    return _template("report.html.j2").render(
        name=(metrics and metrics.dataset) or run.resolve().name,
        metrics=metrics,
        seen=_seen(run),
        headline=metrics and headline(metrics),
        filtering=metrics and metrics.filter and filtering(metrics.filter),
        table=metrics and table(metrics),
        stages=metrics and stage_gains(metrics),
        training=learning_curves(run),
        features=feature_weights(run),
        quality=_quality(read_json(run / "compress" / "quality.json")),
        accounting=_accounting(run),
        users=some_users(run),
        manifests=manifests,
        versions=_versions(manifests),
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
        dashes=DASHES,
        series=len(SERIES),
        svg=Markup,  # our own charts are the only markup that is not escaped
    )


def trade_off(metrics: FilterMetrics) -> str:
    """The filter replay as a fragment of HTML for a notebook: the curve and the table of all filters."""
    about = {"filtering": filtering(metrics), "metrics": metrics, "dashes": DASHES, "svg": Markup}
    return _template("trade_off.html.j2").render(about)


def _template(name: str) -> jinja2.Template:
    environment = templates(autoescape=True)
    environment.filters |= {"percent": percent, "number": number, "points": points, "count": count}
    return environment.get_template(f"report/{name}")


def _seen(run: Path) -> str:
    """What systems see of a simulated platform; empty for a real log."""
    try:
        recipe = load_recipe(run / "recipe.toml")
    except ConrecError:  # none, or one of an older version: the page shows the rest
        return ""
    return recipe.simulate.seen if recipe.data.simulated else ""


def _quality(quality: dict[str, Any]) -> dict[str, Any] | None:
    """The semantic IDs: `tables`, by name rows of a level each, and `rest`, every other figure by its name."""
    if not quality:
        return None
    # `history`, the other list, is one row an epoch: nothing to read in a table.
    lists = {name: rows for name, rows in quality.items() if isinstance(rows, list) and rows and name != "history"}
    tables = {name: rows for name, rows in lists.items() if all(isinstance(row, dict) for row in rows)}
    return {"tables": tables, "rest": _figures(quality)}


def _accounting(run: Path) -> dict[str, Any] | None:
    """`tables`, by name read, kept, and dropped rows; `others`, further counts by name; `split`."""
    accounting = read_json(run / "prepare" / "accounting.json")
    parts = {"events": accounting, **{k: v for k, v in accounting.items() if isinstance(v, dict) and k != "dropped"}}
    tables = {name: part for name, part in parts.items() if "read" in part and "kept" in part}
    others = {name: part for name, part in parts.items() if name != "events" and "read" not in part}
    others["images, when encoded"] = read_json(run / "compress" / "images.json")
    counts = {name: [(words(key), value) for key, value in _flat(part)] for name, part in others.items() if part}
    split = _figures(read_json(run / "prepare" / "split.json"))
    return {"tables": tables, "others": counts, "split": split} if tables or counts or split else None


def _versions(manifests: Sequence[StageManifest]) -> dict[str, list[str]]:
    """Of each name the versions that the stages were made with, in order."""
    pairs = dict.fromkeys(pair for manifest in manifests for pair in manifest.versions.items())
    return {name: [version for one, version in pairs if one == name] for name, _ in pairs}


def _figures(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """What is no list in nested objects, by names for people."""
    return [(words(name), one) for name, one in _flat(value) if not isinstance(one, list)]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as (name, value) with names joined by a space."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for k, v in value.items() for pair in _flat(v, f"{prefix} {k}".strip())]
