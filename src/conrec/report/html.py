"""The report: one page that an operator reads from top to bottom, made from a finished run folder.

The page is one file without scripts that asks nobody for anything. A part of the run that is not there costs its
section and nothing else: the section then says what is missing. All text of the log (titles, user ids, names) is
escaped by the template engine.
"""

from pathlib import Path

import jinja2
from markupsafe import Markup

from conrec.config import load_recipe
from conrec.errors import ConrecError
from conrec.evaluate.results import FilterMetrics, Metrics, StageManifest, read
from conrec.files import read_json
from conrec.report.charts import DASHES, SERIES
from conrec.report.formats import count, number, percent, points
from conrec.report.systems import headline, table
from conrec.report.texts import sentences, templates
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
        quality=read_json(run / "compress" / "quality.json"),
        accounting=read_json(run / "prepare" / "accounting.json"),
        images=read_json(run / "compress" / "images.json"),
        split=read_json(run / "prepare" / "split.json"),
        users=some_users(run),
        manifests=manifests,
        versions=list(dict.fromkeys(pair for manifest in manifests for pair in manifest.versions.items())),
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
    seen = sentences("report/simulated.txt").seen
    return str(seen(recipe.simulate.attribute_columns)) if recipe.data.simulated else ""
