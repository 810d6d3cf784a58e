"""Calls of the real stages on folders that a test wrote, under the settings that they declare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conrec.config import Recipe
from conrec.features.prepared_log import PreparedLog
from conrec.pipeline.job import Job
from conrec.run import STAGES, folder_of, job_in


def job(
    run: Path,
    stage: str,
    recipe: Recipe,
    seed: int = 0,
    out: Path | None = None,
    data: Path | None = None,
    images: Path | None = None,
) -> Job:
    """A call of a stage that writes into its own folder of `run`, or into `out`."""
    (declared,) = (one for one in STAGES if one.name == stage)
    made = job_in(run, declared, STAGES, recipe, seed, PreparedLog(run / "prepare", run / "compress"), data, images)
    out = out or (run if declared.in_place else folder_of(run, declared, seed))
    if not declared.in_place:
        out.mkdir(parents=True, exist_ok=True)
    return replace(made, out=out)
