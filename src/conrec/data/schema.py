"""The two tables every log becomes, and the account of every row on the way there.

An adapter turns a log into a `Log`; from then on nobody asks where it came from. Types are strict: what has
the wrong type, a missing id or an unknown kind is named with its file and row instead of being guessed at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.errors import ConrecError

TIME = pa.timestamp("us", tz="UTC")

EMPTY = "is empty; fill it or drop the row"
SEPARATOR = re.compile(r"\s*[|>;,/]\s*")
"""What separates the parts of a category or an attribute ("shoes > sneakers", "Comedy|Drama")."""
MAX_ID_BYTES = 511
"""The longest id, in UTF-8; every store keeps to it, so that all behave alike."""

KINDS = ("dislike", "exposure", "click", "favorite", "cart", "purchase", "undo")
"""An `undo` takes the user's dislikes of the item up to then back. A cleaned log has none."""
POSITIVE_KINDS = ("click", "favorite", "cart", "purchase")

INTEREST_REASONS = ("not_this_product", "not_this_category", "not_this_store", "image_uncomfortable")
"""Reasons that say something about the user's interest; a dislike without a reason counts as one."""
OTHER_REASONS = ("seen_or_bought", "ai_generated_image", "bait_price", "counterfeit")
"""Reasons that say something about the platform or the seller."""
REASONS = INTEREST_REASONS + OTHER_REASONS

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("image", pa.string()),
        pa.field("image_bytes", pa.large_binary()),
        pa.field("category", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("first_seen", TIME),
        pa.field("text", pa.string()),
    ]
)
"""One row an item. A picture is either a file (`image`: its path, absolute or relative to the run's
`prepare` folder) or the encoded picture itself (`image_bytes`, for one out of an archive); both null: none.
`first_seen` is when the platform listed the item, where the log knows it. `text` says more than the title: a
description, or what a film is about."""

EVENTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),
    ]
)
"""One row an event, in any order. `kind` is one of KINDS, `reason` one of REASONS (dislikes only) or null,
`value` the rating in the data's own scale where there is one."""


@dataclass
class Accounting:
    """Where every row went: `read == kept + sum(dropped.values())`, with a cause for each that is gone.

    The account itself is the events'; `items` and `images` are those of the catalogue's rows and pictures.
    """

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    items: Accounting | None = None
    images: Accounting | None = None
    rejected: list[pa.Table] = field(default_factory=list)
    """What is known of dropped rows: `cause`, and as far as there are `file`, `row` (from 1, without the header), and
    the columns of EVENTS."""

    def reject(self, cause: str, rows: pa.Table) -> None:
        """Drop these rows under a cause, and keep what is known of them."""
        self.drop(cause, len(rows))
        self.rejected.append(rows.append_column("cause", pa.array([cause] * len(rows), pa.string())))

    def drop(self, cause: str, rows: int = 1) -> None:
        """Add dropped rows under a cause; nothing is noted for no rows."""
        if rows:
            self.dropped[cause] += rows

    def check(self) -> Accounting:
        """Itself, or an AssertionError: rows that vanish without a cause are a bug of ours."""
        lost = self.read - self.kept - self.dropped.total()
        assert lost == 0, f"{lost} rows unaccounted for: read {self.read}, kept {self.kept}, {dict(self.dropped)}"
        for part in (self.items, self.images):
            if part is not None:
                part.check()
        return self

    def then(self, later: Accounting) -> Accounting:
        """The account of both steps, where the later one read what this one kept."""
        assert self.kept == later.read, f"{self.kept} rows were handed on but {later.read} were read"
        parts = (self.items, later.items), (self.images, later.images)
        items, images = (first.then(second) if first and second else first or second for first, second in parts)
        dropped, rejected = self.dropped + later.dropped, self.rejected + later.rejected
        return Accounting(self.read, later.kept, dropped, items, images, rejected)

    @staticmethod
    def together(parts: Iterable[Accounting]) -> Accounting:
        """The account of steps that read different rows, of which none has items or images."""
        whole = Accounting()
        for part in parts:
            whole.read += part.read
            whole.kept += part.kept
            whole.dropped += part.dropped
            whole.rejected += part.rejected
        return whole

    def all_rejected(self) -> pa.Table:
        """`rejected` as one table, with that of the items."""
        none = pa.table({"cause": pa.array([], pa.string())})
        of_items = self.items.rejected if self.items else []
        whole = pa.concat_tables([none, *self.rejected, *of_items], promote_options="default")
        return pa.table(whole.columns, names=whole.column_names)  # any column may be null here

    def to_json(self) -> dict[str, Any]:
        """As plain numbers, causes sorted by how many rows they took."""
        dropped = dict(sorted(self.dropped.items(), key=lambda pair: (-pair[1], pair[0])))
        parts = {"items": self.items, "images": self.images}
        of_parts = {name: part.to_json() for name, part in parts.items() if part is not None}
        return {"read": self.read, "kept": self.kept, "dropped": dropped} | of_parts


