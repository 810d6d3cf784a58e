"""Dislikes avoided by every filter, with intervals, for a seed or for several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.exposures import DISLIKED, NEUTRAL, Replay
from conrec.evaluate.avoided import dislikes_avoided
from conrec.evaluate.protocol import OURS, is_ours

BAND = tuple(n / 200 for n in range(1, 21))
"""Shares of likes lost at which CoNRec's curve gets its interval: every half percent up to a tenth."""
BAND_DRAWS = 300


def compared(replay: Replay, scores: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    """Of everything shown: `avoided_at` by system, `comparisons` of CoNRec with each other, and CoNRec's `band`.

    scores: system -> for each of its seeds float [n], aligned with what was shown.
    """
    users = replay.instances.users[replay.shown.owners]
    return _compared(users, replay.labels.values, scores)


def pooled(filtered: Sequence[Path], split: str) -> dict[str, Any]:
    """The same from the `scores.parquet` of several seeds' `filter` folders, which hold the same exposures.

    Systems without a seed are in each of them alike and count once; CoNRec and its parts count with their mean.
    """
    tables = [pq.read_table(folder / "scores.parquet") for folder in filtered]
    tables = [table.filter(pc.equal(table["split"], split)) for table in tables]
    first = tables[0]
    systems = first.column_names[first.column_names.index("label") + 1 :]
    scores = {
        name: [
            table[name].to_numpy() for table in (tables if is_ours(name) else tables[:1]) if name in table.column_names
        ]
        for name in systems
    }
    return _compared(first["user_id"].to_numpy().astype(str), first["label"].to_numpy(), scores)


def _compared(users: np.ndarray, labels: np.ndarray, scores: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    signed = np.flatnonzero(labels != NEUTRAL)
    users, disliked = users[signed], labels[signed] == DISLIKED
    scores = {name: [one[signed] for one in seeds] for name, seeds in scores.items()}
    found = dislikes_avoided(users, disliked, scores)
    if found is None:
        return {"avoided_at": {}, "comparisons": {}, "band": None}
    others = [name for name in scores if name != OURS]
    band = dislikes_avoided(users, disliked, {OURS: scores[OURS]}, BAND, BAND_DRAWS)
    assert band is not None
    points = list(band.of(OURS).values())
    return {
        "avoided_at": {name: found.of(name) for name in scores},
        "comparisons": {name: found.difference(OURS, name) for name in others},
        "band": {
            "likes_lost": list(BAND),
            "dislikes_avoided": [point["mean"] for point in points],
            "low": [point["ci95"][0] for point in points],
            "high": [point["ci95"][1] for point in points],
        },
    }
