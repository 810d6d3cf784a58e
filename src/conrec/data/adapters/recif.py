"""RecIF-Bench (OpenOneRec): Kuaishou users with the videos they saw, in order, and flags for each.

- `onerec_bench_release.parquet`, one row a user: uid, `hist_video_pid` (oldest first) and `target_video_pid` (what
  came after), each with 0/1 lists of the same length `..._longview`, `..._like`, `..._follow`, `..._forward`,
  `..._not_interested`;
- `pid2caption.parquet` (optional): pid and `caption` (also called `dense_caption`);
- `video_ad_pid2sid.parquet` (optional): pid and sid, three codes of Kuaishou's own semantic ID.

**There are no times in these files, only an order.** So the times here are made up: one hour a video, a user's first
target at ORIGIN, the history before it. They order one user's events and say nothing else; a "day" is 24 videos, and
users cannot be compared in time. Use `split.mode = "users"` and `split.cutoffs = "per_user"`.

The lists of ads and goods have no order against the videos and no dislikes; they are not read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import DataConfig
from conrec.data.adapters import columns, files, item_list
from conrec.data.schema import EVENTS, TIME, Accounting, Log
from conrec.errors import ConrecError

ORIGIN = datetime(2025, 1, 1, tzinfo=UTC)
"""Made up: see above."""
STEP = 3_600_000_000
"""Microseconds from one video to the next, made up as well."""

MAIN = "onerec_bench_release"
FLAGS = {"not_interested": "dislike", "like": "favorite", "longview": "click"}
"""Flag to kind, the first that is set decides; a video with none of them is an exposure."""
BATCH = 4096
"""Users read at a time."""


def read(path: Path, config: DataConfig, images: Path | None) -> Log:
    """The log in the folder (or the main file) `path`, with made-up times (see the module).

    `title` is the caption, else the video's id; `category` the first code of Kuaishou's semantic ID, which names
    a coarse cluster of contents, and the attribute `sid` all of them. Pictures are found by video id. A user whose
    lists are not aligned is a broken row.
    """
    if path.is_dir() or not path.exists():
        folder, main = path, files.require(path, MAIN, (".parquet",), f"RecIF-Bench's {MAIN}.parquet")
    else:
        folder, main = path.parent, path
    account = Accounting()
    events = _events(main, account)
    listed = _videos(folder, pc.unique(events["item_id"]))
    return item_list.make_log(listed, events, account, str(main), images)


def _events(path: Path, account: Accounting) -> pa.Table:
    """EVENTS of all users; the account counts videos, not users."""
    needed = ["uid", *(f"{part}_video_{name}" for part in ("hist", "target") for name in ("pid", *FLAGS))]
    have = files.header(path)
    missing = [name for name in needed if name not in have]
    if missing:
        raise ConrecError(f"{path}: not RecIF-Bench: no column {', '.join(missing)}; it has: {', '.join(have)}")
    tables: list[pa.Table] = []
    broken: list[int] = []
    users, lost, row = 0, 0, 0
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(BATCH, columns=needed):
        table = pa.table(batch)
        usable = _usable(table)
        broken.extend(row + int(n) for n in np.flatnonzero(~usable))
        lost += sum(int(_length(table[f"{part}_video_pid"])[~usable].sum()) for part in ("hist", "target"))
        kept = table.filter(pa.array(usable))
        for part in ("hist", "target"):
            tables.append(_of_part(kept, part, account))
        users, row = users + table.num_rows, row + table.num_rows
    if not users:
        raise ConrecError(f"{path}: has no rows; expected one a user")
    if broken and len(broken) >= columns.TOLERATED * users:
        raise ConrecError(
            f"{path}: row {broken[0] + 1}: uid is missing or a list of flags is not as long as its list of pids; "
            f"{len(broken)} of {users} users cannot be used: fetch the file again"
        )
    account.read += lost
    account.drop("user without id or with lists of unequal length", lost)
    events = pa.concat_tables(tables)
    account.kept += events.num_rows
    return events


def _usable(table: pa.Table) -> np.ndarray:
    """bool [users]: has an id, and every list of flags is as long as its list of videos."""
    good = ~columns.mask(pc.is_null(table["uid"]))
    for part in ("hist", "target"):
        videos = _length(table[f"{part}_video_pid"])
        for flag in FLAGS:
            good &= _length(table[f"{part}_video_{flag}"]) == videos
    return good


def _length(column: pa.ChunkedArray) -> np.ndarray:
    """int [users]; a missing list is an empty one."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ConrecError(f"RecIF-Bench: columns of videos and flags must hold lists, not {column.type}")
    return pc.fill_null(pc.list_value_length(column), 0).to_numpy()


def _of_part(table: pa.Table, part: str, account: Accounting) -> pa.Table:
    """EVENTS of the histories or of the targets of some users."""
    lengths = _length(table[f"{part}_video_pid"])
    ends = np.cumsum(lengths)
    # 0, 1, 2 ... within each user; the last of the history is one step before the first target.
    position = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
    if part == "hist":
        position -= np.repeat(lengths, lengths)
    micro = int(ORIGIN.timestamp()) * 1_000_000 + position * STEP
    owner = pa.array(np.repeat(np.arange(len(lengths)), lengths))

    videos, missing = columns.ids(pc.list_flatten(table[f"{part}_video_pid"]))
    given = [columns.flags(pc.list_flatten(table[f"{part}_video_{flag}"]))[0] for flag in FLAGS]
    kind = np.select(given, list(FLAGS.values()), "exposure")
    account.read += len(videos)
    account.drop("no item id", int(missing.sum()))
    columns_ = [
        columns.ids(table["uid"])[0].take(owner),
        videos,
        pa.array(micro, pa.timestamp("us")).cast(TIME),
        pa.array(kind.tolist(), pa.string()),
        pa.nulls(len(videos), pa.string()),
        pa.nulls(len(videos), pa.float64()),
    ]
    return pa.table(columns_, names=EVENTS.names).filter(pa.array(~missing)).cast(EVENTS)


def _videos(folder: Path, videos: pa.Array) -> item_list.ItemList:
    """Captions and semantic IDs of the videos, where the files are there."""
    nothing = pa.chunked_array([pa.nulls(len(videos), pa.string())])
    title, category, sid, source = nothing, nothing, nothing, str(folder)
    if path := files.find(folder, "pid2caption", (".parquet",)):
        name = next((n for n in ("caption", "dense_caption") if n in files.header(path)), "caption")
        raw = files.read(path, ("pid", name))
        title, source = columns.titles(raw.table[name]).take(_row(videos, raw)), str(path)
    if path := files.find(folder, "video_ad_pid2sid", (".parquet",)):
        raw = files.read(path, ("pid", "sid"))
        codes = raw.table["sid"].cast(pa.list_(pa.string())).take(_row(videos, raw))
        sid = pc.binary_join(codes, "-")
        category = pc.binary_join_element_wise(
            "cluster", pc.list_element(pc.list_slice(codes, 0, 1, return_fixed_size_list=True), 0), " "
        )
    attributes = item_list.attributes({"sid": sid})
    return item_list.ItemList(source, pa.chunked_array([videos]), title, category, attributes)


def _row(videos: pa.Array, raw: files.Raw) -> pa.Array:
    """int [videos]: its row in a table with a column pid, or null."""
    return pc.index_in(videos, columns.ids(raw.table["pid"])[0].combine_chunks())
