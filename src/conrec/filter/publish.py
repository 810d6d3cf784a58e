"""Writing a snapshot and putting it into use: `SnapshotWriter` for users in portions, `write_snapshot` for all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.id_index import IdIndexWriter
from conrec.filter.snapshot import Manifest
from conrec.filter.stores import StoreName, create_users, drop_users
from conrec.filter.user_store import Layout, Users
from conrec.score.factors import ItemFactors


@dataclass(frozen=True)
class SnapshotItems:
    """The items' part of a snapshot; row n of everything is item n."""

    ids: Sequence[str]
    titles: Sequence[str]
    categories: Sequence[str | None]
    codes: np.ndarray
    """int [n, levels]."""
    factors: ItemFactors

    def __post_init__(self) -> None:
        factors, n = self.factors, len(self.ids)
        lengths = [len(self.titles), len(self.categories)]
        lengths += [len(array) for array in (self.codes, factors.table)]
        if set(lengths) != {n} or self.codes.ndim != 2:
            raise ValueError(f"an item's parts differ in length: {n} ids, {lengths}")
        if not np.isfinite(factors.table).all():
            raise ValueError("an item's vector or bias is not finite")


class SnapshotWriter:
    """Writes one version; a context that publishes nothing unless `publish` is called.

    Example:
        with SnapshotWriter(snapshots, items, layout, "history", 0.7, calibration) as writer:
            for users in portions:
                writer.add(users)
            version = writer.publish()
    """

    def __init__(
        self,
        snapshots: Path,
        items: SnapshotItems,
        layout: Layout,
        score: str,
        cosine_weight: float,
        calibration: dict[str, Any] | None = None,
        undos: int = 0,
        made_from: dict[str, Any] | None = None,
        store: StoreName = "mapped",
    ) -> None:
        """`undos`: how many lines of them are worked in; `made_from`: notes for the job itself, ready for JSON;
        `store`: where the users go.

        Without a calibration the snapshot has no threshold, and drops nothing unless one is given when it is used.
        """
        if calibration is not None and calibration["score"] != score:
            raise ConrecError(
                f"calibrated for the score {calibration['score']}, but the score is {score}; run conrec calibrate again"
            )
        self._snapshots, self._items, self._layout = snapshots, items, layout
        self._score = {"name": score, "cosine_weight": float(cosine_weight)}
        self._calibration, self._undos, self._made_from = calibration, undos, made_from or {}
        self._store = store
        if items.factors.vectors.shape[1] != layout.dimensions:
            raise ValueError(
                f"items' vectors have {items.factors.vectors.shape[1]} dimensions, users' {layout.dimensions}"
            )

    def __enter__(self) -> SnapshotWriter:
        """ConrecError where another job writes into the same snapshots."""
        with ExitStack() as stack:
            stack.enter_context(published.writing(self._snapshots))
            self.version = published.new_version(self._snapshots)
            self._folder = published.partial(self._snapshots, self.version)
            self._folder.mkdir()
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._users, self._about = create_users(self._store, self._folder, self._layout, len(self._items.ids))
            self._leave = stack.pop_all()
        return self

    def add(self, users: Users) -> None:
        """ConrecError for an id that is empty or too long, ValueError for arrays that do not fit."""
        self._users.add(users)

    def publish(self, keep: int = 3) -> str:
        """Put the version into use and delete all but the newest `keep` and the one in use; its name."""
        if keep < 1:
            raise ValueError("keep at least one version")
        self._write_items()
        count = self._users.finish()
        manifest = Manifest(
            version=self.version,
            score=self._score,
            items=len(self._items.ids),
            users={**self._about, "count": count, "layout": asdict(self._layout)},
            undos=self._undos,
            made_from=self._made_from,
            files=published.describe_files(self._folder),
        )
        published.put_in_place(self._snapshots, manifest)
        published.use(self._snapshots, self.version)
        for old in published.versions(self._snapshots)[:-keep]:
            manifest = published.read_manifest(self._snapshots / old)
            published.remove(self._snapshots, old)
            drop_users(manifest)
        return self.version

    def _write_items(self) -> None:
        items, folder = self._items, self._folder
        index = IdIndexWriter(folder / "items")
        index.add(items.ids)
        index.finish()
        columns = {
            "item_id": pa.array(items.ids, pa.string()),
            "title": pa.array(items.titles, pa.string()),
            "category": pa.array(items.categories, pa.string()),
            "codes": pa.array(list(items.codes.astype(np.int32)), pa.list_(pa.int32())),
        }
        pq.write_table(pa.table(columns), folder / "items.parquet")
        np.save(folder / "item_factors.npy", np.ascontiguousarray(items.factors.table))
        if self._calibration is not None:
            (folder / "calibration.json").write_text(json.dumps(self._calibration, indent=1, allow_nan=False))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave.close()


def write_snapshot(
    snapshots: Path,
    items: SnapshotItems,
    users: Users,
    score: str,
    cosine_weight: float,
    calibration: dict[str, Any] | None = None,
    keep: int = 3,
    undos: int = 0,
    made_from: dict[str, Any] | None = None,
    store: StoreName = "mapped",
) -> str:
    """Write a version with these users and put it into use; its name. See `SnapshotWriter`."""
    layout = Layout(
        users.predicted.shape[1], users.dislikes.shape[1], users.liked.shape[1], items.factors.vectors.shape[1]
    )
    with SnapshotWriter(snapshots, items, layout, score, cosine_weight, calibration, undos, made_from, store) as writer:
        writer.add(users)
        return writer.publish(keep)
