"""The items of a log: its own list of them, fitted to the items that its events name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.data.adapters.columns import mask
from conrec.data.images import Found, Pictures
from conrec.data.schema import ITEMS, TIME, Accounting, Log, check_events, check_items
from conrec.errors import ConrecError


@dataclass
class ItemList:
    """Items as the log lists them, in any order; columns without a value are null."""

    source: str
    item_id: pa.ChunkedArray
    title: pa.ChunkedArray
    category: pa.ChunkedArray
    attributes: pa.MapArray
    first_seen: pa.ChunkedArray | None = None
    text: pa.ChunkedArray | None = None


def make_log(
    listed: ItemList,
    events: pa.Table,
    account: Accounting,
    source: str,
    images: Path | None,
    keys: Callable[[str], Sequence[str]] = lambda item: (item,),
) -> Log:
    """The log of these events, out of `source`, and of their items, the pictures found under the `keys` of an id.

    `account` is that of the events and perhaps of the items so far; it becomes that of the log.
    """
    account.items = account.items or Accounting()
    items = fit(listed, events, account.items)
    pictures = None if images is None else Pictures(images)
    items, account.images = attach(items, pictures, [keys(item) for item in items["item_id"].to_pylist()])
    return Log(check_items(items, listed.source), check_events(events, source), account.check())


def fit(listed: ItemList, events: pa.Table, account: Accounting, keep_unseen: bool = False) -> pa.Table:
    """ITEMS (pictures empty) for every item of the events, and with `keep_unseen` the others listed as well.

    Of an item that is listed twice the first row counts. An item that is not listed, or has no title, is called by
    its id. `account` becomes that of the items (those that only events name are read from there). A ConrecError if
    the list knows fewer than half of the items in the events: then the two files do not belong together.
    """
    first_seen = pa.nulls(len(listed.item_id), TIME) if listed.first_seen is None else listed.first_seen
    text = pa.nulls(len(listed.item_id), pa.string()) if listed.text is None else listed.text
    columns = [listed.item_id, listed.title, listed.category, listed.attributes, first_seen, text]
    table = pa.table(columns, names=["item_id", "title", "category", "attributes", "first_seen", "text"])
    first = np.zeros(table.num_rows, dtype=bool)
    first[np.unique(pc.dictionary_encode(table["item_id"]).combine_chunks().indices, return_index=True)[1]] = True
    account.read += table.num_rows
    account.reject("listed twice", table.filter(pa.array(~first)).select(["item_id"]))
    table = table.filter(pa.array(first))

    named = pc.unique(events["item_id"])
    unlisted = named.filter(pc.invert(pc.is_in(named, table["item_id"])))
    if table.num_rows and 2 * len(unlisted) > len(named):
        raise ConrecError(
            f"{listed.source}: lists only {len(named) - len(unlisted)} of the {len(named)} items in the events "
            f"(not {unlisted[0].as_py()!r}, for one); are these files of the same log?"
        )
    if not keep_unseen:
        seen = pc.is_in(table["item_id"], named)
        account.drop("in no event", int((~mask(seen)).sum()))
        table = table.filter(seen)
    account.read += len(unlisted)
    table = pa.concat_tables([table, pa.table({"item_id": unlisted})], promote_options="default")
    account.kept += table.num_rows
    return pa.table(
        {
            "item_id": table["item_id"],
            "title": pc.coalesce(table["title"], table["item_id"]),
            "image": pa.nulls(table.num_rows, pa.string()),
            "image_bytes": pa.nulls(table.num_rows, pa.large_binary()),
            "category": table["category"],
            "attributes": table["attributes"],
            "first_seen": table["first_seen"],
            "text": table["text"],
        },
        schema=ITEMS,
    )


def attach(items: pa.Table, pictures: Pictures | None, keys: Sequence[Sequence[str]]) -> tuple[pa.Table, Accounting]:
    """ITEMS with the picture of each item, found under the first of its keys that has one, and the account of it."""
    if pictures is None:
        return items, Accounting(items.num_rows, 0, Counter({"no pictures given": items.num_rows}))
    return with_pictures(items, [pictures.find(candidates) for candidates in keys])


def with_pictures(items: pa.Table, found: Sequence[Found]) -> tuple[pa.Table, Accounting]:
    """ITEMS with one found (or not found) picture each, and the account of them."""
    causes = Counter(picture.cause for picture in found if picture.cause is not None)
    account = Accounting(items.num_rows, items.num_rows - causes.total(), causes)
    files = pa.array([picture.file for picture in found], pa.string())
    contents = pa.array([picture.content for picture in found], pa.large_binary())
    items = items.set_column(2, ITEMS.field("image"), files)
    return items.set_column(3, ITEMS.field("image_bytes"), contents), account


def attributes(columns: dict[str, pa.ChunkedArray]) -> pa.MapArray:
    """map<str, str> [rows] of the named text columns, nulls left out."""
    cells = np.array([column.to_pylist() for column in columns.values()], dtype=object).T
    there = np.not_equal(cells, np.array(None, dtype=object))
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    names = np.broadcast_to(np.array(list(columns), dtype=object), cells.shape)
    keys, values = pa.array(names[there], pa.string()), pa.array(cells[there], pa.string())
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)
