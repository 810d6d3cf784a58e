"""What a user was really shown, from a run's replay: candidates that the page can judge the filter by."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import to_builtins

from conrec.data.exposures import DISLIKED, LIKED
from conrec.evaluate.protocol import OURS
from conrec.evaluate.results import FilterReplay, read
from conrec.files import read_json
from conrec.filter.id_index import IdIndex

SHOWN = 120
"""Candidates at most."""
OUTCOMES = {DISLIKED: "disliked", LIKED: "liked"}


class Exposures:
    """The latest held-out window of every user of a run."""

    def __init__(self, run: Path, seed: int) -> None:
        """Reads `filter/seedN/scores.parquet` (if it is there) and `prepare/split.json`."""
        prepared = run / "prepare"
        split = read_json(prepared / "split.json")
        self._horizon = np.timedelta64(int(split.get("horizon_days", 7)), "D")
        self._end = np.datetime64(split["log_end"][:10]) if split.get("log_end") else np.datetime64("9999-12-31")
        self._users: dict[str, tuple[int, int]] = {}
        scores = run / "filter" / f"seed{seed}" / "scores.parquet"
        if not scores.is_file():
            return
        # Of every user's latest window the test rows, validation's where there is no test.
        table = pq.read_table(scores, columns=["split", "user_id", "cutoff", "item_id", "label"])
        for name in ("test", "validation"):
            part = table.filter(pc.equal(table["split"], name))
            if part.num_rows:
                break
        users = part["user_id"].combine_chunks().dictionary_encode()
        self._items = part["item_id"].combine_chunks().dictionary_encode()
        self._labels = part["label"].to_numpy()
        self._cutoffs = part["cutoff"].cast(pa.timestamp("us")).to_numpy()
        codes = users.indices.to_numpy()
        latest = np.full(len(users.dictionary), np.datetime64("0001-01-01", "us"))
        np.maximum.at(latest, codes, self._cutoffs)
        rows = np.flatnonzero(self._cutoffs == latest[codes])
        self._rows = rows[np.argsort(codes[rows], kind="stable")]
        bounds = np.searchsorted(codes[self._rows], np.arange(len(latest) + 1)).tolist()
        self._users = dict(zip(users.dictionary.to_pylist(), itertools.pairwise(bounds)))

    def users(self) -> list[str]:
        """Users with a window, those with the most dislikes in it first."""
        if not self._users:
            return []
        hits = np.concatenate([[0], np.cumsum(self._labels[self._rows] == DISLIKED)])
        return sorted(self._users, key=lambda user: (-(hits[self._users[user][1]] - hits[self._users[user][0]]), user))

    def of(self, user: str) -> tuple[list[str], list[str | None], str, str] | None:
        """What the user was shown in the latest window, what came of each (disliked, liked or None), and its first and
        last day (ISO); None where that is not known."""
        if user not in self._users:
            return None
        start, stop = self._users[user]
        rows = self._rows[start:stop][:SHOWN]
        cutoff = self._cutoffs[rows[0]]
        return (
            self._items.take(pa.array(rows)).to_pylist(),
            [OUTCOMES.get(label) for label in self._labels[rows].tolist()],
            str(cutoff.astype("datetime64[D]")),
            str(min((cutoff + self._horizon).astype("datetime64[D]") - 1, self._end)),
        )


def sample(items: IdIndex, user: str) -> list[str]:
    """A random sample of the items, the same for a user every time."""
    rng = np.random.default_rng(list(user.encode()))
    chosen = rng.permutation(len(items))[: SHOWN // 2]
    return [items.id(row) for row in chosen.tolist()]


def trade_off(run: Path, seed: int) -> dict[str, Any] | None:
    """What each threshold avoids and costs on the run's test windows (`filter/seedN/replay.json`).

    Returns {"split", "events", "rate_before", "threshold": chosen on validation, "curve": lists by name}, or None
    where nothing was measured.
    """
    folder = run / "filter" / f"seed{seed}"
    if not (folder / "replay.json").is_file():
        return None
    replay = read(folder / "replay.json", FilterReplay)
    for split, part in (("test", replay.test), ("validation", replay.validation)):
        system = part.systems[OURS]
        if system.curve is not None:
            threshold, curve = system.chosen and system.chosen.threshold, to_builtins(system.curve)
            told = {"split": split, "events": system.exposures, "rate_before": system.rate_before}
            return told | {"threshold": threshold, "curve": curve}
    return None
