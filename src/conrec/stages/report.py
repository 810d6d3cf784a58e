"""Stage: one page about the run (`DIR/report.html`)."""

from conrec.errors import ConrecError
from conrec.files import write_whole
from conrec.pipeline.job import Job


def report(job: Job) -> None:
    """Write `report.html` into the run folder (`job.out`), from whatever of the run is there.

    Raises ConrecError where that is no folder or holds nothing of a run.
    """
    run = job.out
    from conrec.report.html import render  # charts take a second to import

    if not run.is_dir():
        raise ConrecError(f"{run}: there is no such run folder; `conrec run RECIPE --out {run}` makes one")
    write_whole(run / "report.html", render(run))
