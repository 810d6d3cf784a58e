"""Users whose id begins with what somebody has typed, out of ten million in half a second."""

from pathlib import Path

import numpy as np

from conrec.filter.npy import map_npy

AT_ONCE = 100_000
"""Ids that are looked at together: requests must not wait long for the interpreter."""


def starting_with(folder: Path, prefix: str, limit: int) -> list[str]:
    """At most `limit` ids of an id index (`filter.id_index`) that begin with `prefix`, in order of their rows."""
    blob = map_npy(folder / "blob.npy", np.uint8, 1)
    offsets = map_npy(folder / "offsets.npy", np.int64, 1)
    wanted, found = prefix.encode("utf-8", "surrogatepass"), list[str]()
    for first in range(0, len(offsets) - 1, AT_ONCE):
        bounds = offsets[first : first + AT_ONCE + 1]
        rows = np.flatnonzero(np.diff(bounds) >= len(wanted))
        for place, byte in enumerate(wanted):
            rows = rows[blob[bounds[rows] + place] == byte]
        found += [blob[bounds[row] : bounds[row + 1]].tobytes().decode() for row in rows[: limit - len(found)].tolist()]
        if len(found) == limit:
            break
    return found
