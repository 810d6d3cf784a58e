"""Small snapshots for the tests: a catalogue of random items and users, valid but without sense."""

from __future__ import annotations

import numpy as np

from conrec.filter.publish import SnapshotItems
from conrec.filter.user_store import Users
from conrec.score.factors import ItemFactors
from conrec.sid.catalog import unit_rows

ITEMS, PREDICTED, DISLIKES, LIKED, DIMENSIONS = 60, 5, 4, 3, 2


def some_items(seed: int = 0, dimensions: int = DIMENSIONS) -> SnapshotItems:
    """Items i0 to i59 in the categories even and odd, every tenth without one."""
    rng = np.random.default_rng(seed)
    factors = ItemFactors(
        unit_rows(rng.normal(size=(ITEMS, 8)).astype(np.float32)),
        rng.normal(size=(ITEMS, dimensions)).astype(np.float32),
        rng.normal(size=ITEMS).astype(np.float32),
    )
    return SnapshotItems(
        [f"i{n}" for n in range(ITEMS)],
        [f"Title <b>{n}</b> é" for n in range(ITEMS)],
        [None if n % 10 == 0 else ("even", "odd")[n % 2] for n in range(ITEMS)],
        rng.integers(0, 3, (ITEMS, 3)),
        factors,
    )


def some_users(count: int = 12, seed: int = 0, ids: list[str] | None = None, dimensions: int = DIMENSIONS) -> Users:
    """Users u0, u1, ...; lists are shorter for some, and u0 has none at all."""
    rng = np.random.default_rng(seed)

    def lists(width: int) -> np.ndarray:
        rows = np.stack([rng.permutation(ITEMS)[:width] for _ in range(count)]).astype(np.int32).reshape(count, width)
        rows[np.arange(width) >= np.arange(count)[:, None]] = -1
        return rows

    predicted, dislikes = lists(PREDICTED), lists(DISLIKES)
    reason_index = rng.integers(0, DISLIKES, (count, PREDICTED)).astype(np.int8)
    reason_index[(predicted < 0) | (reason_index >= (dislikes >= 0).sum(1)[:, None])] = -1
    return Users(
        [f"u{n}" for n in range(count)] if ids is None else ids,
        predicted,
        reason_index,
        dislikes,
        lists(LIKED),
        rng.normal(size=(count, dimensions)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
        np.arange(count, dtype=np.int32),
    )
