"""A small random log in memory, shared by the tests of what comes after the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.baselines.base import LikeCounts, TrainingData
from conrec.data.exposures import replay_pairs, users_to_replay
from conrec.data.instances import Events, Instances, Items
from conrec.data.knowledge import Knowledge
from conrec.features.co_dislikes import CoDislikes
from conrec.sid.catalog import Catalog
from tests.data.events import events_of

START = np.datetime64("2026-01-01T00:00:00", "us")
WEEK = np.timedelta64(7, "D")
CUTS = [START + n * WEEK for n in (4, 5, 6)]


def small_log(
    users: int = 30, items: int = 40, events: int = 1500, days: int = 49, seed: int = 0
) -> tuple[Items, Events]:
    """Ratings (no exposures) of popular and unpopular items; every item is first seen at its first event."""
    rng = np.random.default_rng(seed)
    times = np.sort(START + rng.integers(0, days * 86_400_000_000, events).astype("timedelta64[us]"))
    rows = np.minimum((rng.random(events) ** 2 * items).astype(np.int32), items - 1)
    kinds = rng.choice(["dislike", "favorite", "exposure"], events, p=[0.3, 0.5, 0.2])
    names = np.array([f"u{n:02d}" for n in range(users)])[rng.integers(0, users, events)]
    first = np.full(items, np.datetime64("NaT"), "datetime64[us]")
    first[rows[::-1]] = times[::-1]
    catalogue = Items(
        [f"i{n}" for n in range(items)],
        [f"title {n}" for n in range(items)],
        [None if n % 7 == 0 else f"c{n % 5}" for n in range(items)],
        first,
    )
    values = np.array([{"dislike": 2.0, "exposure": 3.0, "favorite": 4.0}[kind] for kind in kinds])
    return catalogue, events_of(names, rows, times, kinds, values)


def small_known(items: Items, log: Events, seed: int = 0) -> TrainingData:
    """Everything a baseline may see, with random embeddings."""
    rng = np.random.default_rng(seed)
    n = len(items)
    vectors = rng.normal(size=(n, 6)).astype(np.float32)
    catalog = Catalog(
        item_ids=items.ids,
        titles=items.titles,
        codes=np.stack([np.arange(n) // 8, np.arange(n) % 8], axis=1).astype(np.int32),
        sizes=(max(1, -(-n // 8)), 8),
        latents=vectors,
        reconstructed=vectors,
        codewords=[np.zeros((max(1, -(-n // 8)), 6), np.float32), np.zeros((8, 6), np.float32)],
    )
    return TrainingData(
        items,
        log,
        all_instances(log).take(np.zeros(0, int)),
        Knowledge(items, log),
        LikeCounts(items, log),
        CoDislikes(log, n),
        catalog,
        rng.normal(size=(n, 9)).astype(np.float32),
    )


def all_instances(log: Events, split: str = "test", cutoffs: list[np.datetime64] | None = None) -> Instances:
    """Every user with a dislike before one of the cuts and a dislike in its week."""
    cutoffs = cutoffs or CUTS
    pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(log, cutoff, WEEK)]
    instances = replay_pairs(log, pairs, split, WEEK, 50, 100).instances
    return instances.take(instances.next >= 0)


def write_small_run(folder: Path, items: Items, log: Events) -> tuple[Instances, Instances]:
    """The `prepare` folder of it below, and the `compress` folder of `small_known`; as `write_prepared`."""
    splits, known = write_prepared(folder / "prepare", items, log), small_known(items, log)
    assert known.catalog is not None
    assert known.embeddings is not None
    known.catalog.save(folder / "compress")
    np.save(folder / "compress" / "embeddings.npy", known.embeddings)
    return splits


def write_prepared(folder: Path, items: Items, log: Events) -> tuple[Instances, Instances]:
    """A `prepare` folder of it: validation is the first cut, test the other two; returns both splits."""
    folder.mkdir(parents=True, exist_ok=True)
    utc = pa.timestamp("us", tz="UTC")

    def moments(values: np.ndarray) -> pa.Array:
        return pa.array(values.astype("datetime64[us]")).cast(utc)

    pq.write_table(
        pa.table(
            {
                "item_id": items.ids,
                "title": items.titles,
                "category": items.categories,
                "attributes": pa.array(
                    [[("shape", f"s{n % 3}"), ("year", str(1990 + n % 9))] for n in range(len(items))],
                    pa.map_(pa.string(), pa.string()),
                ),
                "first_seen": moments(items.first_seen),
            }
        ),
        folder / "items.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "user_id": log.users.tolist(),
                "item_id": [items.ids[row] for row in log.items],
                "time": moments(log.times),
                "kind": log.kinds.tolist(),
                "value": pa.array(log.values, from_pandas=True),
                "reason": pa.nulls(len(log), pa.string()),
            }
        ),
        folder / "events.parquet",
    )
    splits = [all_instances(log, "validation", CUTS[:1]), all_instances(log, "test", CUTS[1:])]
    columns: dict[str, list] = {}
    candidates = []
    for part in splits:
        for n in range(len(part)):
            ids = {name: [items.ids[row] for row in getattr(part, name)[n]] for name in LISTS}
            times = {name: getattr(part, name)[n].tolist() for name in ("dislike_times", "positive_times")}
            row = {
                "instance_id": len(candidates),
                "split": str(part.split[n]),
                "user_id": str(part.users[n]),
                "cutoff": part.cutoffs[n].item(),
                "n_dislikes": int(part.n_dislikes[n]),
                "n_positives": int(part.n_positives[n]),
                "next": items.ids[part.next[n]],
                **ids,
                **times,
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
            others = [item for item in items.ids if item != row["next"]][n % 5 : n % 5 + 4]
            candidates.append({"instance_id": len(candidates), "candidates": [row["next"], *others]})
    types = {"cutoff": utc, "dislike_times": pa.list_(utc), "positive_times": pa.list_(utc)}
    types |= {name: pa.list_(pa.string()) for name in LISTS}
    pq.write_table(
        pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()}),
        folder / "instances.parquet",
    )
    pq.write_table(pa.Table.from_pylist(candidates), folder / "candidates.parquet")
    (folder / "split.json").write_text(
        f'{{"mode": "time", "horizon_days": 7, "validation_start": "{CUTS[0]}Z", "test_start": "{CUTS[1]}Z", '
        f'"log_end": "{log.times[-1]}Z", "fold": 0}}'
    )
    return splits[0], splits[1]


LISTS = ("dislikes", "positives", "seen", "future", "future_positives")
