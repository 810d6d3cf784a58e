"""Training instances for the worlds of `planted`: one for each dislike, with the history before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conrec.baselines.base import TrainingData
from conrec.data.instances import Events, Instances, Ragged
from conrec.sid.catalog import Catalog
from tests.baselines.planted import world


def with_training(known: TrainingData, seed: int = 0) -> TrainingData:
    """`known` with `train` from its events, and with codewords that differ."""
    assert known.catalog is not None
    rng = np.random.default_rng(seed)
    words = [rng.normal(size=(size, 6)).astype(np.float32) for size in known.catalog.sizes]
    return replace(known, train=training_instances(known.events), catalog=replace(known.catalog, codewords=words))


def training_instances(events: Events) -> Instances:
    """Of every user's dislikes, as the prepare stage makes them."""
    cells: list[tuple] = []
    for user in np.unique(events.users):
        own = events.users == user
        rows, kinds, times = events.items[own], events.kinds[own], events.times[own]
        for at in np.flatnonzero(kinds == "dislike"):
            parts = [(kinds[:at] == kind).nonzero()[0] for kind in ("dislike", "favorite")]
            cells.append((user, times[at], rows[at], *((rows[p], times[p]) for p in parts)))
    none = Ragged(np.zeros(0, np.int32), np.zeros(len(cells) + 1, np.int64))
    lists = [[Ragged.of([c[3 + n][m] for c in cells], d) for m, d in enumerate((np.int32, "M8[us]"))] for n in (0, 1)]
    return Instances(
        ids=np.arange(len(cells)),
        split=np.full(len(cells), "train"),
        users=np.array([c[0] for c in cells]),
        cutoffs=np.array([c[1] for c in cells]),
        n_dislikes=lists[0][0].lengths,
        n_positives=lists[1][0].lengths,
        dislikes=lists[0][0],
        dislike_times=lists[0][1],
        positives=lists[1][0],
        positive_times=lists[1][1],
        seen=none,
        next=np.array([c[2] for c in cells], np.int32),
        future=Ragged.of([[c[2]] for c in cells]),
        future_positives=none,
    )


def recatalogued(known: TrainingData, titles: list[str]) -> TrainingData:
    """`known` with other titles."""
    assert known.catalog is not None
    catalog: Catalog = replace(known.catalog, titles=titles)
    return replace(known, items=replace(known.items, titles=titles), catalog=catalog)


def camps(users: int = 150, n_items: int = 40, seed: int = 0) -> tuple[TrainingData, Instances]:
    """Whoever dislikes one of the eight items of a camp (a semantic ID's first code) dislikes others of it next."""
    rng = np.random.default_rng(seed)
    histories, nexts = [], []
    for _ in range(users):
        walk = 8 * rng.integers(n_items // 8) + rng.permutation(8)[:5]
        histories.append([("dislike", int(item)) for item in walk[:-1]])
        nexts.append(int(walk[-1]))
    return world(histories, nexts, n_items, [f"camp {n // 8}" for n in range(n_items)])


def provoked_camps(users: int = 300, n_items: int = 40, seed: int = 0) -> tuple[TrainingData, Instances]:
    """After a like in one camp the next camp is disliked; what was disliked before says nothing."""
    rng = np.random.default_rng(seed)
    histories, nexts = [], []
    for _ in range(users):
        steps = []
        for camp in rng.integers(n_items // 8, size=4):
            liked = int(8 * camp + rng.integers(8))
            disliked = int((8 * (camp + 1) + rng.integers(8)) % n_items)
            steps += [("favorite", liked), ("dislike", disliked)]
        histories.append(steps[:-1])
        nexts.append(steps[-1][1])
    return world(histories, nexts, n_items, [f"camp {n // 8}" for n in range(n_items)])
