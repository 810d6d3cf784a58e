"""Files of a study: table (CSV), picture (SVG) and page (Markdown), whose words follow the numbers."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from conrec.config import SimulateConfig
from conrec.files import write_whole
from conrec.report.charts import Interval, panels
from conrec.studies.results import Row, ahead, as_csv
from conrec.studies.study import Study

MARGINS = "CoNRec's lead over the best other system, named in brackets; bold: significant."
MARKS = "In brackets 95 % intervals; + and - mark a significant difference to what a row is compared with."
INKS = (files(__package__) / "inks.css").read_text("utf-8").strip()
"""The report's colours: a picture that stands alone has no page to take them from."""


def write(study: Study, table: Sequence[Row], command: str, out: Path) -> None:
    """NAME.csv, NAME.svg and NAME.md."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / f"{study.name}.csv", as_csv(table))
    write_whole(out / f"{study.name}.svg", picture(study, table))
    write_whole(out / f"{study.name}.md", page(study, table, command))


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
    return _standalone(panels(dots, title, about, metric))


def page(study: Study, table: Sequence[Row], command: str) -> str:
    """Heading, paragraph, picture, table."""
    parts = [f"# {study.title}", study.measures]
    if study.best_other:
        parts += [margins(study, table), MARGINS]
    if study.parts:
        parts.append(invariant(study, table))
    parts.append(paragraph(study, table))
    if study.notes:
        parts.append(study.notes)
    parts += [f"![{study.title}]({study.name}.svg)", *_tables(study, table)]
    if any(row.dataset == "simulator" for row in table):
        parts.append(SimulateConfig().seen)
    parts.append(MARKS)
    parts.append(f"Made by `{command}`; every figure with its interval is in [{study.name}.csv]({study.name}.csv).")
    return "\n\n".join(parts) + "\n"


def paragraph(study: Study, table: Sequence[Row]) -> str:
    """Text: what the paper reports, what we find, whether the direction holds, whether it is significant."""
    lines = []
    for metric in study.text_metrics:
        reported = ", ".join(f"{name} {_short(own[metric])}" for name, own in study.paper.items() if metric in own)
        if reported:
            lines.append(f"**{metric}**: the paper reports {reported} ({study.source}).\n")
        else:
            lines.append(f"**{metric}**: the paper reports nothing here.\n")
        for dataset in dict.fromkeys(row.dataset for row in table):
            here = [row for row in table if row.dataset == dataset and row.metric == metric]
            own = {row.system: row for row in here}
            told = [_finding(study, own, row) for row in here if row.difference and row.against != study.best_other]
            if told:
                count = max(row.value.instances for row in own.values())
                lines.append(f"- On {dataset} ({count:,} instances): " + "; ".join(told) + ".")
        lines.append("")
    return "\n".join(lines).rstrip()


def margins(study: Study, table: Sequence[Row]) -> str:
    """Table of the lead of `study.best_other` over the best of all others: a row a data set, the paper's first."""
    metrics = study.text_metrics
    best = str(study.best_other)
    reported = [_papers_difference(study, best, metric, None)[1] for metric in metrics]
    lines = {"the paper": [f"{lead:+.1%}" if lead else "" for lead in reported]}
    for dataset in dict.fromkeys(row.dataset for row in table):
        here = [row for row in table if row.dataset == dataset and not row.second]
        figures = {(row.system, row.metric): row for row in here}
        lines[dataset] = [_margin(figures, figures.get((best, metric))) for metric in metrics]
    return _markdown("", metrics, lines)


def invariant(study: Study, table: Sequence[Row]) -> str:
    """Text: which systems are significantly ahead of `study.best_other`; none should be, its own parts least."""
    found = ahead(study, table)
    if not found:
        return f"No system and no part of {study.best_other} is significantly ahead of it in any metric, on any log."
    told = [f"{row.system} in {row.metric} on {row.dataset} ({_signed(row.difference.mean)})" for row in found]  # type: ignore[union-attr, arg-type]
    return f"Significantly ahead of {study.best_other}: {'; '.join(told)}."


