"""Builds the folder of a stage: as a whole or not at all, and only where something that it depends on has changed.

A stage writes into `<folder>.partial`. When it is through, `manifest.json` is written there last, and the folder takes
its name in one rename. What bears its name is therefore whole, and what died is continued.
"""

import contextlib
import importlib.metadata
import platform
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from conrec import __version__, processes
from conrec.errors import ConrecError
from conrec.files import file_digest, read_json, value_digest, write_json
from conrec.pipeline.job import Job
from conrec.pipeline.stage import Stage
from conrec.progress import say

NO_OUTPUT = ("manifest.json", "inputs.json")


def build(stage: Stage, job: Job, folder: Path, inputs: dict[str, Any], force: bool = False) -> None:
    """Bring the folder up to date; `force` rebuilds it even if it is.

    job: writes into `partial(folder)`. inputs: all that the result depends on; their digest is the stage's key. The
    caller sees to it that no other process builds the folder meanwhile. ConrecError where one that it reads is damaged.
    """
    label, key = label_of(stage, job.seed), value_digest(inputs)
    manifest = read_manifest(folder)
    up_to_date = manifest is not None and manifest["key"] == key and not force
    # It died between the manifest and the rename.
    only_to_rename = not force and (read_manifest(job.out) or {}).get("key") == key
    if up_to_date or only_to_rename:
        if stage.together:
            processes.agree(False)  # no need to join in
        if not up_to_date:
            _put_in_place(job.out, folder)
        say(f"{label}: up to date")
        _warn_of_versions(label, (read_manifest(folder) or {}).get("versions", {}))
        return
    for name, earlier in ((name, one) for name, folders in job.folders.items() for one in folders):
        sound(earlier, name)
    if not force and _read(job.out / "inputs.json").get("key") == key:
        say(f"{label}: continuing")
    else:
        # Nothing is there, or the remains of a try with other inputs: those must not be continued.
        shutil.rmtree(job.out, ignore_errors=True)
        job.out.mkdir(parents=True)
        write_json(job.out / "inputs.json", {"key": key, "inputs": inputs})
        say(f"{label}: running")
    seconds, peak = _measured(stage, job)
    seed = job.seed if stage.per_seed else None
    record: dict[str, Any] = {"stage": stage.name, "seed": seed, "key": key, "inputs": inputs}
    record |= {"outputs": outputs_digest(job.out), "versions": versions()}
    record |= {"seconds": round(seconds, 2), "peak_memory_mb": round(peak)}
    write_json(job.out / "manifest.json", record)
    _put_in_place(job.out, folder)
    say(f"{label}: {'rebuilt' if manifest else 'built'} in {seconds:.1f} s, {peak:.0f} MB at most")


def label_of(stage: Stage, seed: int) -> str:
    return f"{stage.name} (seed {seed})" if stage.per_seed else stage.name


def partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete folder; None where there is none or it cannot be read."""
    manifest = _read(folder / "manifest.json")
    return manifest if {"key", "outputs", "versions"} <= manifest.keys() else None


def _measured(stage: Stage, job: Job) -> tuple[float, float]:
    """Call the stage's function; seconds and peak memory (MB) of this call."""
    # Let the peak begin anew, so that it is this stage's and not that of one before (Linux only).
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    start = time.monotonic()
    if stage.together:
        processes.agree(True)
    stage.function(job)
    importlib.import_module("pyarrow").default_memory_pool().release_unused()  # else it keeps what was of tables
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.monotonic() - start, peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Let the finished partial folder take its name. No moment leaves a folder of that name that is not whole."""
    (partial / "inputs.json").unlink(missing_ok=True)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def sound(folder: Path, stage: str) -> dict[str, Any]:
    """The manifest of a stage's folder. ConrecError where it is not complete, or damaged."""
    manifest = read_manifest(folder)
    if manifest and outputs_digest(folder) == (manifest.get("contents") or manifest["outputs"]):
        return manifest
    what = "damaged (its digest is another)" if manifest else "not there or not complete"
    raise ConrecError(f"{folder}: {what}; run {stage} {'again with --force' if manifest else 'first'}")


def outputs_digest(folder: Path) -> str:
    """Hash of the names and contents of all files below a stage's folder, but for our own notes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in NO_OUTPUT)
    return value_digest([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where it is not there or not whole."""
    try:
        return read_json(path)
    except ConrecError:
        return {}


def versions() -> dict[str, str]:
    found = {"conrec": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _warn_of_versions(label: str, then: dict[str, str]) -> None:
    """Other versions are no reason to throw hours of work away, but the user should know."""
    changed = [f"{name} {then.get(name)} -> {now}" for name, now in versions().items() if then.get(name) != now]
    if changed:
        say(f"{label}: was made with other versions ({', '.join(changed)}); --force rebuilds it")
