"""What the page shows of a snapshot and of the run behind it; opened when somebody looks, once a snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from conrec.filter.filter import OpenSnapshot
from conrec.filter.npy import map_npy
from conrec.filter.views import ItemView
from conrec.run import open_run
from conrec.serve.exposures import SHOWN, Exposures, sample, trade_off
from conrec.serve.pictures import Pictures
from conrec.serve.schema import Branch, Shown, ShownList
from conrec.serve.tree import Tree
from conrec.serve.web import where

SUGGESTED = 12
AT_ONCE = 100_000
"""Ids that are looked at together: requests must not wait long for the interpreter."""

log = logging.getLogger("conrec.serve")


class Explorers:
    """The Explorer of the snapshot in use.

    Opening one takes the interpreter from the ranker's requests for milliseconds at a time, so a change of snapshots
    does not do it: the next person who looks at the page waits for it.
    """

    def __init__(self, snapshots: Path, run: Path | None, aside: Executor) -> None:
        """`aside`: where it is opened."""
        self._snapshots, self._run, self._aside = snapshots, run, aside
        self._opening = asyncio.Lock()
        self._tried: str | None = None
        self._explorer: Explorer | None = None

    async def of(self, opened: OpenSnapshot) -> Explorer | None:
        """The Explorer of this snapshot; the last one where it cannot be shown (the log says why), None without any."""
        async with self._opening:
            if self._tried != opened.manifest.version:
                self._tried = opened.manifest.version
                loop = asyncio.get_running_loop()
                try:
                    self._explorer = await loop.run_in_executor(
                        self._aside, Explorer, opened, self._snapshots, self._run
                    )
                except Exception as error:
                    log.error("the page cannot show snapshot %s: %s", self._tried, where(error))
            return self._explorer


class Explorer:
    """One snapshot, and one run or none."""

    def __init__(self, opened: OpenSnapshot, snapshots: Path, run: Path | None) -> None:
        """`opened` is a version in the folder `snapshots`; ConrecError for a run that cannot be read."""
        self._snapshot, self._users = opened, snapshots / opened.manifest.version / "users"
        self.manifest, self.calibration = opened.manifest, opened.calibration
        self.pictures: Pictures | None = None
        self.trade_off: dict[str, Any] | None = None
        self._exposures: Exposures | None = None
        if run is not None:
            seed = self.manifest.made_from.get("seed", open_run(run)[0].seeds[0])
            deltas = [snapshots / "live" / name for name in self.manifest.made_from.get("deltas", [])]
            self.pictures = Pictures([folder / "items.parquet" for folder in (run / "prepare", *deltas)])
            self.trade_off = trade_off(run, seed)
            self._exposures = Exposures(run, seed)
        pictured = self.pictures.named(opened.index) if self.pictures is not None else None
        self.tree = Tree(opened.codes, opened.titles, opened.categories, pictured, opened.index.id)

    def users(self, text: str) -> list[str]:
        """Users to suggest: whose id begins with the text; without a text those with something to show."""
        first = self._exposures.users() if self._exposures is not None else []
        if not text and first:
            return first[:SUGGESTED]
        if not (self._users / "blob.npy").exists():  # a store that cannot be searched
            return [user for user in first if user.startswith(text)][:SUGGESTED]
        return starting_with(self._users, text, SUGGESTED)

    def candidates(self, user: str) -> ShownList:
        shown = self._exposures.of(user) if self._exposures is not None else None
        ids, outcomes, since, until = shown or (sample(self._snapshot.index, user), [None] * SHOWN, None, None)
        rows = self._snapshot.index.rows(ids).tolist()
        items = [
            Shown(**vars(self._snapshot.view(row)), outcome=outcome) for row, outcome in zip(rows, outcomes) if row >= 0
        ]
        # In times of one zone and form (UTC, ISO) the order of texts is that of moments.
        known = since is not None and since < str(self.manifest.made_from.get("cutoff", ""))[:10]
        return ShownList("shown" if shown else "sample", since, until, known, items)

    def search(self, text: str) -> list[ItemView]:
        return self._views(self.tree.search(text, SUGGESTED))

    def branch(self, prefix: list[int]) -> Branch:
        if len(prefix) >= self.tree.levels - 1:
            return Branch([], self._views(self.tree.rows(prefix).tolist()))
        return Branch(self.tree.children(prefix), [])

    def _views(self, rows: Iterable[int]) -> list[ItemView]:
        return [self._snapshot.view(row) for row in rows]


def starting_with(folder: Path, prefix: str, limit: int) -> list[str]:
    """At most `limit` ids of an id index (`filter.id_index`) that begin with `prefix`, in order of their rows; of ten
    million in half a second."""
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
