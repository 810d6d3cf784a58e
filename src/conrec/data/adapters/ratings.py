"""Film rating sites: ratings become events, films become items.

Low ratings are dislikes, high ones favourites, those between exposures with a value.
"""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files
from conrec.data.schema import EVENTS, Accounting
from conrec.errors import ConrecError


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
    times = sieve.parsed(columns.times, "time", "time is not a Unix time", per_second=1)
    sieve.reject(columns.early(times, begin), f"time before {begin.year}", "time")
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
    first, genres = first_genre(raw.table["genres"])
    about = columns.attributes({"genres": genres, "year": years(titles)})
    listed = {"item_id": items, "title": titles, "category": first, "attributes": about}
    return pa.table(listed).filter(keep)


def overviews(raw: files.Raw, films: pa.ChunkedArray) -> pa.ChunkedArray:
    """What each of the films, by id, is about, as text; null where a table of ids and overviews says nothing.

    `tt0114709`, as IMDb writes its ids, is 114709.
    """
    ids, texts = raw.table.columns
    numbers = pc.utf8_ltrim(columns.words(ids)[0], "t0").combine_chunks()
    return columns.titles(texts).take(pc.index_in(pc.utf8_ltrim(films, "t0"), value_set=numbers))


def first_genre(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The first genre of `A|B|C`, and the text as it is; both null where there is none."""
    none = columns.mask(pc.is_in(column, pa.array(["", "(no genres listed)"])))
    text = pc.if_else(pa.array(none), pa.scalar(None, pa.string()), column)
    return pc.list_element(pc.split_pattern(text, "|"), 0), text


def years(titles: pa.ChunkedArray) -> pa.ChunkedArray:
    """The year in brackets at the end of a film's title, as text; null where there is none."""
    return pc.struct_field(pc.extract_regex(titles, r"\((?P<year>[0-9]{4})\)\s*$"), "year")
