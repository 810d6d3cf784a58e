"""Cleaning: keep the dislikes that are about the user's interest, drop what cannot be used, account for every row.

The steps, in this order (a row that an earlier step dropped takes no part in a later one):

    unknown_item               the event's item is not in the items table
    reason_<reason>            a dislike for a reason that is not about interest (paper, section 4.1)
    duplicate                  every column equals an earlier row's
    undone                     a dislike at or before an undo of the same user and item
    undo                       the undo itself
    repeated_dislike           the user disliked this item before; the first one stays
    positive_while_disliking   a positive by the same user on the same item at the very moment of a dislike: the
                               explicit statement wins (opening the menu of an item is logged as a click on it)
    user_below_min_dislikes    the user has fewer dislikes left than the recipe's `data.min_user_dislikes`

A daft program, so it runs on daft's native engine and on Ray alike.
"First" is the smallest row number after one sort.
"""

import math
import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # daft reports its use on import otherwise

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from daft import DataFrame, Expression, col, lit
from daft.functions import when

from conrec.data.schema import EVENTS, ITEMS, OTHER_REASONS, POSITIVE_KINDS, TIME, Accounting, Log
from conrec.progress import say

ORDER = [(name, "ascending") for name in ("time", "user_id", "item_id", "kind", "reason", "value")]

LEAP = 30 * 86_400_000_000
"""Microseconds without an event after which one user's clock alone is not believed."""


