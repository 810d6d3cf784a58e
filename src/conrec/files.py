"""Files that are there as a whole or not at all, also when the machine stops."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file under another name, on the disk, before it takes its own."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    flush(new)
    new.replace(path)


def flush(path: Path) -> None:
    """Bring a file to the disk, so that a rename that survives a power cut finds its contents there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
