"""The log and the catalogue so far: what a run was made from, and every delta (new day) that was ingested since.

docs/daily_job.md lists the files of a delta (`SNAPSHOTS/live/<delta>/`). A published snapshot names the deltas it was
made from. They count for nothing else, so that the one rename that puts a snapshot into use puts its log into use, too,
and a snapshot that is rolled back to brings its own log back. What users said to the service since (`filter.feedback`)
is merged each time with every dislike and undo of all files, in any order (`filter.feedback.in_force`).
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.adapters.generic import read_day
from conrec.data.clean import LEAP, clean, with_first_seen, without_leaps
from conrec.data.schema import EVENTS, ITEMS, OTHER_REASONS, POSITIVE_KINDS, Accounting, Log
from conrec.data.sources import Tables
from conrec.errors import ConrecError
from conrec.files import file_digest, flush, write_json
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, in_force
from conrec.items.encoders import JointEncoder
from conrec.items.traits import TraitEncoder, read_traits, write_traits
from conrec.run import pseudonyms_of
from conrec.sid.catalog import Catalog
from conrec.stages.compress import content_of

LONGEST_GAP = pa.scalar(400 * 86_400_000_000, pa.duration("us"))
"""An event this long after all others, or before them, is a broken clock rather than news."""


@dataclass(frozen=True)
class Live:
    """Everything known at the end of the log so far; row n of all that concerns items is item n."""

    items: pa.Table
    """ITEMS: those of the run in its order, then the later ones as they came."""
    events: pa.Table
    """EVENTS, cleaned, with what users said since, without dislikes that were taken back."""
    marks: pa.Table
    """EVENTS: dislikes for reasons that say nothing of interest ("seen or bought"), likewise; `events` has none."""
    said: pa.Table
    """EVENTS: all dislikes and undos beside those of the cleaned files, from which that follows."""
    end: np.datetime64
    """Time of the last event."""
    catalog: Catalog
    embeddings: np.ndarray
    """float32 [n, input]."""
    traits: list[dict[str, str]]
    """Of each item (`items.traits`)."""
    since: int
    """Microseconds since 1970; what was before counts no more, and is `past` (EVENTS) alone."""
    past: pa.Table

    @property
    def cutoff(self) -> np.datetime64:
        """The moment of prediction: the first midnight (UTC) after the last event."""
        return (self.end.astype("datetime64[D]") + 1).astype("datetime64[us]")


def read_live(
    run: Path, snapshots: Path, deltas: Sequence[str], entries: Sequence[Entry], keep_days: int | None = None
) -> Live:
    """The state behind a snapshot: the run's own folders, these deltas in their order, and what users said since; of
    all that what is no older than so many days before the log's last event."""
    prepared, compressed = run / "prepare", run / "compress"
    folders = [snapshots / "live" / name for name in deltas]
    for folder in folders:
        published.check(folder, read_delta(folder).get("files", {}), "all")
    items = [pq.read_table(prepared / "items.parquet").cast(ITEMS)]
    catalog = Catalog.load(compressed)
    embeddings = [np.load(compressed / "embeddings.npy", allow_pickle=False)]
    traits = read_traits(compressed, len(items[0]))
    for folder in folders:
        items.append(pq.read_table(folder / "items.parquet").cast(ITEMS))
        embeddings.append(np.load(folder / "embeddings.npy", allow_pickle=False))
        traits += read_traits(folder, len(items[-1]))
        ids, titles = (items[-1][name].to_pylist() for name in ("item_id", "title"))
        catalog = catalog.extended(ids, titles, np.load(folder / "codes.npy"), np.load(folder / "latents.npy"))
    catalogue = pa.concat_tables(items)
    for folder in folders:
        catalogue = with_first_seen(catalogue, pq.read_table(folder / "first_seen.parquet"))
    events = pa.concat_tables([_raw(folder, "events").cast(EVENTS) for folder in (prepared, *folders)])
    known = catalogue["item_id"].combine_chunks()
    columns = [[getattr(entry, name) for entry in entries] for name in ("user", "item", "time", "kind", "reason")]
    told = pa.table([*map(pa.array, columns), pa.nulls(len(entries))], names=EVENTS.names).cast(EVENTS)
    said = pa.concat_tables([*map(rejections, (prepared, *folders)), told])
    said = said.filter(pc.is_in(said["item_id"], known))
    since, past = -(1 << 63), EVENTS.empty_table()
    if keep_days is not None:
        first = pc.subtract(pc.max(events["time"]), pa.scalar(timedelta(keep_days)))
        past = pa.concat_tables([table.filter(pc.less(table["time"], first)) for table in (events, said)])
        events, said = (table.filter(pc.greater_equal(table["time"], first)) for table in (events, said))
        since = first.cast(pa.int64()).as_py()
    events, marks = merged(events, said)
    end = np.datetime64(pc.max(events["time"]).as_py().replace(tzinfo=None), "us")
    return Live(catalogue, events, marks, said, end, catalog, np.concatenate(embeddings), traits, since, past)