def _margin(figures: dict[tuple[str, str], Row], row: Row | None) -> str:
    """`**+29.7%** (ease+positives)`, bold where it is significant."""
    if row is None or row.difference is None or row.difference.mean is None:
        return ""
    text = _lead(row.difference.mean, figures[str(row.against), row.metric]) or _signed(row.difference.mean)
    return (f"**{text}**" if row.difference.significant else text) + f" ({row.against})"


def _lead(difference: float, other: Row) -> str:
    """A difference as a share of the other's figure; empty where that is 0."""
    return f"{difference / other.value.mean:+.1%}" if other.value.mean else ""


def _finding(study: Study, own: dict[str, Row], row: Row) -> str:
    """One comparison in words: `+ alignment 0.215 against baseline 0.189, +0.026 (0.014 to 0.036): ...`."""
    other, difference = own[str(row.against)], row.difference
    if difference is None or difference.mean is None or difference.low is None or difference.high is None:
        return f"{row.system} against {row.against}: no instance counts for both"
    text = f"{row.system} {_short(row.value.mean)} against {row.against} {_short(other.value.mean)}, "
    text += f"{_signed(difference.mean)} ({_signed(difference.low)} to {_signed(difference.high)})"
    if row.forgotten is not None:
        text += f", {row.forgotten:.1%} of what was learned before is forgotten"
    significant = "significant" if difference.significant else "not significant"
    wanted, lead = _papers_difference(study, row.system, row.metric, row.against)
    share = _lead(difference.mean, other)
    if row.system == study.best_other and share:
        text += f", {share}" + (f" where the paper has {lead:+.1%}" if lead and not row.second else "")
    if not wanted or row.second:
        return f"{text}: {significant}"
    if not difference.mean:
        return f"{text}: no difference"
    holds = "the paper's direction holds" if wanted * difference.mean > 0 else "the paper's direction does not hold"
    return f"{text}: {holds}, {significant}"


def _papers_difference(
    study: Study, system: str, metric: str, against: str | None
) -> tuple[float | None, float | None]:
    """Difference in the paper, and as a share; from its own best other where there is no fixed one."""
    mine = study.paper.get(system, {}).get(metric)
    if system == study.best_other:
        others = [own[metric] for name, own in study.paper.items() if name != system and metric in own]
        theirs = max(others, default=None)
    else:
        theirs = study.paper.get(str(against), {}).get(metric)
    return (None, None) if mine is None or theirs is None else (mine - theirs, mine / theirs - 1)


def _tables(study: Study, table: Sequence[Row]) -> list[str]:
    found = []
    for dataset in dict.fromkeys(row.dataset for row in table):
        here = {(row.system, row.metric): row for row in table if row.dataset == dataset and not row.second}
        metrics = [metric for metric in study.metrics if any(m == metric for _, m in here)]
        systems = dict.fromkeys(system for system, _ in here)
        lines = {system: [_cell(here.get((system, metric))) for metric in metrics] for system in systems}
        found.append(_markdown(dataset, metrics, lines))
    return found


def _markdown(corner: str, columns: Sequence[str], lines: Mapping[str, Sequence[str]]) -> str:
    """A table; `lines`: of each row its name and its cells."""

    def line(name: str, cells: Sequence[str]) -> str:
        return "|" + "|".join(f" {cell} " if cell else " " for cell in (name, *cells)) + "|"

    rule = "|---" * (1 + len(columns)) + "|"
    return "\n".join([line(corner, columns), rule, *(line(name, cells) for name, cells in lines.items())])


def _cell(row: Row | None) -> str:
    """`0.215 (0.204-0.226)`, with a mark where it differs significantly from what it is compared with."""
    if row is None or row.value.mean is None:
        return ""
    text = _short(row.value.mean)
    if row.value.low is not None and row.value.high is not None:
        text += f" ({_short(row.value.low)}-{_short(row.value.high)})"
    if row.difference is not None and row.difference.significant:
        text += " +" if (row.difference.mean or 0) > 0 else " -"
    return text


def _standalone(svg: str) -> str:
    """SVG with the colours inside, and a ground of its own."""
    head, rest = svg.split(">", 1)
    return f"{head}><style>{INKS}</style>{rest}\n"


def _short(value: float | None) -> str:
    """`0.0330`, `0.215`."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + _short(abs(value))
