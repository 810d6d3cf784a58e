"""Where a log lies: paths, globs, and addresses that fsspec reaches (`s3://bucket/log/`).

A log is one file or folder, as an adapter reads it, or tables from several sources. Of these a file holds events,
unless it is called `items...` or ends in `.item`, or its source says what it is: `events=SOURCE`, `items=SOURCE`.
"""

import contextlib
import glob
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conrec.errors import ConrecError
from conrec.files import tree_digest, value_digest
from conrec.progress import track

Sources = str | Path | Sequence[str | Path]
VERSION = ("ETag", "etag", "mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created")
"""What tells the versions of a remote file apart, as file systems call it; the first that is there counts."""


@dataclass(frozen=True)
class Tables:
    """The files of a log that came from several sources, or those of a day."""

    events: tuple[Path, ...] = ()
    items: tuple[Path, ...] = ()

    def __str__(self) -> str:
        first, *more = *self.events, *self.items
        return f"{first} and {len(more)} more" if more else str(first)


def named(sources: Sources | None) -> list[str]:
    """The sources one by one, those on this machine with absolute paths."""
    given = [sources] if isinstance(sources, str | Path) else sources or ()
    parts = [_parts(str(source)) for source in given]
    return [role + (where if "://" in where else os.path.abspath(where)) for role, where in parts]


def at_hand(sources: Sources | None, copies: Path | None) -> Path | Tables | None:
    """The log as files on this machine.

    copies: where remote files are kept (`s3/bucket/log/events.csv`). One is fetched again where its ETag, or its size
    or time, has changed. Without it they are not looked for. ConrecError for what is not there or cannot be reached.
    """
    from conrec.data.adapters.files import TABLE_SUFFIXES  # pyarrow

    names, events, items = named(sources), list[Path](), list[Path]()
    for role, where in map(_parts, names):
        if "://" in where:
            there = _fetched(where, copies) if copies else []
        else:
            there = [Path(where)] if os.path.exists(where) else sorted(map(Path, glob.glob(where, recursive=True)))
            if not there:
                raise ConrecError(f"{where}: there is no such file or folder")
        if len(names) == len(there) == 1 and not role:
            return there[0]
        for path in there:
            below = [one for one in sorted(path.rglob("[!._]*")) if one.name.endswith(TABLE_SUFFIXES)]
            if path.is_dir() and not below:
                raise ConrecError(f"{path}: holds no file that ends in one of {', '.join(TABLE_SUFFIXES)}")
            for file in below or [path]:
                name = os.path.relpath(file, path.parent if file == path else path)
                of_items = name.startswith("items") or file.suffix == ".item" if not role else role == "items="
                (items if of_items else events).append(file)
    return Tables(tuple(events), tuple(items)) if names else None


def digest(data: Path | Tables | None) -> str | None:
    """SHA-256 of the names, sizes, and times of the log's files, in one folder or not."""
    if not isinstance(data, Tables):
        return tree_digest(data, times=True)
    stats = [(path.name, path.stat()) for path in (*data.events, *data.items)]
    return value_digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


@contextlib.contextmanager
def told_by_address(copies: Path) -> Iterator[None]:
    """Errors name a remote file and not its copy."""
    try:
        yield
    except ConrecError as error:
        raise ConrecError(re.sub(rf"{re.escape(str(copies))}/(\w+)/", r"\1://", str(error))) from None


def _parts(source: str) -> tuple[str, str]:
    """What a source says it is, if it does, and where it lies."""
    role = next((role for role in ("events=", "items=") if source.startswith(role)), "")
    return role, source.removeprefix(role)


def _fetched(where: str, copies: Path) -> list[Path]:
    """Copies of the files, or the folder of them where `where` is one."""
    place = copies / where.split("://")[0]
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(where)
        system.invalidate_cache()
        pattern, files = glob.has_magic(root), dict[str, Any]()
        for name, info in (system.glob(root, detail=True) if pattern else {root: {"type": "directory"}}).items():
            files.update(system.find(name, detail=True) if info["type"] == "directory" else {name: info})
        if not files:
            raise FileNotFoundError("there is no such file, and no folder with files in it")
        kept = []
        for name, info in track(sorted(files.items()), f"copy {where}"):
            info, path = info or system.info(name), place / name.strip("/")
            if ".." in path.parts:
                raise ValueError(f"the name {name} leads out of its folder")
            version = next((info[key] for key in VERSION if info.get(key)), time.time())
            # The copy's time is no time, but tells the version that it is of.
            stamp = int(value_digest([info["size"], str(version)])[:7], 16)
            kept.append(path)
            if path.is_file() and (path.stat().st_size, path.stat().st_mtime) == (info["size"], stamp):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            system.get_file(name, str(partial))
            os.utime(partial, (stamp, stamp))
            partial.replace(path)
    except Exception as error:  # every file system has its own
        hint = "; for s3://: pip install 'conrec[s3]'" if isinstance(error, ImportError) else ""
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{hint}"
        raise ConrecError(f"{where}: cannot be read ({told})") from None
    folder = place / root.strip("/")
    if pattern or folder in kept:
        return kept
    for path in folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    return [folder]