def ingest(
    snapshots: Path, deltas: Sequence[str], live: Live, run: Path, recipe: Recipe, data: Tables, images: Path | None
) -> tuple[str | None, dict[str, Any]]:
    """Clean a day's events, encode its new items with the frozen encoders, give them IDs, and write the delta.

    Items that are known keep their ID, title and row. Returns the delta's name, None where nothing in it is new, and
    the account. ConrecError for files that cannot be read, with file and row.
    """
    digest = input_digest(data)
    name = hashlib.sha256("\n".join([*deltas, digest]).encode()).hexdigest()[:16]
    folder = snapshots / "live" / name
    if folder.is_dir():  # of a snapshot that was rolled back
        return name, read_delta(folder)["account"]
    listed, raw, account = read_day(data, recipe.data, images)
    log, pseudonyms = Log(listed, raw, account), pseudonyms_of(run, recipe)
    log = without_leaps(log if pseudonyms is None else log.with_users(pseudonyms), live.events)
    account, raw = log.accounting, log.events.filter(pc.greater_equal(log.events["time"].cast(pa.int64()), live.since))
    account.drop("too_old", len(log.events) - len(raw))
    account.kept = len(raw)
    if len(raw):
        _check_times(raw, live, str(data))
    new = listed.filter(pc.invert(pc.is_in(listed["item_id"], live.items["item_id"].combine_chunks())))
    new = new.sort_by("item_id")
    if account.items is not None:
        of_known = Accounting(len(listed), len(new))
        of_known.drop("known already", len(listed) - len(new))
        account.items = account.items.then(of_known)
    day = Log(pa.concat_tables([live.items, new]), raw, account)
    fresh = clean(day, before=live.events) if len(raw) else day
    firsts = raw.group_by("item_id").aggregate([("time", "min")]).select(["item_id", "time_min"])
    firsts = firsts.rename_columns(["item_id", "time"])
    told, rejected = fresh.accounting.to_json(), fresh.accounting.all_rejected()
    said = _rejections(rejected)
    if len(fresh.events) == len(new) == 0 and with_first_seen(live.items, firsts).equals(live.items):
        now, before = (set(zip(*table.to_pydict().values())) for table in (said, live.said))
        if now <= before:
            return None, told

    partial = folder.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    pq.write_table(fresh.events, partial / "events.parquet")
    pq.write_table(firsts, partial / "first_seen.parquet")
    pq.write_table(rejected, partial / "rejected.parquet")
    pq.write_table(new, partial / "items.parquet")
    _encode(new, live, run, recipe, partial)
    note = {"input": digest, "after": list(deltas), "account": told, "files": published.describe_files(partial)}
    (partial / "delta.json").write_text(json.dumps(note, indent=1) + "\n")
    for path in partial.iterdir():
        flush(path)
    partial.rename(folder)
    return name, told


