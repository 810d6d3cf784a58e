"""Writing a snapshot and putting it into use: `SnapshotWriter` for users in portions, `write_snapshot` for all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from conrec.filter import snapshot as published
from conrec.filter.id_index import IdIndexWriter
from conrec.filter.npy import NpyWriter
from conrec.filter.snapshot import Manifest
from conrec.filter.stores import StoreName, create_users, drop_users
from conrec.filter.user_store import Layout, Users
from conrec.score.factors import ItemFactors, value_record
from conrec.score.item_values import ItemValues
from conrec.score.probability import DislikeProbability


@dataclass(frozen=True)
class SnapshotItems:
    """The items' part of a snapshot; row n of everything is item n."""

    ids: Sequence[str]
    titles: Sequence[str]
    categories: Sequence[str | None]
    codes: np.ndarray
    """int [n, levels]."""
    factors: ItemFactors
    widths: tuple[int, int] = (0, 0)
    """How many dimensions of the vectors are item features, and how many after them latent factors; the rest is one
    embedding."""
    values: ItemValues | None = None
    """So that a reason can name an item's values; without them it names the score's other parts."""
    user_side: dict[str, np.ndarray] | None = None
    """So that a dislike counts at once; without it the user's side of the score waits for the next snapshot."""

    def __post_init__(self) -> None:
        factors, n = self.factors, len(self.ids)
        lengths = [len(self.titles), len(self.categories), len(self.codes), len(factors.table)]
        lengths += [] if self.values is None else [len(self.values.fields)]
        if set(lengths) != {n} or self.codes.ndim != 2:
            raise ValueError(f"an item's parts differ in length: {n} ids, {lengths}")
        embedding = factors.vectors.shape[1] - sum(self.widths)
        if embedding < 0 or (self.values is not None and self.values.space.dimensions != embedding):
            raise ValueError(f"vectors of {factors.vectors.shape[1]} dimensions cannot be split after {self.widths}")
        if not np.isfinite(factors.table).all():
            raise ValueError("an item's vector or bias is not finite")


@dataclass
class SnapshotWriter:
    """Writes one version; a context that publishes nothing unless `publish` is called."""

    snapshots: Path
    items: SnapshotItems
    predicted: int
    """Predicted dislikes of a user at most (the paper: 20)."""
    calibration: dict[str, Any] | None = None
    """Without one the snapshot has no threshold, and drops nothing unless one is given when it is used."""
    feedback: int = 0
    """The position up to which it is worked in (`filter.feedback`)."""
    made_from: dict[str, Any] | None = None
    """Notes for the job itself, ready for JSON."""
    store: StoreName = "mapped"
    """Where the users go."""
    probability: DislikeProbability | None = None
    """What turns the score into probabilities; without it nothing is demoted."""

    def __enter__(self) -> SnapshotWriter:
        """ConrecError where another job writes into the same snapshots."""
        with ExitStack() as stack:
            stack.enter_context(published.writing(self.snapshots))
            self.version = published.new_version(self.snapshots)
            self._folder = published.partial(self.snapshots, self.version)
            self._folder.mkdir()
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._entries = 0
            self._layout = Layout(self.predicted, self.items.factors.vectors.shape[1])
            self._users, self._about = create_users(self.store, self._folder, self._layout, len(self.items.ids))
            self._leave = stack.pop_all()
        return self

    def add(self, users: Users) -> None:
        """ConrecError for an id that is empty or too long, ValueError for arrays that do not fit."""
        self._users.add(users)
        self._entries += len(users)

    def add_histories(self, ids: Sequence[str], histories: Sequence[bytes]) -> None:
        """Users of whom a history (`History.packed`) is known and nothing is predicted; after all others."""
        self._users.add_histories(ids, histories)
        self._entries += len(ids)

    def publish(self, keep: int = 3, alarm: Callable[[Path], str | None] | None = None) -> str:
        """Put the version into use, unless `alarm` says of its folder why it is to be held, and delete all but the
        newest `keep` and the one in use; its name."""
        if keep < 1:
            raise ValueError("keep at least one version")
        self._write_items()
        count = self._users.finish()
        manifest = Manifest(
            version=self.version,
            score={"widths": self.items.widths, "probability": self.probability and asdict(self.probability)},
            items=len(self.items.ids),
            users={**self._about, "count": count, "entries": self._entries, "layout": asdict(self._layout)},
            feedback=self.feedback,
            made_from=self.made_from or {},
            files=published.describe_files(self._folder),
        )
        published.put_in_place(self.snapshots, manifest)
        if why := alarm and alarm(self.snapshots / self.version):
            published.hold(self.snapshots, self.version, why)
        else:
            published.use(self.snapshots, self.version)
        for old in published.versions(self.snapshots)[:-keep]:
            if old != published.current(self.snapshots):
                manifest = published.read_manifest(self.snapshots / old)
                published.remove(self.snapshots, old)
                drop_users(manifest)
        return self.version

    def _write_items(self) -> None:
        items, folder = self.items, self._folder
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
        if items.values is not None:
            (folder / "values").mkdir()
            writer = NpyWriter(folder / "values" / "records.npy", value_record(items.values.space.dimensions))
            for portion in items.values.portions():
                writer.append(portion)
            writer.close()
            names = pa.table({"name": pa.array(items.values.names, pa.string())})
            pq.write_table(names, folder / "values" / "names.parquet")
        if items.user_side is not None:
            save_file(items.user_side, folder / "user_side.safetensors")
        if self.calibration is not None:
            (folder / "calibration.json").write_text(json.dumps(self.calibration, indent=1, allow_nan=False))

    def __exit__(self, *error: object) -> None:
        self._leave.close()


def write_snapshot(snapshots: Path, items: SnapshotItems, users: Users, *more: Any, keep: int = 3, **named: Any) -> str:
    """Write a version with these users and put it into use; its name. `SnapshotWriter` gets calibration and what
    follows it."""
    with SnapshotWriter(snapshots, items, users.predicted.shape[1], *more, **named) as writer:
        writer.add(users)
        return writer.publish(keep)
