"""Polis: participants agree with, disagree with, or pass on written statements (github.com/compdemocracy/openData).

One folder a conversation, each with `votes` (timestamp, comment-id, voter-id, vote: 1, -1, or 0) and `comments`
(timestamp, comment-id, comment-body), `.csv` or `.csv.gz`; docs/data.md says what they become. Numbers of voters and
statements are those of a conversation, so ids become `CONVERSATION/NUMBER`. The conversation is the category. The
totals of votes that `comments` has, too, are those of the end, and are not read.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files, item_list
from conrec.data.schema import EVENTS, Accounting, Log
from conrec.errors import ConrecError

WHAT = "a folder for each Polis conversation, with votes and comments (.csv or .csv.gz)"
SUFFIXES = (".csv", ".csv.gz")
BEGIN = datetime(2012, 1, 1, tzinfo=UTC)
"""Polis opened in 2012: an earlier time is a broken row."""
KINDS = {"-1": "dislike", "0": "exposure", "1": "favorite"}


def read(path: Path, config: DataConfig, images: Path | None) -> Log:
    """The log of all conversations in the folder `path`, or of the one that it is. `config`, `images`: not needed."""
    if not path.is_dir():
        raise ConrecError(f"{path}: is no folder; --data must be the folder that holds {WHAT}")
    folders = [folder for folder in (path, *sorted(path.iterdir())) if files.find(folder, "votes", SUFFIXES)]
    if not folders:
        raise ConrecError(f"{path}: holds no votes.csv, nor does a folder in it; --data must hold {WHAT}")
    of_items = Accounting()
    account = Accounting(items=of_items)
    events = pa.concat_tables([_votes(folder, account) for folder in folders])
    listed = pa.concat_tables([_statements(folder, of_items) for folder in folders])
    return item_list.make_log(listed, events, account, str(path), str(path), None, keep_unseen=True)


def _votes(folder: Path, account: Accounting) -> pa.Table:
    """EVENTS of one conversation: of a voter's votes on a statement the last one."""
    raw = files.read(files.require(folder, "votes", SUFFIXES, WHAT), ("timestamp", "comment-id", "voter-id", "vote"))
    sieve = columns.Sieve(raw)
    users = sieve.ids("voter-id", "voter")
    items = sieve.ids("comment-id", "statement")
    times = sieve.unix_times("timestamp", "timestamp is not in Unix milliseconds", 1000, BEGIN)
    votes = columns.words(raw.table["vote"])[0]
    sieve.reject(~columns.mask(pc.is_in(votes, pa.array(list(KINDS)))), "vote is none of -1, 0, 1", "vote")
    keep = sieve.keep(account)

    pair = pc.dictionary_encode(pc.binary_join_element_wise(users, items, "/")).combine_chunks().indices
    newest_first = np.argsort(times.cast(pa.int64()).fill_null(0).to_numpy(), kind="stable")[::-1]
    newest_first = newest_first[keep[newest_first]]
    rows = np.sort(newest_first[np.unique(pair.to_numpy(zero_copy_only=False)[newest_first], return_index=True)[1]])
    account.drop("vote changed later", int(keep.sum()) - len(rows))
    account.kept += len(rows)
    kinds = pa.array([KINDS[vote] for vote in votes.take(rows).to_pylist()], pa.string())
    nothing = pa.nulls(len(rows), pa.string()), pa.nulls(len(rows), pa.float64())
    named = [_named(folder, column.take(rows)) for column in (users, items)]
    return pa.table([*named, times.take(rows), kinds, *nothing], schema=EVENTS)


def _statements(folder: Path, account: Accounting) -> pa.Table:
    """The statements of one conversation, those that nobody voted on, too."""
    path = files.require(folder, "comments", SUFFIXES, WHAT)
    raw = files.read(path, ("timestamp", "comment-id", "comment-body"))
    sieve = columns.Sieve(raw)
    ids = sieve.ids("comment-id", "statement")
    times = sieve.parsed(columns.times, "timestamp", "timestamp is not in Unix milliseconds", per_second=1000)
    keep = pa.array(sieve.keep(account, listed=True))
    listed = {
        "item_id": _named(folder, ids),
        "title": columns.titles(raw.table["comment-body"]),
        "category": pa.array([folder.resolve().name] * len(ids), pa.string()),
        "first_seen": times,
    }
    return pa.table(listed).filter(keep)


def _named(folder: Path, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pa.scalar(folder.resolve().name), numbers, "/")