@dataclass
class Log:
    """What an adapter (or the simulator) returns: ITEMS, EVENTS, and what it dropped while parsing."""

    items: pa.Table
    events: pa.Table
    accounting: Accounting

    def with_users(self, known_as: Callable[[str], str]) -> Log:
        """The log with other names of users. Of rows that could not be read the cause and the place stay, not what
        they say."""

        def renamed(table: pa.Table) -> pa.Table:
            table = table.select([name for name in table.column_names if name != "values"])
            if (column := table.schema.get_field_index("user_id")) < 0:
                return table
            ids = table["user_id"].combine_chunks().dictionary_encode()
            names = pa.array([known_as(one) for one in ids.dictionary.to_pylist()], pa.string())
            return table.set_column(column, table.schema.field(column), names.take(ids.indices))

        for account in (self.accounting, self.accounting.items):
            if account is not None:
                account.rejected = [renamed(table) for table in account.rejected]
        return Log(self.items, renamed(self.events), self.accounting)


def check_items(table: pa.Table, source: str) -> pa.Table:
    """The table in exactly the schema ITEMS, or a ConrecError naming `source`, column and first bad row.

    Rows are counted from 1. Encodings of one type (large strings, dictionaries) are unified, nothing else.
    """
    table = _typed(table, ITEMS, source)
    _refuse(pc.equal(table["item_id"], ""), table, "item_id", source, EMPTY)
    for row in np.setdiff1d(np.arange(len(table)), first_rows(table["item_id"])).tolist():
        raise ConrecError(f"{source}: row {row + 1}: item_id {table['item_id'][row].as_py()!r} occurs twice; keep one")
    return table


def check_events(table: pa.Table, source: str) -> pa.Table:
    """The table in exactly the schema EVENTS, or a ConrecError naming source, column and first bad row."""
    table = _typed(table, EVENTS, source)
    for name in ("user_id", "item_id"):
        _refuse(pc.equal(table[name], ""), table, name, source, EMPTY)
    _known(table, "kind", KINDS, source)
    _known(table, "reason", REASONS, source)
    stray = pc.and_(pc.is_valid(table["reason"]), pc.not_equal(table["kind"], "dislike"))
    _refuse(stray, table, "kind", source, "has a reason, but only a dislike may have one")
    _refuse(pc.is_nan(table["value"]), table, "value", source, "is not a number; leave it empty (null)")
    return table


def _typed(table: pa.Table, schema: pa.Schema, source: str) -> pa.Table:
    """Columns of the schema in its order and exactly its types; no nulls where it allows none."""
    columns = []
    for column in schema:
        if column.name not in table.column_names:
            have = ", ".join(table.column_names)
            raise ConrecError(f"{source}: column {column.name} is missing; the columns are: {have}")
        values = table[column.name]
        if not same_type(values.type, column.type):
            raise ConrecError(f"{source}: column {column.name} must be {column.type}, not {values.type}")
        if not column.nullable and values.null_count:
            row = pc.index(pc.is_null(values), True).as_py()
            raise ConrecError(f"{source}: row {row + 1}: {column.name} is empty; fill it or drop the row")
        columns.append(values.cast(column.type))
    return pa.table(columns, schema=schema)


def same_type(have: pa.DataType, want: pa.DataType) -> bool:
    """Equal up to the encoding of strings; an all-null column passes for any type."""
    if pa.types.is_dictionary(have):
        have = have.value_type
    if pa.types.is_null(have):
        return True
    if pa.types.is_string(want):
        return pa.types.is_string(have) or pa.types.is_large_string(have) or pa.types.is_string_view(have)
    if pa.types.is_large_binary(want):
        return pa.types.is_binary(have) or pa.types.is_large_binary(have)
    if pa.types.is_map(want):
        return (
            pa.types.is_map(have) and same_type(have.key_type, pa.string()) and same_type(have.item_type, pa.string())
        )
    return bool(have == want)


def _known(table: pa.Table, name: str, allowed: tuple[str, ...], source: str) -> None:
    """Values of an enumeration (null passes: whether it may be null is the schema's business)."""
    unknown = pc.and_(pc.is_valid(table[name]), pc.invert(pc.is_in(table[name], pa.array(allowed))))
    _refuse(unknown, table, name, source, f"is unknown; known are: {', '.join(allowed)}")


def _refuse(bad: pa.ChunkedArray, table: pa.Table, name: str, source: str, complaint: str) -> None:
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise ConrecError(f"{source}: row {row + 1}: {name} {table[name][row].as_py()!r} {complaint}")


def first_rows(column: pa.ChunkedArray) -> np.ndarray:
    """int64: the row at which each value of the column comes first."""
    return np.unique(pc.dictionary_encode(column).combine_chunks().indices.to_numpy(), return_index=True)[1]
