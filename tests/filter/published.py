"""Small snapshots for the tests: a catalogue of random items and users, valid but without sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from conrec.filter.publish import SnapshotItems, write_snapshot
from conrec.filter.user_store import Users
from conrec.score.embedding import EmbeddingSpace
from conrec.score.factors import ItemFactors
from conrec.score.item_values import ItemValues
from conrec.score.user_history import EVENT, SHOWN, History
from conrec.sid.catalog import unit_rows

ITEMS, PREDICTED, DISLIKES, LIKED, DIMENSIONS = 60, 5, 4, 3, 2
WIDTHS = 3, 2
FACTORS = WIDTHS[0] + WIDTHS[1]
"""Of the vectors of a `RandomScore`."""


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


def random_fields(rng: np.random.Generator) -> list[dict[str, str]]:
    """Every kind of field; i0 has none, i1 a single value, i2 more values than are known."""
    fields = [
        {
            "category": f"Shoes > c{rng.integers(3)}",
            "trait": "|".join(f"t{n}" for n in np.sort(rng.permutation(6)[: rng.integers(1, 4)])),
            "price": str(rng.integers(5, 90)),
        }
        for _ in range(ITEMS)
    ]
    fields[:3] = [{}, {"trait": "t0"}, {"trait": "|".join(f"T{n % 6}|t{n}" for n in range(60)), "category": "c1"}]
    return fields


class RandomScore:
    """A snapshot of a random score in which everything counts."""

    def __init__(self, seed: int = 0, values: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.fields = random_fields(rng)
        self.content = rng.normal(size=(ITEMS, 5)).astype(np.float32) / 2
        self.space = EmbeddingSpace.fit(self.fields, self.content, np.arange(ITEMS), 8)
        embeddings = self.space.of(self.fields, self.content)
        vectors = np.hstack([rng.normal(size=(ITEMS, FACTORS)), embeddings])
        plain = some_items(seed)
        factors = ItemFactors(plain.factors.unit, vectors, plain.factors.biases)
        own = ItemValues(self.space, self.fields, self.content) if values else None
        self.items = SnapshotItems(plain.ids, plain.titles, plain.categories, plain.codes, factors, WIDTHS, own)
        self.users = some_users(12, seed, dimensions=vectors.shape[1])

    def publish(self, snapshots: Path, weight: float = 0.0) -> str:
        return write_snapshot(snapshots, self.items, self.users, "history", weight)

    def publish_history(self, snapshots: Path, disliked: list[int], shown: dict[int, int]) -> str:
        """Of users who all disliked these items and were shown others, each so often (by row)."""
        events, seen = np.zeros(len(disliked), EVENT), np.zeros(len(shown), SHOWN)
        events["item"], events["sign"], events["value"], events["reason"] = disliked, 1, np.nan, -1
        seen["item"], seen["count"] = np.array(sorted(shown.items())).T
        users = replace(self.users, histories=[History(events, seen).packed()] * len(self.users))
        return write_snapshot(snapshots, self.items, users, "history", 0.0)

    def score(self, user: int, row: int, fields: dict[str, str]) -> float:
        """What the item would score if its fields were these; without predictions."""
        embedding = self.space.of([fields], self.content[row : row + 1])[0]
        vector = np.concatenate([self.items.factors.vectors[row, :FACTORS], embedding])
        return float(self.users.biases[user] + self.items.factors.biases[row] + vector @ self.users.vectors[user])