def read_delta(folder: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads((folder / "delta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConrecError(f"{folder}: not readable ({error}); roll back, or publish into a new folder") from error
    return note


def input_digest(data: Tables) -> str:
    """The SHA-256 of the contents of the files of events, and of items; empty where there are none."""
    try:
        return "-".join("+".join(map(file_digest, paths)) for paths in (data.events, data.items))
    except OSError as error:
        raise ConrecError(f"{error.filename}: cannot be read ({error.strerror})") from None


def changed_users(
    snapshots: Path, deltas: Sequence[str], entries: Sequence[Entry], past: pa.Table, since: int
) -> np.ndarray:
    """The users (str) with something new in these deltas, or who said something to the service, or with something in
    `Live.past` that counted when `Live.since` was `since`."""
    folders = [snapshots / "live" / name for name in deltas]
    users = [users_with_news(_raw(folder, "events")) for folder in folders]
    users += [rejections(folder)["user_id"].to_numpy().astype(str) for folder in folders]
    users.append(users_with_news(past.filter(pc.greater_equal(past["time"].cast(pa.int64()), since))))
    return np.unique(np.concatenate([*users, np.array([entry.user for entry in entries], str)]))


def users_with_news(events: pa.Table) -> np.ndarray:
    """The users (str) whose history these events change. Merely having been shown something does not."""
    telling = pc.or_(pc.is_in(events["kind"], pa.array(["dislike", *POSITIVE_KINDS])), pc.is_valid(events["value"]))
    return np.unique(events.filter(telling)["user_id"].to_numpy().astype(str))


def rejections(folder: Path) -> pa.Table:
    """EVENTS: the dislikes and undos of a run's `prepare` folder or a delta that `events.parquet` does not have."""
    return _rejections(_raw(folder, "rejected"))


def drop_events(folder: Path, before: int) -> None:
    """Delete a delta's events and rejected rows where all are older (microseconds since 1970); its items stay."""
    if not any((folder / f"{name}.parquet").exists() for name in ("events", "rejected")):
        return  # on an earlier night
    times = pa.concat_tables([_raw(folder, "events").cast(EVENTS), rejections(folder)])["time"]
    if (pc.max(times.cast(pa.int64())).as_py() or 0) < before:
        note, old = read_delta(folder), {"events.parquet", "rejected.parquet"}
        files = {name: told for name, told in note["files"].items() if name not in old}
        write_json(folder / "delta.json", note | {"files": files})  # first, so that nothing that it names is missing
        for name in old:
            (folder / name).unlink(missing_ok=True)


def _raw(folder: Path, name: str) -> pa.Table:
    """Events, or rejected rows; none where they were too old to keep."""
    path = folder / f"{name}.parquet"
    return pq.read_table(path) if path.exists() else EVENTS.empty_table()


def _rejections(rows: pa.Table) -> pa.Table:
    if not {"cause", "kind"} <= set(rows.column_names):  # nothing was ever rejected there, or it could not even be read
        return EVENTS.empty_table()
    causes = pa.array(["undo", "undone", "repeated_dislike", *(f"reason_{reason}" for reason in OTHER_REASONS)])
    return rows.filter(pc.is_in(rows["cause"], causes)).select(EVENTS.names).cast(EVENTS)


def merged(events: pa.Table, said: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The EVENTS of a cleaned log with more dislikes and undos, in any order: events and marks, as in `Live`.

    What was said more than a month after all events counts as of their end: a clock that is wrong must not make
    everything look old for everybody.
    """
    own = np.flatnonzero(pc.equal(events["kind"], "dislike").to_numpy())
    both = pa.concat_tables([events.take(pa.array(own)), said])
    user, item = (both[name].combine_chunks().dictionary_encode() for name in ("user_id", "item_id"))
    pairs = user.indices.to_numpy().astype(np.int64) * max(1, len(item.dictionary)) + item.indices.to_numpy()
    marked = pc.fill_null(pc.is_in(both["reason"], pa.array(OTHER_REASONS)), False).to_numpy()
    undone, times = pc.equal(both["kind"], "undo").to_numpy(), both["time"].cast(pa.int64()).to_numpy()
    counts = in_force(np.unique(pairs, return_inverse=True)[1], marked, undone, times)
    if len(events):
        column, end = EVENTS.get_field_index("time"), pc.max(events["time"])
        late = pc.greater(both["time"], pc.add(end, pa.scalar(LEAP, pa.duration("us"))))
        both = both.set_column(column, EVENTS.field(column), pc.if_else(late, end, both["time"]))
    stays = np.ones(len(events), bool)
    stays[own] = counts[: len(own)]
    new = counts & (np.arange(len(both)) >= len(own))
    return (
        pa.concat_tables([events.filter(pa.array(stays)), both.filter(pa.array(new & ~marked))]),
        both.filter(pa.array(new & marked)),
    )


def _check_times(raw: pa.Table, live: Live, source: str) -> None:
    """ConrecError for an event long after all others (the cutoff would follow it, and everything would look old), or
    long before them."""
    first, last = pc.min(live.events["time"]), pc.max(live.events["time"])
    late, early = pc.add(last, LONGEST_GAP), pc.subtract(first, LONGEST_GAP)
    row = pc.index(pc.or_(pc.greater(raw["time"], late), pc.less(raw["time"], early)), True).as_py()
    if row >= 0:
        raise ConrecError(
            f"{source}: an event is of {raw['time'][row].as_py():%Y-%m-%d}, more than 400 days away from the log "
            f"({first.as_py():%Y-%m-%d} to {last.as_py():%Y-%m-%d}); correct its time or remove it"
        )


def _encode(new: pa.Table, live: Live, run: Path, recipe: Recipe, folder: Path) -> None:
    """Embeddings, latents, codes and traits of the delta's items; those before keep theirs."""
    width, levels = live.embeddings.shape[1], live.catalog.levels
    embeddings, latents = np.zeros((0, width), np.float32), np.zeros((0, live.catalog.latents.shape[1]), np.float32)
    codes = np.zeros((0, levels), np.int32)
    traits: list[dict[str, str]] = []
    if len(new):
        book = run / "compress" / "codebook"
        content = content_of(new, folder, recipe.split.pool == "category")
        encoder = JointEncoder.load(recipe.items, book)
        embeddings, _ = encoder.encode(content)
        traits = TraitEncoder.load(book, encoder.hog).encode(content)
        latents, codes = embeddings, np.zeros((len(new), 0), np.int32)
        if levels:
            from conrec.sid.codebook import add_items, load_model  # torch

            ids, titles = new["item_id"].to_pylist(), new["title"].to_pylist()
            extended = add_items(live.catalog, load_model(book), ids, titles, embeddings)
            latents, codes = extended.latents[len(live.catalog) :], extended.codes[len(live.catalog) :]
    for name, array in (("embeddings", embeddings), ("latents", latents), ("codes", codes)):
        np.save(folder / f"{name}.npy", array)
    write_traits(folder, traits)
