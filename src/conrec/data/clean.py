"""Cleaning: keep the dislikes that are about the user's interest, drop what cannot be used, account for every row.

docs/data.md lists the causes in the order of the steps; a row that an earlier step dropped takes no part in a later
one. "First" is the smallest row number after one sort.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.data.schema import EVENTS, ITEMS, OTHER_REASONS, POSITIVE_KINDS, TIME, Accounting, Log
from conrec.parallel import map_parts
from conrec.progress import say

ORDER = [(name, "ascending") for name in ("time", "user_id", "item_id", "kind", "reason", "value")]

TOGETHER = 5_000_000
"""Events that are cleaned together; a larger log in parts, on Ray by all workers."""

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
    users_so_far = np.cumsum(_first(user, np.ones(len(user), bool)))
    leaps = np.flatnonzero((times[order] - earlier > LEAP) & (users_so_far <= max(1, users // 100)))
    late = np.zeros(len(order), bool)
    late[order[: 1 + leaps.max(initial=-1)]] = True
    gone = pa.array(late)
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


def clean(log: Log, min_user_dislikes: int = 0, before: pa.Table | None = None) -> Log:
    """The log without what the causes above name; events sorted by time, user, item and kind.

    Items are passed on untouched (an item without events can still be predicted). The accounting continues that
    of the adapter. before: the cleaned EVENTS so far, where the log goes on from them; they come first, and all stay.
    A log of more than `TOGETHER` events is cleaned in parts, some users at a time, with the same result.
    """
    count = -(-len(log.events) // TOGETHER)
    if before is not None or count < 2:
        return _together(log, min_user_dislikes, before)
    user = pc.dictionary_encode(log.events["user_id"].combine_chunks()).indices.to_numpy() % count

    def some(n: int) -> Log:
        """All events of some users, whom no rule compares with others."""
        events = log.events.filter(pa.array(user == n))
        return _together(Log(log.items, events, Accounting(len(events), len(events))), min_user_dislikes)

    parts = list(map_parts(some, range(count), "cleaning"))
    account = Accounting.together(part.accounting for part in parts)
    if account.rejected:
        gone = _sorted(pa.concat_tables(account.rejected))
        account.rejected = [gone.filter(pc.equal(gone["cause"], cause)) for cause in pc.unique(gone["cause"])]
    events = _sorted(pa.concat_tables(part.events for part in parts))
    return Log(log.items, events, log.accounting.then(account).check())


def _together(log: Log, min_user_dislikes: int, before: pa.Table | None = None) -> Log:
    table = _sorted(log.events.select(EVENTS.names))
    own = np.ones(len(table), bool)
    if before is not None:  # of which the rest cannot collide with what is new
        before = before.filter(pc.is_in(before["user_id"], pc.unique(table["user_id"])))
        lately = pc.greater_equal(before["time"], pc.min(table["time"]))
        before = before.filter(pc.or_(lately, pc.equal(before["kind"], "dislike")))
        table, own = pa.concat_tables([before, table]), np.append(np.zeros(len(before), bool), own)
    texts = (name for name in EVENTS.names if name != "time")
    codes = {name: pc.dictionary_encode(table[name].combine_chunks(), null_encoding="encode").indices for name in texts}
    numbers = {name: indices.to_numpy() for name, indices in codes.items()}
    causes, left = np.full(len(table), None, object), np.ones(len(table), bool)

    def drop(rows: np.ndarray, cause: str) -> None:
        chosen = np.zeros(len(table), bool)
        chosen[rows] = own[rows]
        causes[chosen & left] = cause
        left[chosen] = False

    def equal(name: str, *values: str) -> np.ndarray:
        return pc.is_in(table[name], pa.array(values)).to_numpy()

    drop(~pc.is_in(table["item_id"], log.items["item_id"].combine_chunks()).to_numpy(), "unknown_item")
    for reason in OTHER_REASONS:
        drop(equal("reason", reason), f"reason_{reason}")
    dislike, undo, times = equal("kind", "dislike"), equal("kind", "undo"), table["time"].cast(pa.int64()).to_numpy()
    columns = [times, *numbers.values()]
    order = np.arange(len(table)) if before is None else np.lexsort(columns)
    same = np.logical_and.reduce([np.diff(column[order]) == 0 for column in columns])
    drop(order[1:][same], "duplicate")  # equal rows follow each other, the first one first
    user = numbers["user_id"].astype(np.int64)
    pair = user * (1 + int(numbers["item_id"].max(initial=0))) + numbers["item_id"]
    if (undone := undo & left).any():
        drop(dislike & (times <= last_undo(np.unique(pair, return_inverse=True)[1], undone, times)), "undone")
    drop(undo, "undo")
    drop(dislike & ~_first(pair, dislike & left), "repeated_dislike")
    disliked, positive = np.flatnonzero(dislike & left), np.flatnonzero(equal("kind", *POSITIVE_KINDS))
    disliked = disliked[np.argsort(pair[disliked])]  # by now a pair has one at most
    place = np.searchsorted(pair[disliked], pair[positive])
    there = np.append(disliked, -1)[place]
    moment = (pair[there] == pair[positive]) & (times[there] == times[positive]) & (there >= 0)
    drop(positive[moment], "positive_while_disliking")
    dislikes = np.bincount(user[dislike & left], minlength=int(user.max(initial=-1)) + 1)
    drop(dislikes[user] < min_user_dislikes, "user_below_min_dislikes")

    kept = table.filter(pa.array(left & own)).cast(EVENTS)
    account = Accounting(int(own.sum()), len(kept))
    for cause in dict.fromkeys(causes[~left].tolist()):
        account.reject(cause, table.filter(pa.array(np.equal(causes, cause))).cast(EVENTS))
    return Log(log.items, kept, log.accounting.then(account).check())


def last_undo(pairs: np.ndarray, undone: np.ndarray, times: np.ndarray) -> np.ndarray:
    """int64 [n]: the time of the last undo of each entry's pair, the smallest number where there is none.

    pairs: int [n], the number of each entry's user and item; undone: bool [n], the entry is an undo; times: int [n].
    """
    last = np.full(int(pairs.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(last, pairs[undone], times[undone])
    return last[pairs]


def _sorted(table: pa.Table) -> pa.Table:
    """The table by ORDER. Moments are sorted as numbers, and only what happened at the same one by everything else."""
    times = table["time"].cast(pa.int64()).to_numpy()
    order = np.argsort(times, kind="stable")
    same = np.diff(times[order], prepend=np.nan, append=np.nan) == 0
    tied = np.flatnonzero(same[1:] | same[:-1])
    rows = order[tied]
    order[tied] = rows[pc.sort_indices(table.take(rows), sort_keys=ORDER).to_numpy()]
    return table.take(order)


def _first(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """bool [n]: the first row of each number, of the rows `among`."""
    rows, first = np.flatnonzero(among), np.zeros(len(numbers), bool)
    first[rows[np.unique(numbers[rows], return_index=True)[1]]] = True
    return first
