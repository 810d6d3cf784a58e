"""One user out of all that a run keeps: `conrec forget`. docs/daily_job.md says what becomes of each part.

What was learned of all users together stays: weights hold no rows. So the stages count as they are, and nothing is
trained: a manifest keeps `outputs`, by which later stages and snapshots know a stage, and `contents` says what is there
since.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.adapters.columns import mask
from conrec.deploy.live import read_delta
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.files import file_digest, lock, read_json, readable, whole, write_json
from conrec.filter import snapshot as published
from conrec.filter.feedback import FILE, Feedback
from conrec.filter.stores import open_users
from conrec.pipeline.build import outputs_digest, read_manifest, sound
from conrec.run import LOG, open_run, pseudonyms_of


def forget(run: Path, user: str, snapshots: Path) -> tuple[int, list[Path]]:
    """How many rows were removed, and the files in which the user still is: none, if all went well.

    A call that was killed is made good by the next. ConrecError where another job works in the run or its snapshots,
    where something of them is damaged, and while a snapshot is held.
    """

    def files() -> list[Path]:
        return sorted({path for folder in (run, snapshots) for path in folder.rglob("*") if path.is_file()})

    recipe, _, _ = open_run(run)
    user = (pseudonyms_of(run, recipe) or str)(user)
    with lock(run / ".lock"), lock(snapshots / "live" / ".lock"):
        if held := published.held(snapshots):
            raise ConrecError(f"{snapshots}: {held[0]} is held; conrec refresh --accept or --rollback first")
        for left in (path for path in files() if path.suffix == ".new"):  # of a call that was killed (`files.whole`)
            left.unlink()
        stages = {path.parent: one for path in run.rglob("manifest.json") if (one := read_manifest(path.parent))}
        deltas = {path.parent: read_delta(path.parent) for path in snapshots.glob("live/*/delta.json")}
        begun, fit = run / "forgetting", []
        for path in run.glob("calibration*.json"):
            made = (calibration := read_json(path))["evidence"]
            scores = run / "filter" / f"seed{made['seed']}" / "scores.parquet"
            if begun.exists() or file_digest(scores) == made["scores"]:
                fit.append((path, calibration, scores))
        if not begun.exists():  # what is damaged must not get a valid digest
            for folder, manifest in stages.items():
                sound(folder, manifest["stage"])
            for folder, note in deltas.items():
                published.check(folder, note["files"], "all")
            begun.touch()
        shutil.rmtree(run / LOG, ignore_errors=True)  # the log as it came: who brought it has it
        (run / "report.html").unlink(missing_ok=True)  # it shows a few users
        last = run / "prepare" / "instances.parquet"
        with readable(last, "the prepare"):
            own = pq.read_table(last, columns=["instance_id"], filters=pc.field("user_id") == user)["instance_id"]
        tables = sorted((path for path in files() if path.suffix == ".parquet"), key=lambda path: path == last)
        rows = sum(_rows(path, user, own, remove=True) for path in tables) + Feedback(snapshots).forget(user)
        for folder, manifest in stages.items():
            write_json(folder / "manifest.json", manifest | {"contents": outputs_digest(folder)})
        for folder, note in deltas.items():
            now = published.describe_files(folder)
            write_json(folder / "delta.json", note | {"files": {name: now[name] for name in note["files"]}})
        for path, calibration, scores in fit:
            calibration["evidence"]["scores"] = file_digest(scores)
            write_json(path, calibration)
        begun.unlink()
    if version := published.current(snapshots):
        made_from = published.read_manifest(snapshots / version).made_from
        given: dict[str, Any] = {name: made_from.get(name) for name in ("seed", "keep_days")}
        refresh(run, recipe, snapshots=snapshots, keep=1, forget=user, **given)
    found = [path for path in files() if _holds(path, user, own)]
    for folder in (snapshots / version for version in published.versions(snapshots)):
        found += [folder / "users"] if open_users(folder, published.read_manifest(folder)).get(user) else []
    return rows, found


def _rows(path: Path, user: str, own: pa.ChunkedArray, remove: bool = False) -> int:
    """How many rows of a table are the user's, by its id, by instances (their ids: `own`), or by a cell of a row that
    could not be read; `remove`: rewrite it without them."""
    if not {"user_id", "instance_id", "values"} & set(pq.read_schema(path).names):
        return 0
    table = pq.read_table(path)
    theirs = np.zeros(len(table), bool)
    if "user_id" in table.column_names:
        theirs |= mask(pc.equal(table["user_id"], user))
    elif "instance_id" in table.column_names:
        theirs |= mask(pc.is_in(table["instance_id"], own.combine_chunks()))
    if "values" in table.column_names:
        asked = re.compile(rf"(?<!\w){re.escape(user)}(?!\w)")
        theirs |= [any(asked.search(cell or "") for _, cell in row or ()) for row in table["values"].to_pylist()]
    if remove and theirs.any():
        with whole(path) as new:
            pq.write_table(table.filter(pa.array(~theirs)), new)
    return int(theirs.sum())


def _holds(path: Path, user: str, own: pa.ChunkedArray) -> bool:
    """Whether the user is in a file. Outside of tables a short id or a number cannot be told from other bytes."""
    if path.suffix == ".parquet":
        return _rows(path, user, own) > 0
    if path.name == FILE:
        return Feedback(path.parent).news(user, 0) != (None, [])
    forms = b"|".join(re.escape(form.encode()) for form in {user, json.dumps(user)[1:-1]})
    told = re.search(rb"(?<![\w-])(" + forms + rb")(?![\w-])", path.read_bytes())
    return told is not None and len(user) > 4 and not user.isdigit()
