"""Users whose id begins with what somebody has typed, out of ten million in a tenth of a second."""

from pathlib import Path

import numpy as np
from numba import njit

from conrec.filter.id_index import equal
from conrec.filter.npy import map_npy


def starting_with(folder: Path, prefix: str, limit: int) -> list[str]:
    """At most `limit` ids of an id index (`filter.id_index`) that begin with `prefix`, in order of their rows."""
    blob = map_npy(folder / "blob.npy", np.uint8, 1)
    offsets = map_npy(folder / "offsets.npy", np.int64, 1)
    rows = np.empty(limit, np.int64)
    found = _search(blob, offsets, np.frombuffer(prefix.encode("utf-8", "surrogatepass"), np.uint8), rows)
    return [blob[offsets[row] : offsets[row + 1]].tobytes().decode() for row in rows[:found].tolist()]


@njit(nogil=True, cache=True)
def _search(blob, offsets, prefix, rows):
    """Fill `rows` with the rows that begin with the prefix; how many."""
    found = 0
    for row in range(len(offsets) - 1):
        start = offsets[row]
        if offsets[row + 1] - start >= len(prefix) and equal(blob, start, prefix, 0, len(prefix)):
            rows[found] = row
            found += 1
            if found == len(rows):
                break
    return found
