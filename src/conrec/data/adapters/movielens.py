"""MovieLens, in each of the layouts it is given out in: `.csv`, `.parquet` and the older `.dat`.

- csv (gzipped or not) and Parquet: `ratings` (userId, movieId, rating, timestamp), `movies` (movieId, title, genres)
  if there, `links` (movieId, imdbId, ...), which leads to posters by IMDb id, and `overviews` (movieId, overview),
  which says what a film is about;
- dat (ml-1m, ml-10m): `UserID::MovieID::Rating::Timestamp` and `MovieID::Title::A|B`, Latin-1 or UTF-8, no header.

Times are Unix seconds. MovieLens opened in 1995: an earlier time is a broken row.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from conrec.config import DataConfig
from conrec.data.adapters import columns, files, item_list, ratings
from conrec.data.adapters.movietweetings import MOVIE, RATING
from conrec.data.images import imdb_key, movielens_key
from conrec.data.schema import Accounting, Log

WHAT = "MovieLens' ratings and movies (.csv, .csv.gz, .parquet, .dat or .dat.gz)"
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".dat", ".dat.gz")
BEGIN = datetime(1995, 1, 1, tzinfo=UTC)

RATING_COLUMNS = {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}
MOVIE_COLUMNS = {"item": "movieId", "title": "title", "genres": "genres"}


def read(path: Path, config: DataConfig, images: Path | None) -> Log:
    """The log in the folder `path`; ratings <= 2 are dislikes, >= 4 favourites unless the recipe says otherwise.

    `value` is the rating, `category` the first genre. Items are the films with at least one rating.
    """
    limits = ratings.thresholds(config, 2.0, 4.0)
    ratings_file = files.require(path, "ratings", SUFFIXES, WHAT)
    movies_file = files.require(path, "movies", SUFFIXES, WHAT)
    of_items = Accounting()
    account = Accounting(items=of_items)
    events = ratings.rated(_table(ratings_file, RATING, RATING_COLUMNS), limits, account, BEGIN)
    listed = ratings.films(_table(movies_file, MOVIE, MOVIE_COLUMNS), of_items)
    listed = ratings.with_overviews(listed, files.find(path, "overviews", SUFFIXES[:3]), "movieId")
    imdb = {} if images is None else _links(files.find(path, "links", SUFFIXES))

    def keys(movie: str) -> list[str]:
        return [*([imdb[movie]] if movie in imdb else []), movielens_key(movie)]

    return item_list.make_log(listed, events, account, str(movies_file), str(ratings_file), images, keys)


def _table(path: Path, pattern: str, names: dict[str, str]) -> files.Raw:
    if ".dat" in path.suffixes:
        return files.read_pattern(path, pattern, tuple(names), fallback="latin-1")
    raw = files.read(path, names.values())
    return replace(raw, table=pa.table([raw.table[name] for name in names.values()], names=list(names)))


def _links(path: Path | None) -> dict[str, str]:
    """Item id to the key of its poster by IMDb id."""
    if path is None or ".dat" in path.suffixes:
        return {}
    raw = files.read(path, ("movieId", "imdbId"))
    movies, imdb = (columns.words(raw.table[name])[0].to_pylist() for name in ("movieId", "imdbId"))
    return {movie: imdb_key(number) for movie, number in zip(movies, imdb, strict=True) if movie and number}
