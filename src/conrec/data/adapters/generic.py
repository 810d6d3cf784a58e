"""Any log in Parquet, CSV or TSV (gzipped or not), with the recipe saying what its columns and codes mean.

`path` is a folder with `events.*` and, if there is one, `items.*`; or a single file of events, from which the items
are then taken. docs/data.md explains it from the user's side.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files, item_list, ratings
from conrec.data.images import LARGEST, Found, Pictures, below
from conrec.data.schema import EVENTS, ITEMS, KINDS, REASONS, Accounting, Log, check_events, check_items, first_rows
from conrec.data.sources import Tables
from conrec.errors import ConrecError
from conrec.parallel import map_parts

EVENT_COLUMNS = ("user_id", "item_id", "time", "kind", "reason", "value")
ITEM_COLUMNS = ("item_id", "title", "image", "category", "first_seen", "text")
IGNORE, NONE = "ignore", "none"
"""What a recipe maps kinds to that are to be left out, and reason codes to that mean "no reason"."""

EMPTY = np.array(None, dtype=object)
"""None, to compare arrays of objects with."""


def read(path: Path | Tables, config: DataConfig, images: Path | None) -> Log:
    """The log in the folder, file, or files `path`, as the recipe's table `data` describes it.

    Without a kind column the kind comes from the thresholds on `value` where the recipe has both, else a row with a
    reason is a dislike and one without an exposure. Pictures: the items' column image (a file in `images` or beside
    the items, or the picture's bytes), else by item id as in `data.images`. Listed items without events are kept:
    they are the platform's inventory. Raises ConrecError as the other adapters do, and for a kind or a reason that
    neither we nor the recipe know.
    """
    _check_recipe(config)
    events, items = files_of(path)
    table, account = _read_all(events, config)
    table = check_events(table, str(events[0]))
    listed = _catalogue(items or events, table, config, images, account, own_file=bool(items))
    return Log(listed, table, account.check())


def read_day(day: Tables, config: DataConfig, images: Path | None) -> tuple[pa.Table, pa.Table, Accounting]:
    """ITEMS and EVENTS of files, either of which may be missing, with their account.

    For what is added to a log that is known already: events may name items that `items` does not list.
    """
    _check_recipe(config)
    for path in (*day.events, *day.items):
        if path.suffix == ".sql":  # two days of one query could not be told apart
            raise ConrecError(f"{path}: a query cannot be a day; write its result into a file, as Parquet")
    new_events, account = _read_all(day.events, config)
    new_items, account.items = ITEMS.empty_table(), Accounting()
    if day.items:
        new_items = _catalogue(day.items, EVENTS.empty_table(), config, images, account, own_file=True)
    return new_items, check_events(new_events, str(day)), account.check()


def _catalogue(
    paths: Sequence[Path],
    events: pa.Table,
    config: DataConfig,
    images: Path | None,
    account: Accounting,
    own_file: bool,
) -> pa.Table:
    """ITEMS of the files, fitted to the events; `account` gets theirs and that of their pictures."""
    account.items, path = Accounting(), paths[0]
    tables = [_items(path, config, account.items, own_file) for path in paths]
    try:
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ConrecError(f"{path} and the other files of items: {error}; give each column one type") from None
    if not own_file:  # of each item the first row speaks
        table = table.take(pa.array(first_rows(table["item_id"])))
    raw = files.Raw(path, table)
    items = item_list.fit(_listed(raw, config, own_file), str(path), events, account.items, keep_unseen=own_file)
    items, account.images = _pictures(items, raw, config, images)
    return check_items(items, str(path))


def _check_recipe(config: DataConfig) -> None:
    """Raise ConrecError for a recipe that cannot be right, whatever the log holds."""
    known = dict.fromkeys(EVENT_COLUMNS + ITEM_COLUMNS)
    for name in config.columns:
        if name not in known:
            raise ConrecError(f"recipe: data.columns.{name}: no such column of ours; there are: {', '.join(known)}")
    for table, targets in (("kinds", (*KINDS, IGNORE)), ("reasons", (*REASONS, NONE))):
        for code, target in getattr(config, table).items():
            if target not in targets:
                raise ConrecError(f"recipe: data.{table}.{code} = {target!r}; allowed: {', '.join(targets)}")
    if config.reason_columns and "reason" in config.columns:
        raise ConrecError("recipe: data.reason_columns and data.columns.reason exclude each other; keep one")


def files_of(path: Path | Tables) -> tuple[Sequence[Path], Sequence[Path]]:
    """The files of events and of items."""
    if isinstance(path, Path) and not path.is_file():
        events = files.find_all(path, "events")
        return events or [files.require(path, "events", files.TABLE_SUFFIXES, "a log")], files.find_all(path, "items")
    there = path if isinstance(path, Tables) else Tables((path,))
    for one in (*there.events, *there.items):
        if not one.name.endswith(files.TABLE_SUFFIXES):
            raise ConrecError(f"{one}: unknown type; it must end in one of {', '.join(files.TABLE_SUFFIXES)}")
    if not there.events:
        raise ConrecError(f"{there}: nothing here is of events; say what is: events=PATH")
    return there.events, there.items


def _read_all(paths: Sequence[Path], config: DataConfig) -> tuple[pa.Table, Accounting]:
    """EVENTS of files, and where their rows went; on Ray every worker reads some of them."""
    parts = list(map_parts(partial(_events, config=config), paths, "files of events"))
    account = Accounting.together(account for _, account in parts)
    return pa.concat_tables([EVENTS.empty_table(), *(table for table, _ in parts)]), account


def _events(path: Path, config: DataConfig) -> tuple[pa.Table, Accounting]:
    account, have = Accounting(), files.header(path)
    names = {name: config.columns.get(name, name) for name in EVENT_COLUMNS}
    optional = ("kind", "value") if config.reason_columns else ("kind", "reason", "value")
    wanted = ["user_id", "item_id", "time"]
    wanted += [name for name in optional if names[name] in have or name in config.columns]
    missing = next((name for name in wanted if names[name] not in have), "")
    hint = missing and f'; if it has another name, say so in the recipe: [data.columns] {missing} = "..."'
    raw = files.read(path, [*(names[name] for name in wanted), *config.reason_columns], hint)
    cells = {name: raw.table[names[name]] for name in wanted}

    sieve = columns.Sieve(raw)
    users = sieve.ids(names["user_id"], "user")
    items = sieve.ids(names["item_id"], "item")
    times = sieve.parsed(columns.times, names["time"], "time is neither ISO 8601 nor a Unix time")
    sieve.reject(columns.stray(times), "time more than ten years from all others", names["time"])
    if "value" in cells:
        values = sieve.parsed(columns.numbers, names["value"], "value is not a number")
    else:
        values = pa.chunked_array([pa.nulls(len(users), pa.float64())])

    if config.reason_columns:
        reason = _flagged_reasons(raw, config, sieve)
    elif "reason" in cells:
        reason = _coded(cells["reason"], config.reasons, REASONS, "reason", raw)
        reason[reason == NONE] = None
    else:
        reason = np.full(len(users), None, dtype=object)
    has_reason = np.not_equal(reason, EMPTY)

    if "kind" in cells:
        kind = _coded(cells["kind"], config.kinds, KINDS, "kind", raw)
        sieve.reject(np.equal(kind, EMPTY), "no kind", names["kind"])
        sieve.reject(has_reason & (kind != "dislike") & (kind != IGNORE), "a reason, but no dislike", names["kind"])
    elif config.dislike_at_most is not None and config.like_at_least is not None and "value" in cells:
        limits = ratings.thresholds(config, config.dislike_at_most, config.like_at_least)
        sieve.reject(columns.mask(pc.is_null(values)), "no value", names["value"])
        kind = ratings.kinds(np.nan_to_num(values.to_numpy()), limits).astype(object)
        sieve.reject(has_reason & (kind != "dislike"), "a reason, but no dislike", names["value"])
    elif config.reason_columns or "reason" in cells:
        kind = np.where(has_reason, "dislike", "exposure").astype(object)
    else:
        raise ConrecError(
            f"{path}: nothing tells a dislike from the rest; expected a column kind (or [data.columns] kind), a column "
            f"reason, or a column value with data.dislike_at_most and data.like_at_least in the recipe"
        )

    keep = sieve.keep(account)
    account.drop("kind ignored by the recipe", int((keep & (kind == IGNORE)).sum()))
    keep &= kind != IGNORE
    account.kept += int(keep.sum())
    reason[~keep] = None
    kind[~keep] = "exposure"
    built = [users, items, times, pa.array(kind, pa.string()), pa.array(reason, pa.string()), values]
    return pa.table(built, names=EVENTS.names).filter(pa.array(keep)).cast(EVENTS), account


def _coded(
    column: pa.ChunkedArray, codes: Mapping[str, str], ours: tuple[str, ...], what: str, raw: files.Raw
) -> np.ndarray:
    """object [rows]: our names for the log's codes, None where the cell is empty.

    A code means what the recipe says, else itself where it is one of our names, else it is an error.
    """
    text, empty = columns.words(column)
    encoded = pc.dictionary_encode(text).combine_chunks()
    meanings = []
    for code in encoded.dictionary.to_pylist():
        meaning = codes.get(code, code if code in ours else None)
        if meaning is None and code != "":
            row = raw.numbers[pc.index(text, code).as_py()]
            raise ConrecError(
                f"{raw.path}: row {row}: unknown {what} {code[:80]!r}; say in the recipe what it means: "
                f'[data.{what}s] {json.dumps(code[:80], ensure_ascii=False)} = "{ours[0]}" (or {", ".join(ours[1:])}, '
                f"{IGNORE if what == 'kind' else NONE})"
            )
        meanings.append(meaning)
    rows = encoded.indices.fill_null(len(meanings)).to_numpy(zero_copy_only=False)
    meaning_of = np.array([*meanings, None], dtype=object)[rows]
    meaning_of[empty] = codes.get("")
    return meaning_of


def _flagged_reasons(raw: files.Raw, config: DataConfig, sieve: columns.Sieve) -> np.ndarray:
    """object [rows]: the reason of the first column, in the recipe's order, that is 1; None where none is."""
    reason = np.full(raw.table.num_rows, None, dtype=object)
    for name in reversed(config.reason_columns):
        meaning = config.reasons.get(name, name if name in REASONS else None)
        if meaning is None:
            raise ConrecError(
                f"{raw.path}: row 1: unknown reason column {name!r}; say in the recipe what it means: "
                f'[data.reasons] {name} = "{REASONS[0]}" (or {", ".join(REASONS[1:])}, {NONE})'
            )
        given = sieve.parsed(columns.flags, name, f"{name} is neither 0 nor 1")
        if meaning != NONE:
            reason[given] = meaning
    return reason


