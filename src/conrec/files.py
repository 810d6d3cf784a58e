"""Files: there as a whole or not at all, held by one process at a time, and known by their contents."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from conrec.errors import ConrecError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Another name, under which a file is written inside, and brought to the disk, before it takes its own."""
    new = path.with_name(path.name + ".new")
    yield new
    flush(new)
    new.replace(path)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, `whole`."""
    with whole(path) as new:
        new.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Bring a file to the disk, so that a rename that survives a power cut finds its contents there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is not there. ConrecError for anything else in it."""
    if not path.exists():
        return {}
    with readable(path, "its"):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ConrecError(f"{path}: holds no JSON object; run its stage again with --force")
    return value


@contextlib.contextmanager
def readable(path: Path, stage: str) -> Iterator[None]:
    """What goes wrong while a stage's file or folder is read, as a ConrecError that names it and what to run again."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:  # Arrow's are among them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConrecError(f"{path}: not readable ({reason}); run {stage} stage again") from error


def write_json(path: Path, value: Any) -> None:
    """`as_json` of a value made of dataclasses, paths, and what JSON knows, as a whole file."""
    write_whole(path, as_json(value) + "\n")


def as_json(value: Any) -> str:
    """JSON, one value a line. An infinite number, which JSON does not know, becomes a text: "inf"."""
    return json.dumps(_finite(value), indent=1, allow_nan=False, default=_plain)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def value_digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of a value made of dataclasses, paths, and what JSON knows, in whatever order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(path: Path | None, *, times: bool) -> str | None:
    """SHA-256 of the names and sizes of a file or of all files below a folder, with `times` of their times, too."""
    if path is None:
        return None
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return value_digest([[name, stat.st_size, *([stat.st_mtime_ns] if times else [])] for name, stat in stats])


@contextlib.contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` until the block or the process ends; who holds it is written into it.

    Where another holds it: ConrecError that names that process, or with `wait` patience.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConrecError(f"{path.parent}: cannot be written: {error.strerror}; choose another folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ConrecError(f"{path.parent}: {holder} works in this folder; wait for it") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def locked(path: Path) -> bool:
    """Whether somebody holds the lock file `path`; it need not be there."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _plain(value: Any) -> Any:
    """What `json` asks for what it does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} cannot be part of a digest")
