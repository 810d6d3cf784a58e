"""Stage: one page about the run (`DIR/report.html`)."""

from __future__ import annotations

from pathlib import Path

from conrec.errors import ConrecError
from conrec.files import write_whole


def report(run: Path) -> None:
    """Write `report.html` into the run folder, from whatever of the run is there.

    Raises ConrecError where `run` is no folder or holds nothing of a run.
    """
    from conrec.report.html import render  # charts take a second to import

    if not run.is_dir():
        raise ConrecError(f"{run}: there is no such run folder; `conrec run RECIPE --out {run}` makes one")
    write_whole(run / "report.html", render(run))
