"""The items of a log: its own list of them, fitted to the items that its events name."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.data.adapters.columns import mask
from conrec.data.images import Found, Pictures
from conrec.data.schema import ITEMS, Accounting, Log, check_events, check_items, first_rows
from conrec.errors import ConrecError


def make_log(
    listed: pa.Table,
    events: pa.Table,
    account: Accounting,
    listed_in: str,
    source: str,
    images: Path | None,
    keys: Callable[[str], Sequence[str]] = lambda item: (item,),
    keep_unseen: bool = False,
) -> Log:
    """The log of these events, out of `source`, and of their items, the pictures found under the `keys` of an id.

    listed, out of `listed_in`, and keep_unseen: as `fit` takes them. `account` is that of the events and perhaps of the
    items so far; it becomes that of the log.
    """
    account.items = account.items or Accounting()
    items = fit(listed, listed_in, events, account.items, keep_unseen)
    pictures = None if images is None else Pictures(images)
    items, account.images = attach(items, pictures, [keys(item) for item in items["item_id"].to_pylist()])
    return Log(check_items(items, listed_in), check_events(events, source), account.check())


def fit(table: pa.Table, source: str, events: pa.Table, account: Accounting, keep_unseen: bool = False) -> pa.Table:
    """ITEMS for every item of the events, and with `keep_unseen` the others listed as well.

    table: the columns of ITEMS that `source` has, item_id at least, in any order. Of an item that is listed twice the
    first row counts. An item that is not listed, or has no title, is called by its id. `account` becomes that of the
    items (those that only events name are read from there). A ConrecError if the list knows fewer than half of the
    items in the events: then the two files do not belong together.
    """
    first = np.zeros(table.num_rows, dtype=bool)
    first[first_rows(table["item_id"])] = True
    account.read += table.num_rows
    account.reject("listed twice", table.filter(pa.array(~first)).select(["item_id"]))
    table = table.filter(pa.array(first))

    named = pc.unique(events["item_id"])
    unlisted = named.filter(pc.invert(pc.is_in(named, table["item_id"])))
    if table.num_rows and 2 * len(unlisted) > len(named):
        raise ConrecError(
            f"{source}: lists only {len(named) - len(unlisted)} of the {len(named)} items in the events "
            f"(not {unlisted[0].as_py()!r}, for one); are these files of the same log?"
        )
    if not keep_unseen:
        seen = pc.is_in(table["item_id"], named)
        account.drop("in no event", int((~mask(seen)).sum()))
        table = table.filter(seen)
    account.read += len(unlisted)
    table = pa.concat_tables([table, pa.table({"item_id": unlisted})], promote_options="default")
    account.kept += table.num_rows
    there = {name: table[name] for name in table.column_names}
    there["title"] = pc.coalesce(there["title"], table["item_id"]) if "title" in there else table["item_id"]
    return pa.table([there.get(f.name, pa.nulls(len(table), f.type)) for f in ITEMS], schema=ITEMS)


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
