"""Published snapshots: what the filter works with, in versions, each of them whole or not there at all.

docs/daily_job.md lists the files of a version, and those beside the versions. A version is written under a temporary
name, flushed to disk and renamed; then `current` is replaced, which is one rename, too. So whoever is killed between
any two steps leaves the old version in use and whole, and who has an old version open goes on undisturbed: mapped files
outlive their names.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from conrec.errors import ConrecError
from conrec.files import file_digest, flush, lock, write_whole

FORMAT = 5
_VERSION = re.compile(r"\d{8}T\d{6}Z-\d{4}")


@dataclass(frozen=True)
class Manifest:
    """What a version says of itself."""

    version: str
    score: dict[str, Any]
    """widths (`SnapshotItems.widths`), and probability (`DislikeProbability`; None: none)."""
    items: int
    users: dict[str, Any]
    """store (mapped or redis), count of those with a record, entries with those of a history alone, and layout."""
    feedback: int
    """The position in `feedback.sqlite` up to which it was worked in."""
    made_from: dict[str, Any]
    """Whatever the job that made it wants to find again (digests of its inputs, say)."""
    files: dict[str, dict[str, Any]]
    """Path -> bytes and sha256."""
    format: int = FORMAT


def versions(snapshots: Path) -> list[str]:
    """The versions that are there, oldest first."""
    if not snapshots.is_dir():
        return []
    return sorted(p.name for p in snapshots.iterdir() if _VERSION.fullmatch(p.name) and (p / "manifest.json").is_file())


def current(snapshots: Path) -> str | None:
    """The version in use; None where nothing was published yet."""
    try:
        return (snapshots / "current").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def use(snapshots: Path, version: str) -> None:
    """Put a version that is there into use, forwards or back. ConrecError where it is not there."""
    if version not in versions(snapshots):
        there = ", ".join(versions(snapshots)) or "none"
        raise ConrecError(f"{snapshots}: there is no version {version}; there are: {there}")
    write_whole(snapshots / "current", version + "\n")
    (snapshots / "held").unlink(missing_ok=True)
    flush(snapshots)


def hold(snapshots: Path, version: str, why: str) -> None:
    """Note that a version that is there is not to be used before somebody says so."""
    write_whole(snapshots / "held", f"{version}\n{why}\n")


def held(snapshots: Path) -> tuple[str, str] | None:
    """The version that is held, and why; None: there is none."""
    try:
        version, why = (snapshots / "held").read_text(encoding="utf-8").strip().split("\n", 1)
    except FileNotFoundError:
        return None
    return (version, why) if version in versions(snapshots) else None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of one version; ConrecError where it is not there or not readable."""
    path = folder / "manifest.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table.get("format") != FORMAT:
            raise ConrecError(f"{path}: format {table.get('format')}, this conrec reads {FORMAT}; write it again")
        return Manifest(**table)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConrecError(f"{path}: no readable snapshot ({' '.join(str(error).split())}); write it again") from error


def check(folder: Path, files: dict[str, dict[str, Any]], contents: Literal["all", "small", "none"] = "small") -> None:
    """Whether every file (`Manifest.files`) is there in its size and with its digest; ConrecError for the first that is
    not.

    Sizes cost nothing. The digest of `small` files is that of those that the filter needs whole: of the users and the
    items' values there may be gigabytes.
    """
    for name, noted in files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError:
            raise ConrecError(f"{path}: missing; roll back or write it again") from None
        if size != noted["bytes"]:
            raise ConrecError(f"{path}: {size} bytes, should be {noted['bytes']}; roll back or write it again")
        read = contents == "all" or (contents == "small" and not name.startswith(("users/", "values/")))
        if read and file_digest(path) != noted["sha256"]:
            raise ConrecError(f"{path}: damaged (its digest is another); roll back or write it again")


@contextlib.contextmanager
def writing(snapshots: Path) -> Iterator[None]:
    """Nobody else writes into this folder of snapshots meanwhile; what a killed writer left is removed first."""
    with lock(snapshots / ".lock"):
        for left in snapshots.glob(".*.partial"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield


def new_version(snapshots: Path, now: datetime | None = None) -> str:
    """A name that sorts after all versions there are, even if the clock went back."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    there = versions(snapshots)
    last, count = there[-1].split("-") if there else ("", "0")
    return f"{stamp}-0001" if stamp > last else f"{last}-{int(count) + 1:04}"


def partial(snapshots: Path, version: str) -> Path:
    return snapshots / f".{version}.partial"


def put_in_place(snapshots: Path, manifest: Manifest) -> None:
    """Seal the partial folder of a version with its manifest and let it take its name; not yet in use."""
    folder = partial(snapshots, manifest.version)
    write_whole(folder / "manifest.json", json.dumps(asdict(manifest), indent=1))
    for path in [*folder.rglob("*"), folder]:
        flush(path)
    folder.rename(snapshots / manifest.version)
    flush(snapshots)


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": file_digest(p)} for p in paths}


def remove(snapshots: Path, version: str) -> None:
    """Delete a version that is not in use; under another name first, so that no half version bears this one."""
    if version == current(snapshots):
        raise ConrecError(f"{snapshots}: version {version} is in use; use another before you remove it")
    (snapshots / version).rename(partial(snapshots, version))
    shutil.rmtree(partial(snapshots, version))