def _items(path: Path, config: DataConfig, account: Accounting, own_file: bool) -> pa.Table:
    """The usable rows about items: every column of an items file, or what a file of events says about them."""
    have = files.header(path)
    for ours in ITEM_COLUMNS[1:]:
        if ours in config.columns and config.columns[ours] not in have:
            raise ConrecError(
                f"{path}: no column {config.columns[ours]!r}, which the recipe's data.columns.{ours} names; "
                f"the columns are: {files.listing(have)}"
            )
    name = config.columns.get("item_id", "item_id")
    if name not in have and own_file:  # the recipe may mean the events alone
        name = next((other for other in ("item_id", "id") if other in have), name)
    if own_file:
        wanted = list(dict.fromkeys([name, *have]))
    else:
        wanted = [name, *(c for c in (config.columns.get(n, n) for n in ITEM_COLUMNS[1:]) if c in have)]
    hint = '; if the item has another name, say so in the recipe: [data.columns] item_id = "..."'
    raw = files.read(path, wanted, hint)
    sieve = columns.Sieve(raw)
    ids = sieve.ids(name, "item")
    # Broken rows of a file of events are the events' business.
    keep = sieve.keep(account, listed=True) if own_file else ~sieve.bad
    return raw.table.drop_columns([name]).append_column("item_id", ids).filter(pa.array(keep))


