"""Dislikes avoided by every filter, with intervals, for a seed or for several together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq

from conrec.data.exposures import DISLIKED, NEUTRAL
from conrec.evaluate import results
from conrec.evaluate.avoided import dislikes_avoided
from conrec.evaluate.protocol import OURS, is_ours
from conrec.evaluate.results import Band, FilterComparison, FilterFigures, FilterMetrics, FilterReplay, SeedReplay

BAND = tuple(n / 200 for n in range(1, 21))
"""Shares of likes lost at which CoNRec's curve gets its interval: every half percent up to a tenth."""
BAND_DRAWS = 300


def filter_metrics(filtered: list[Path]) -> FilterMetrics | None:
    """The filter replay on test, seeds pooled; None without one."""
    filtered = [folder for folder in filtered if (folder / "replay.json").is_file()]
    if not filtered:
        return None
    replays = [results.read(folder / "replay.json", FilterReplay) for folder in filtered]
    first, conrec = replays[0].test, [replay.test.systems[OURS] for replay in replays]
    mean = msgspec.convert(_mean([msgspec.to_builtins(one) for one in conrec]), FilterFigures)
    shared = msgspec.structs.asdict(first) | {"systems": {**first.systems, OURS: mean}}
    if len(filtered) > 1:
        shared["comparison"] = pooled(filtered, "test")
    seeds = [SeedReplay(one.seed, one.threshold, own.auc, own.avoided_at) for one, own in zip(replays, conrec)]
    return FilterMetrics(**shared, likes_lost_budget=replays[0].likes_lost_budget, seeds=seeds)


def pooled(filtered: Sequence[Path], split: str) -> FilterComparison:
    """Dislikes avoided by every filter, all seeds together.

    filtered: `filter/seedN` folders, whose `scores.parquet` hold the same exposures. Systems without a seed are in
    each of them alike and count once; CoNRec and its parts count with their mean.
    """
    tables = [pq.read_table(folder / "scores.parquet", filters=[("split", "=", split)]) for folder in filtered]
    first = tables[0]
    systems = first.column_names[first.column_names.index("label") + 1 :]
    of_seeds = {name: tables if is_ours(name) else tables[:1] for name in systems}
    scores = {name: [one[name].to_numpy() for one in of_seeds[name] if name in one.column_names] for name in systems}
    return compared(first["user_id"].to_numpy().astype(str), first["label"].to_numpy(), scores)


def compared(users: np.ndarray, labels: np.ndarray, scores: Mapping[str, Sequence[np.ndarray]]) -> FilterComparison:
    """Dislikes avoided by every filter on some exposures.

    users: [n], who saw it; labels: int8 [n]; scores: system -> for each of its seeds float [n].
    """
    signed = np.flatnonzero(labels != NEUTRAL)
    users, disliked = users[signed], labels[signed] == DISLIKED
    scores = {name: [one[signed] for one in seeds] for name, seeds in scores.items()}
    found = dislikes_avoided(users, disliked, scores)
    if found is None:
        return FilterComparison({}, {}, None)
    others = [name for name in scores if name != OURS]
    band = dislikes_avoided(users, disliked, {OURS: scores[OURS]}, BAND, BAND_DRAWS)
    assert band is not None
    points = list(band.of(OURS).values())
    means, lows, highs = zip(*((point.mean, *point.ci95) for point in points))
    return FilterComparison(
        avoided={name: found.of(name) for name in scores},
        differences={name: found.difference(OURS, name) for name in others},
        band=Band(list(BAND), list(means), list(lows), list(highs)),
    )


def _mean(values: list[Any]) -> Any:
    """Means of numbers, and of dicts of numbers key by key; of all else (lists, None) the first value."""
    if all(isinstance(value, dict) for value in values):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    if all(isinstance(value, int | float) for value in values):
        return sum(values) / len(values) if len(set(values)) > 1 else values[0]
    return values[0]
