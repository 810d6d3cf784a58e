"""Small files for the tests of the adapters."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa

from conrec.data.schema import Log, check_events, check_items


def write(path: Path, text: str | bytes) -> Path:
    """A text file, gzipped if its name says so."""
    content = text.encode() if isinstance(text, str) else text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def rows(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    """The named columns as rows."""
    return list(zip(*(table[name].to_pylist() for name in names)))


def item(log: Log, item_id: str) -> dict[str, Any]:
    """One row of the items, attributes as a dict."""
    found = [row for row in log.items.to_pylist() if row["item_id"] == item_id]
    assert len(found) == 1
    return found[0] | {"attributes": dict(found[0]["attributes"] or [])}


def sound(log: Log) -> Log:
    """The log, after checking what must hold for every one of them."""
    check_items(log.items, "items")
    check_events(log.events, "events")
    assert log.accounting.check().kept == log.events.num_rows
    assert log.accounting.items is not None
    assert log.accounting.items.kept == log.items.num_rows
    assert log.accounting.images is not None
    pictures = sum(bool(r["image"] or r["image_bytes"]) for r in log.items.to_pylist())
    assert log.accounting.images.kept == pictures
    assert set(log.events["item_id"].to_pylist()) <= set(log.items["item_id"].to_pylist())
    return log
