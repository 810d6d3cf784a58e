"""What the benches found, as a table on the terminal and as a section of benchmarks/RESULTS.md.

`python -m benchmarks all --json | python -m benchmarks.results benchmarks/RESULTS.md` replaces the section of that file
between the lines `<!-- cpu -->` and `<!-- /cpu -->` (benchmarks/run.sh does it). One bench alone goes into the section
of its name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from conrec.errors import ConrecError
from conrec.files import write_whole

Json = dict[str, Any]
"""`Result.json()`, as it is or read back."""


def show(result: Json) -> None:
    """Print one result."""
    console = Console()
    table = Table(title=f"{result['bench']}: {result['work']}", title_justify="left")
    for heading, justify in (("method", "left"), ("median", "right"), ("smallest", "right"), ("largest", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, (smallest, median, largest) in result["methods"].items():
        table.add_row(name, duration(median), duration(smallest), duration(largest))
    console.print(table)
    low, high = result["ratio_spread"]
    console.print(f"{result['opponent']} over ours: {result['ratio']:.1f} ({low:.1f} to {high:.1f})", highlight=False)
    console.print(f"results are the same: {_yes(result['exact'])}", highlight=False)
    console.print(f"lower bound over ours: {result['lower_bound_share']:.2f}", highlight=False)
    for target, met in result["targets"].items():
        console.print(f"{target}: {_yes(met)}", highlight=False)
    for name, value in _flat(result["details"]):
        console.print(f"{name}: {value}", highlight=False)


def markdown(results: dict[str, Json]) -> str:
    """One table of all benches, and below it for each its methods and details."""
    first = next(iter(results.values()))
    lines = [
        ", ".join(f"{name} {value}" for name, value in first["machine"].items()) + ".",
        ", ".join(f"{name} {value}" for name, value in first["versions"].items()) + ".",
        "",
        "| bench | work | against | ratio (spread) | ours | lower bound over ours | same results | targets |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        low, high = result["ratio_spread"]
        targets = "; ".join(f"{target}: {_yes(met)}" for target, met in result["targets"].items())
        lines.append(
            f"| {name} | {result['work']} | {result['opponent']} | {result['ratio']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {duration(result['seconds'])} | {result['lower_bound_share']:.2f} | {_yes(result['exact'])} "
            f"| {targets} |"
        )
    for name, result in results.items():
        lines += [
            "",
            f"### {name}",
            "",
            f"| method ({result['clock']} time) | median | smallest | largest |",
            "|---|---|---|---|",
        ]
        for method, (smallest, median, largest) in result["methods"].items():
            lines.append(f"| {method} | {duration(median)} | {duration(smallest)} | {duration(largest)} |")
        lines += ["", *(f"- {detail}: {value}" for detail, value in _flat(result["details"]))]
    return "\n".join(lines) + "\n"


def replace_section(file: Path, name: str, text: str) -> None:
    """Put `text` between the lines `<!-- name -->` and `<!-- /name -->` of a file."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ConrecError(f"{file}: no section from {begin.strip()} to {end.strip()}")
    write_whole(file, before + begin + text + end + after)


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _flat(details: Json, above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in details.items():
        name = f"{above}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}, ")
        else:
            values = value if isinstance(value, list) else [value]
            yield name, " / ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


if __name__ == "__main__":
    found = json.load(sys.stdin)
    section, found = (found["bench"], {found["bench"]: found}) if "bench" in found else ("cpu", found)
    replace_section(Path(sys.argv[1]), section, markdown(found))
