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
from conrec.score.user_history import EVENT, SHOWN, History, of_lists

ITEMS, PREDICTED, DISLIKES, LIKED, DIMENSIONS = 60, 5, 4, 3, 2
WIDTHS = 3, 2
FACTORS = WIDTHS[0] + WIDTHS[1]
"""Of the vectors of a `RandomScore`."""


def some_items(seed: int = 0, dimensions: int = DIMENSIONS) -> SnapshotItems:
    """Items i0 to i59 in the categories even and odd, every tenth without one."""
    rng = np.random.default_rng(seed)
    factors = ItemFactors.of(rng.normal(size=(ITEMS, dimensions)), rng.normal(size=ITEMS))
    return SnapshotItems(
        [f"i{n}" for n in range(ITEMS)],
        [f"Title <b>{n}</b> é" for n in range(ITEMS)],
        [None if n % 10 == 0 else ("even", "odd")[n % 2] for n in range(ITEMS)],
        rng.integers(0, 3, (ITEMS, 3)),
        factors,
    )


def lists_of(user: int, seed: int = 0) -> tuple[list[int], list[int], list[int]]:
    """Rows of what a user is predicted to dislike (best first), disliked and liked (newest first), at most PREDICTED,
    DISLIKES and LIKED and no more than the user's number: u0 has none at all."""
    rng = np.random.default_rng([seed, user])
    predicted, dislikes, liked = (rng.permutation(ITEMS)[: min(n, user)] for n in (PREDICTED, DISLIKES, LIKED))
    return predicted.tolist(), dislikes.tolist(), liked.tolist()


def some_users(count: int = 12, seed: int = 0, ids: list[str] | None = None, dimensions: int = DIMENSIONS) -> Users:
    """Users u0, u1, ... with the lists of `lists_of`."""
    rng, lists = np.random.default_rng(seed), [lists_of(n, seed) for n in range(count)]
    return Users(
        [f"u{n}" for n in range(count)] if ids is None else ids,
        np.array([predicted + [-1] * (PREDICTED - len(predicted)) for predicted, _, _ in lists], np.int32),
        rng.normal(size=(count, dimensions)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
        np.arange(count, dtype=np.int32),
        [of_lists(dislikes, liked).packed() for _, dislikes, liked in lists],
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
        factors = ItemFactors.of(vectors, plain.factors.biases)
        own = ItemValues(self.space, self.fields, self.content) if values else None
        self.items = SnapshotItems(plain.ids, plain.titles, plain.categories, plain.codes, factors, WIDTHS, own)
        self.users = some_users(12, seed, dimensions=vectors.shape[1])

    def publish(self, snapshots: Path) -> str:
        return write_snapshot(snapshots, self.items, self.users)

    def publish_history(self, snapshots: Path, disliked: list[int], shown: dict[int, int]) -> str:
        """Of users who all disliked these items and were shown others, each so often (by row)."""
        events, seen = np.zeros(len(disliked), EVENT), np.zeros(len(shown), SHOWN)
        events["item"], events["sign"], events["value"], events["reason"] = disliked, 1, np.nan, -1
        seen["item"], seen["count"] = np.array(sorted(shown.items())).T
        users = replace(self.users, histories=[History(events, seen).packed()] * len(self.users))
        return write_snapshot(snapshots, self.items, users)

    def score(self, user: int, row: int, fields: dict[str, str]) -> float:
        """What the item would score if its fields were these."""
        embedding = self.space.of([fields], self.content[row : row + 1])[0]
        vector = np.concatenate([self.items.factors.vectors[row, :FACTORS], embedding])
        return float(self.users.biases[user] + self.items.factors.biases[row] + vector @ self.users.vectors[user])