def without_leaps(log: Log, before: pa.Table | None = None) -> Log:
    """The log without `time_leap`: its last events, where they follow a month without any and are of one user or of
    1 % of all users at most. A clock that is wrong must not say what is today for everybody.

    before: the EVENTS so far, where the log goes on from them.
    """
    users = pc.count_distinct((log.events if before is None else before)["user_id"]).as_py()
    times = log.events["time"].cast(pa.int64()).to_numpy()
    end = times.min(initial=2**62) if before is None else pc.max(before["time"]).cast(pa.int64()).as_py()
    order = np.argsort(-times, kind="stable")
    earlier = np.maximum(np.append(times[order][1:], end)[: len(times)], end)
    user = log.events["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()[order]
    users_so_far = np.cumsum(np.isin(np.arange(len(user)), np.unique(user, return_index=True)[1]))
    leaps = np.flatnonzero((times[order] - earlier > LEAP) & (users_so_far <= max(1, users // 100)))
    gone = pa.array(np.isin(np.arange(len(order)), order[: 1 + leaps.max(initial=-1)]))
    account = Accounting(len(gone), len(gone) - gone.true_count)
    account.reject("time_leap", log.events.filter(gone))
    if gone.true_count:
        last = pc.max(log.events["time"]).as_py()
        say(f"{gone.true_count} events a month after all others, until {last:%Y-%m-%d}, are left out: of too few users")
    return Log(log.items, log.events.filter(pc.invert(gone)), log.accounting.then(account))


def with_first_seen(items: pa.Table, events: pa.Table) -> pa.Table:
    """ITEMS with `first_seen` no later than the first event (of a table with item_id and time).

    Dropped events count, too: an item that somebody reported as a counterfeit was on offer all the same.
    """
    firsts = events.group_by("item_id").aggregate([("time", "min")])
    row = pc.index_in(items["item_id"], value_set=firsts["item_id"].combine_chunks())
    first = firsts["time_min"].take(row)
    column = ITEMS.get_field_index("first_seen")
    earlier = pc.min_element_wise(items["first_seen"].cast(pa.int64()), first.cast(pa.int64()), skip_nulls=True)
    return items.set_column(column, ITEMS.field(column), earlier.cast(TIME))


def clean(log: Log, min_user_dislikes: int = 0) -> Log:
    """The log without what the causes above name; events sorted by time, user, item and kind.

    Items are passed on untouched (an item without events can still be predicted). The accounting continues that
    of the adapter.
    """
    table = log.events.select(EVENTS.names).sort_by(ORDER)
    events = daft.from_arrow(table.append_column("row", pa.array(range(len(table)), pa.int64())))
    listed = daft.from_arrow(log.items.select(["item_id"])).with_column("listed", lit(True))
    events = events.join(listed, on="item_id", how="left")
    events = events.with_column("cause", when(col("listed").is_null(), lit("unknown_item")))
    events = _reasons(events)
    events = _duplicates(events)
    if pc.any(pc.equal(table["kind"], "undo")).as_py():
        events = _undone(events)
    events = _repeated_dislikes(events)
    events = _positives_while_disliking(events)
    if min_user_dislikes > 0:
        events = _small_users(events, min_user_dislikes)
    marked = events.to_arrow().sort_by("row")

    kept = marked.filter(pc.is_null(marked["cause"])).select(EVENTS.names).cast(EVENTS)
    account = Accounting(len(marked), len(kept))
    for cause in pc.unique(marked["cause"].drop_null()).to_pylist():
        account.reject(cause, marked.filter(pc.equal(marked["cause"], cause)).select(EVENTS.names).cast(EVENTS))
    return Log(log.items, kept, log.accounting.then(account).check())


def _drop(events: DataFrame, condition: Expression, cause: Expression) -> DataFrame:
    """Name the cause for the rows under the condition that have none yet; computed here, as later steps look twice."""
    cause = when(col("cause").is_null() & condition, cause).otherwise(col("cause"))
    return events.select(*EVENTS.names, "row", cause.alias("cause")).collect()


def _reasons(events: DataFrame) -> DataFrame:
    not_interest = col("reason").is_in(list(OTHER_REASONS)).fill_null(False)
    return _drop(events, not_interest, lit("reason_") + col("reason"))


def _duplicates(events: DataFrame) -> DataFrame:
    # daft takes quadratic time to group by a float column full of nulls, so a missing value becomes -infinity.
    value = col("value").fill_null(-math.inf)
    firsts = events.where(col("cause").is_null()).groupby(*EVENTS.names[:-1], value).agg(col("row").min())
    return _drop(_mark(events, firsts, "row"), ~col("marked"), lit("duplicate"))


def _undone(events: DataFrame) -> DataFrame:
    pair: list[Expression | str] = ["user_id", "item_id"]
    undos = events.where(col("cause").is_null() & (col("kind") == lit("undo")))
    last = undos.groupby(*pair).agg(col("time").max().alias("last"))
    events = events.join(last, on=pair, how="left")
    undone = _is_kept_dislike() & (col("time") <= col("last")).fill_null(False)
    return _drop(_drop(events, undone, lit("undone")), col("kind") == lit("undo"), lit("undo"))


def _repeated_dislikes(events: DataFrame) -> DataFrame:
    firsts = events.where(_is_kept_dislike()).groupby("user_id", "item_id").agg(col("row").min())
    repeated = _is_kept_dislike() & ~col("marked")
    return _drop(_mark(events, firsts, "row"), repeated, lit("repeated_dislike"))


def _positives_while_disliking(events: DataFrame) -> DataFrame:
    moment = ("user_id", "item_id", "time")
    dislikes = events.where(_is_kept_dislike()).select(*moment)
    positive = col("kind").is_in(list(POSITIVE_KINDS))
    return _drop(_mark(events, dislikes, *moment), positive & col("marked"), lit("positive_while_disliking"))


def _small_users(events: DataFrame, least: int) -> DataFrame:
    counts = events.where(_is_kept_dislike()).groupby("user_id").agg(col("row").count().alias("dislikes"))
    enough = counts.where(col("dislikes") >= lit(least))
    return _drop(_mark(events, enough, "user_id"), ~col("marked"), lit("user_below_min_dislikes"))


def _mark(events: DataFrame, chosen: DataFrame, *keys: str) -> DataFrame:
    """A column `marked`: whether the keys occur in `chosen` (at most once there)."""
    joined = events.join(chosen.select(*keys).with_column("marked", lit(True)), on=list(keys), how="left")
    return joined.with_column("marked", col("marked").fill_null(False))


def _is_kept_dislike() -> Expression:
    """A dislike that no step has dropped so far."""
    return col("cause").is_null() & (col("kind") == lit("dislike"))
