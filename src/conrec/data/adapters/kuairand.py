"""KuaiRand: short-video logs of Kuaishou with a real `is_hate` button.

The official layout, in one folder or with the logs in its folder `data` (each file possibly gzipped):
- `log_standard_*.csv` and `log_random_*.csv`: user_id, video_id, time_ms, is_click, is_like, is_hate and more;
- `video_features_basic*.csv` (optional): video_id, author_id, video_type, upload_dt, tag ("12,65") and more;
- `kuairand_video_captions.csv` (optional): final_video_id, caption, show_cover_text;
- `kuairand_video_categories.csv` (optional): final_video_id, first_level_category_name, ... fourth_...

Extracts of it that keep only likes and hates, with a `label` (1: like, 0: hate) instead of the two flags, are read
as well: any other `.csv` or `.tsv` in the folder with these columns, or such a file itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files, item_list
from conrec.data.schema import EVENTS, Accounting, Log
from conrec.errors import ConrecError

BEGIN = datetime(2022, 1, 1, tzinfo=UTC)
"""The logs are of April and May 2022."""
BEIJING = pa.scalar(timedelta(hours=8), pa.duration("us"))
"""Upload dates are days in China; times are Unix milliseconds."""

FLAGS = ("is_hate", "is_like", "is_click")
ABOUT = ("tag", "author_id", "video_type", "upload_type", "music_id", "video_duration")
LEVELS = tuple(f"{level}_level_category_name" for level in ("first", "second", "third", "fourth"))
IDS = ("final_video_id", "video_id")
NOTHING = pa.array(["", "UNKNOWN", "unknown", "nan", "null", "-124"])
"""Spellings of "no value" in these files."""


def read(path: Path, config: DataConfig, images: Path | None) -> Log:
    """The log in the folder (or extract) `path`: is_hate is a dislike, else is_like a favourite, else is_click a
    click, else an exposure.

    `title` is the caption (with the text on the cover), else categories or tags, else the video's id; `category` the
    first level of the categories, else the first tag; `first_seen` the beginning of the upload day. Items are the
    videos with at least one event. Pictures are found by video id. `config` is not needed.
    """
    account = Accounting()
    events = pa.concat_tables([_events(log, account) for log in _logs(path)])
    folders = [path, path / "data", path.parent] if path.is_dir() else [path.parent]
    listed = _videos(folders, pc.unique(events["item_id"]))
    return item_list.make_log(listed, events, account, str(path), str(path), images)


def _logs(path: Path) -> list[Path]:
    """The log files: those with the official names, else the extracts."""
    if not path.exists():
        raise ConrecError(f"{path}: there is no such folder; --data must be the folder that holds KuaiRand's logs")
    if path.is_file():
        return [path]
    for folder in (path, path / "data"):
        named = [p for p in sorted(folder.glob("log_*")) if p.name.endswith((".csv", ".csv.gz"))]
        if named:
            return named
    wanted = {"user_id", "video_id", "time_ms"}
    tables = [p for p in sorted(path.iterdir()) if p.is_file() and p.name.endswith(files.TEXT_SUFFIXES)]
    extracts = [p for p in tables if wanted < set(files.header(p))]
    if not extracts:
        raise ConrecError(
            f"{path}: holds no KuaiRand log (log_standard_*.csv, log_random_*.csv, or a .csv or .tsv with user_id, "
            f"video_id, time_ms and label); --data must be the folder that holds it"
        )
    return extracts


def _events(path: Path, account: Accounting) -> pa.Table:
    labelled = "is_hate" not in files.header(path) and "label" in files.header(path)
    signs = ("label",) if labelled else FLAGS
    raw = files.read(path, ("user_id", "video_id", "time_ms", *signs))
    sieve = columns.Sieve(raw)
    users = sieve.ids("user_id", "user")
    videos = sieve.ids("video_id", "item")
    times = sieve.unix_times("time_ms", "time is not in Unix milliseconds", 1000, BEGIN)
    if labelled:
        label = pc.utf8_trim_whitespace(raw.table["label"].cast(pa.string()))
        hate, like = columns.mask(pc.equal(label, "0")), columns.mask(pc.equal(label, "1"))
        sieve.reject(~(hate | like), "label is neither 1 nor 0", "label")
        kinds = np.select([hate, like], ["dislike", "favorite"], "exposure")
    else:
        given = [sieve.parsed(columns.flags, sign, f"{sign} is neither 1 nor 0") for sign in FLAGS]
        kinds = np.select(given, ["dislike", "favorite", "click"], "exposure")
    keep = pa.array(sieve.keep(account))
    account.kept += keep.true_count
    kind = pa.array(kinds.tolist(), pa.string())
    no_reason, no_value = pa.nulls(len(kind), pa.string()), pa.nulls(len(kind), pa.float64())
    return pa.table([users, videos, times, kind, no_reason, no_value], schema=EVENTS).filter(keep)


def _videos(folders: Sequence[Path], videos: pa.Array) -> pa.Table:
    """The videos, in the order given, as the optional files describe them; without these files by their ids alone."""
    basic = _columns(folders, "video_features_basic", ("video_id",), (*ABOUT, "upload_dt"), videos)
    texts = _columns(folders, "kuairand_video_captions", IDS, ("caption", "show_cover_text"), videos)
    levels = _columns(folders, "kuairand_video_categories", IDS, LEVELS, videos)
    nothing = pa.chunked_array([pa.nulls(len(videos), pa.string())])
    category_path = _joined([levels.get(name, nothing) for name in LEVELS], " > ")
    tag = basic.get("tag", nothing)
    tags = pc.binary_join_element_wise("tags", tag, " ")
    title = _joined([texts.get(name, nothing) for name in ("caption", "show_cover_text")], " ")
    first_tag = pc.binary_join_element_wise("tag", pc.list_element(pc.split_pattern(tag, ","), 0), " ")
    about = {name: basic[name] for name in ABOUT if name in basic}
    listed = {
        "item_id": videos,
        "title": columns.titles(pc.coalesce(title, category_path, tags)),
        "category": pc.coalesce(levels.get(LEVELS[0], nothing), first_tag),
        "attributes": columns.attributes(about | {"categories": category_path}),
        "first_seen": pc.subtract(columns.times(basic.get("upload_dt", nothing))[0], BEIJING),
    }
    return pa.table(listed)


def _columns(
    folders: Sequence[Path], prefix: str, id_names: Sequence[str], names: Sequence[str], videos: pa.Array
) -> dict[str, pa.ChunkedArray]:
    """The text columns that the file has, if there is one: one cell a video (null where the file says nothing)."""
    found = (p for f in folders if f.is_dir() for p in sorted(f.glob(prefix + "*")) if p.is_file())
    path = next((p for p in found if p.name.endswith((".csv", ".csv.gz"))), None)
    if path is None:
        return {}
    have = files.header(path)
    id_name = next((name for name in id_names if name in have), id_names[0])
    present = [name for name in names if name in have]
    if not present:
        raise ConrecError(f"{path}: has none of the columns {', '.join(names)}; the columns are: {', '.join(have)}")
    raw = files.read(path, (id_name, *present))
    row = pc.index_in(videos, columns.words(raw.table[id_name])[0].combine_chunks())
    return {name: columns.blank_to_null(columns.titles(raw.table[name]).take(row), NOTHING) for name in present}


def _joined(parts: list[pa.ChunkedArray], separator: str) -> pa.ChunkedArray:
    """The texts of each row joined, nulls left out; null where there is none."""
    # "skip" leaves out rows of nothing but nulls altogether; the empty text in front keeps every row.
    text = pc.binary_join_element_wise("", *parts, separator, null_handling="skip")
    return columns.blank_to_null(pc.utf8_slice_codeunits(text, len(separator)))
