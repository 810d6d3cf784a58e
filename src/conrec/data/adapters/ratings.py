"""Film rating sites: ratings become events, films become items.

Low ratings are dislikes, high ones favourites, those between exposures with a value.
"""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files
from conrec.data.schema import EVENTS, Accounting
from conrec.errors import ConrecError

NO_GENRES = pa.array(["", "(no genres listed)"])


def thresholds(config: DataConfig, dislike_at_most: float, like_at_least: float) -> tuple[float, float]:
    """The recipe's two thresholds, or the data set's usual ones; a ConrecError if they overlap."""
    low = dislike_at_most if config.dislike_at_most is None else config.dislike_at_most
    high = like_at_least if config.like_at_least is None else config.like_at_least
    if low >= high:
        raise ConrecError(f"recipe: data.dislike_at_most = {low:g} must be below data.like_at_least = {high:g}")
    return low, high


def kinds(ratings: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """str [n]: dislike, exposure or favorite for each rating float [n]."""
    low, high = limits
    return np.select([ratings <= low, ratings >= high], ["dislike", "favorite"], "exposure")


def rated(raw: files.Raw, limits: tuple[float, float], account: Accounting, begin: datetime) -> pa.Table:
    """EVENTS of a table with the columns user, item, rating and time (Unix seconds, none before `begin`).

    The rating becomes the event's value; every row of the file is added to `account`.
    """
    sieve = columns.Sieve(raw)
    users = sieve.ids("user", "user")
    items = sieve.ids("item", "item")
    values, bad = columns.numbers(raw.table["rating"])
    sieve.reject(bad | columns.mask(values.is_null()), "rating is not a number", "rating")
    times = sieve.unix_times("time", "time is not a Unix time", 1, begin)
    keep = pa.array(sieve.keep(account))
    users, items, times, values = (column.filter(keep) for column in (users, items, times, values))
    account.kept += len(values)
    kind = pa.array(kinds(values.to_numpy(), limits).tolist(), pa.string())
    return pa.table([users, items, times, kind, pa.nulls(len(kind), pa.string()), values], schema=EVENTS)


def films(raw: files.Raw, account: Accounting) -> pa.Table:
    """The items of a table with the columns item, title (`Name (year)`) and genres (`A|B|C`).

    Rows that cannot be used are added to `account`, that of the items; the others are counted where they are fitted.
    """
    sieve = columns.Sieve(raw)
    items = sieve.ids("item", "item")
    keep = pa.array(sieve.keep(account, listed=True))
    titles = columns.titles(raw.table["title"])
    genres = columns.blank_to_null(raw.table["genres"], NO_GENRES)
    year = pc.struct_field(pc.extract_regex(titles, r"\((?P<year>[0-9]{4})\)\s*$"), "year")
    listed = {
        "item_id": items,
        "title": titles,
        "category": pc.list_element(pc.split_pattern(genres, "|"), 0),
        "attributes": columns.attributes({"genres": genres, "year": year}),
    }
    return pa.table(listed).filter(keep)


def with_overviews(films: pa.Table, path: Path | None, id_name: str) -> pa.Table:
    """The films with the column `text`, out of a table of ids and overviews if there is one; null where that says
    nothing. `tt0114709`, as IMDb writes its ids, is 114709."""
    if path is None:
        return films
    ids, texts = files.read(path, (id_name, "overview")).table.columns
    numbers = pc.utf8_ltrim(columns.words(ids)[0], "t0").combine_chunks()
    row = pc.index_in(pc.utf8_ltrim(films["item_id"], "t0"), value_set=numbers)
    return films.append_column("text", columns.titles(texts).take(row))
