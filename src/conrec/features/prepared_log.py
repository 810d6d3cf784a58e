"""The log of a run as its `prepare` and `compress` folders hold it, each part read once."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.config import SplitConfig
from conrec.data.exposures import Replay, make_replay
from conrec.data.instances import Events, Instances, Items, as_items, read_events, read_instances
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split, TimeSplit, UserSplit
from conrec.features.log_view import LogView
from conrec.items.fields import fields_of
from conrec.items.swing import read_swing
from conrec.items.traits import joined, read_traits
from conrec.items.vectors import unit_rows
from conrec.sid.catalog import Catalog


class PreparedLog:
    """What the stages read. A part is read from its file when it is first asked for, and then kept.

    The stages of a run share one, so that the log is parsed once. What `compress` writes can be asked for once that
    stage has run. Every part raises ConrecError or OSError where its file is missing or cannot be read.
    """

    def __init__(self, prepared: Path, compressed: Path) -> None:
        """The folders of `prepare` and `compress`; nothing is read yet."""
        self.prepared, self.compressed = prepared, compressed

    @cached_property
    def item_table(self) -> pa.Table:
        """The table ITEMS (data.schema); its rows are items everywhere."""
        return pq.read_table(self.prepared / "items.parquet")

    @cached_property
    def items(self) -> Items:
        return as_items(self.item_table)

    @cached_property
    def events(self) -> Events:
        """The cleaned log, sorted by time."""
        return read_events(self.prepared, self.items)

    @cached_property
    def instances(self) -> Instances:
        """All instances, sorted by id."""
        return read_instances(self.prepared, self.items)

    @cached_property
    def split(self) -> TimeSplit | UserSplit:
        return Split.read(self.prepared)

    @cached_property
    def knowledge(self) -> Knowledge:
        """What is known on a day: items on offer, counts of dislikes."""
        return self.split.knowledge(self.items, self.events)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog.load(self.compressed)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """float32 [n_items, D]: the items' content embeddings, as the quantiser was given them."""
        return np.asarray(np.load(self.compressed / "embeddings.npy", allow_pickle=False))

    @cached_property
    def neighbours(self) -> np.ndarray:
        """int32 [n_items, n]: Swing neighbours, best first, -1 for none."""
        return read_swing(self.compressed, self.items.ids)

    @cached_property
    def view(self) -> LogView:
        """The log and the catalogue together, as scores and features read them."""
        traits = read_traits(self.compressed, len(self.items))
        fields = joined(fields_of(self.item_table, containers=self.split.by_category), traits)
        content, users = unit_rows(self.embeddings), self.split.train_users
        return LogView(self.items, self.events, self.catalog, content, fields, users)

    def replay(self, name: str, config: SplitConfig) -> Replay:
        """The filter replay of validation or test."""
        return make_replay(self.events, self.instances, self.split, name, config)
