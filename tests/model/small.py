"""A small log of likes and dislikes as tables, for the tests of `conrec.fit`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

START = np.datetime64("2026-01-01", "us")


def tables(events: int = 7000, users: int = 150, items: int = 60, days: int = 120) -> tuple[pa.Table, pa.Table]:
    """Half the people dislike what is red, the others what is blue; nobody meets an item twice."""
    rng = np.random.default_rng(0)
    who, what = np.divmod(rng.permutation(users * items)[:events], items)
    red = what % 2 == 0
    disliked = rng.random(events) < np.where(red == (who % 2 == 0), 0.8, 0.02)
    micros = np.sort(rng.integers(0, days * 86_400_000_000, events))
    log = {
        "user_id": [f"u{n}" for n in who],
        "item_id": [f"i{n}" for n in what],
        "time": pa.array(START + micros.astype("timedelta64[us]")).cast(pa.timestamp("us", tz="UTC")),
        "kind": np.where(disliked, "dislike", "favorite").tolist(),
    }
    about = {
        "item_id": [f"i{n}" for n in range(items)],
        "title": [f"{('red', 'blue')[n % 2]} thing {n}" for n in range(items)],
        "category": [f"c{n % 3}" for n in range(items)],
        "colour": [("red", "blue")[n % 2] for n in range(items)],
    }
    return pa.table(log), pa.table(about)


class Stream:
    """A table of a library that knows nothing but the Arrow PyCapsule interface."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)
