"""Files of a study: table (CSV), picture (SVG) and page (Markdown), whose words follow the numbers."""

from collections.abc import Sequence
from importlib.resources import files
from itertools import product
from pathlib import Path

from conrec.files import write_whole
from conrec.report.charts import Interval, panels
from conrec.report.texts import sentences
from conrec.studies.results import Row, ahead, as_csv
from conrec.studies.study import Study

INKS = (files(__package__) / "inks.css").read_text("utf-8").strip()
"""The report's colours: a picture that stands alone has no page to take them from."""


def write(study: Study, table: Sequence[Row], command: str, out: Path, columns: bool = False) -> None:
    """NAME.csv, NAME.svg and NAME.md. columns: of the simulator, `simulate.attribute_columns`."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / f"{study.name}.csv", as_csv(table))
    write_whole(out / f"{study.name}.svg", picture(study, table))
    write_whole(out / f"{study.name}.md", page(study, table, command, columns))


def picture(study: Study, table: Sequence[Row]) -> str:
    """The first metric as SVG that stands alone."""
    metric = study.metrics[0]
    shown = [row for row in table if row.metric == metric and not row.second and row.value.mean is not None]
    title = f"{study.title}: {metric}"
    about = "Means with 95 % intervals over users; the same figures are in the table."
    dots: dict[str, list[Interval]] = {}
    for row in shown:
        value, strong = row.value, row.system in study.own
        one = Interval(row.system, float(value.mean or 0.0), value.low, value.high, strong)
        dots.setdefault(row.dataset, []).append(one)
    head, rest = panels(dots, title, about, metric).split(">", 1)
    return f"{head}><style>{INKS}</style>{rest}\n"


def page(study: Study, table: Sequence[Row], command: str, columns: bool = False) -> str:
    """Heading, paragraph, picture, table (`page.md.j2`)."""
    tables, datasets = [], list(dict.fromkeys(row.dataset for row in table))
    for dataset in datasets:
        rows: dict[str, dict[str, Row]] = {}
        for row in (one for one in table if one.dataset == dataset and not one.second):
            rows.setdefault(row.system, {})[row.metric] = row
        metrics = [metric for metric in study.metrics if any(metric in own for own in rows.values())]
        tables.append((dataset, metrics, rows))
    seen = sentences("report/simulated.txt").seen(columns) if "simulator" in datasets else ""
    told = _leads(study, table), ahead(study, table), _found(study, table), seen, command
    return str(sentences("studies/page.md").page(study, tables, *told))


def _found(study: Study, table: Sequence[Row]) -> dict[str, list[tuple[str, int, list[tuple[Row, Row]]]]]:
    """Of each metric the data sets, each with its instances and the rows that are compared, with their opponents."""
    found: dict[str, list[tuple[str, int, list[tuple[Row, Row]]]]] = {metric: [] for metric in study.text_metrics}
    for metric, dataset in product(found, dict.fromkeys(row.dataset for row in table)):
        here = [row for row in table if row.dataset == dataset and row.metric == metric]
        own = {row.system: row for row in here}
        rows = [(row, own[str(row.against)]) for row in here if row.difference and row.against != study.best_other]
        if rows:
            found[metric].append((dataset, max(row.value.instances for row in own.values()), rows))
    return found


def _leads(study: Study, table: Sequence[Row]) -> list[tuple[str, list[tuple[Row | None, Row | None]]]]:
    """Of each data set the row of `study.best_other` in each metric, and that of the best other."""
    found = []
    for dataset in dict.fromkeys(row.dataset for row in table):
        rows = {(row.system, row.metric): row for row in table if row.dataset == dataset and not row.second}
        own = [rows.get((str(study.best_other), metric)) for metric in study.text_metrics]
        found.append((dataset, [(row, row and rows.get((str(row.against), row.metric))) for row in own]))
    return found