def _listed(raw: files.Raw, config: DataConfig, own_file: bool) -> pa.Table:
    have, listed = raw.table.column_names, {"item_id": raw.table["item_id"]}
    names = {name: config.columns.get(name, name) for name in ITEM_COLUMNS[1:]}
    for ours in ("title", "category", "text"):
        if (name := names[ours]) in have:
            if not columns.is_plain(raw.table[name].type):
                raise ConrecError(f"{raw.path}: column {name} must hold text or numbers, not {raw.table[name].type}")
            listed[ours] = columns.titles(raw.table[name])
    if (name := names["first_seen"]) in have:
        listed["first_seen"] = columns.known_times(raw.table[name], f"{raw.path}: {name}")
    others = [name for name in have if name not in (*names.values(), "item_id")] if own_file else []
    about = {name: columns.titles(raw.table[name]) for name in others if columns.is_plain(raw.table[name].type)}
    if "attributes" in have and pa.types.is_map(raw.table["attributes"].type):
        listed["attributes"] = raw.table["attributes"].cast(pa.map_(pa.string(), pa.string()))
    else:
        nothing = pa.chunked_array([pa.nulls(len(raw.table), pa.string())])
        listed["attributes"] = columns.attributes(about or {"none": nothing})
    return pa.table(listed)


def _pictures(items: pa.Table, raw: files.Raw, config: DataConfig, images: Path | None) -> tuple[pa.Table, Accounting]:
    name = config.columns.get("image", "image")
    pictures = None if images is None else Pictures(images)
    if name not in raw.table.column_names:
        return item_list.attach(items, pictures, [(i,) for i in items["item_id"].to_pylist()])
    row = pc.index_in(items["item_id"], raw.table["item_id"].combine_chunks())
    cells = raw.table[name].take(row)
    if pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type):
        found = []
        for content in cells.to_pylist():
            cause = "picture too large" if content and len(content) > LARGEST else None if content else "no picture"
            found.append(Found(cause=cause) if cause else Found(content=content))
        return item_list.with_pictures(items, found)
    named = zip(items["item_id"].to_pylist(), cells.cast(pa.string()).to_pylist(), strict=True)
    base = raw.path.parent
    return item_list.with_pictures(items, [_named_picture(item, cell or "", base, pictures) for item, cell in named])


def _named_picture(item: str, name: str, base: Path, pictures: Pictures | None) -> Found:
    """The picture that an item names: in `pictures` by exactly this name, else a file below the items' folder; where
    there is none, that of the item's id."""
    found = Found(cause="no picture") if pictures is None else pictures.named(name)
    found = below(base, name) if found.cause == "no picture" else found
    return found if found.cause != "no picture" or pictures is None else pictures.find([item])
