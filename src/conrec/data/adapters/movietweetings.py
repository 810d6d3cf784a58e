"""MovieTweetings: star ratings (0 to 10) that people tweeted from the IMDb apps.

A folder with `ratings.dat` (`user::imdb_id::rating::unix seconds`) and `movies.dat` (`imdb_id::title (year)::A|B`),
each possibly gzipped, UTF-8, no header. If there, `overviews.csv` (imdbId, overview) says what a film is about. Posters
are found by IMDb id.
"""

from datetime import UTC, datetime
from pathlib import Path

from conrec.config import DataConfig
from conrec.data.adapters import files, item_list, ratings
from conrec.data.images import imdb_key
from conrec.data.schema import Accounting, Log

WHAT = "MovieTweetings' ratings.dat and movies.dat (or .dat.gz)"
BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
"""The first tweets are of February 2013."""

RATING = "^(?P<user>[^:]*)::(?P<item>[^:]*)::(?P<rating>[^:]*)::(?P<time>[^:]*)$"
MOVIE = "^(?P<item>[^:]*)::(?P<title>.*)::(?P<genres>.*)$"
"""A title may hold `::` itself; ids and genres do not."""


def read(path: Path, config: DataConfig, images: Path | None) -> Log:
    """The log in the folder `path`; ratings <= 5 are dislikes, >= 8 favourites unless the recipe says otherwise.

    `value` is the rating, `category` the first genre. Items are the films with at least one rating.
    """
    limits = ratings.thresholds(config, 5.0, 8.0)
    ratings_file = files.require(path, "ratings", (".dat", ".dat.gz"), WHAT)
    movies_file = files.require(path, "movies", (".dat", ".dat.gz"), WHAT)

    of_items = Accounting()
    account = Accounting(items=of_items)
    raw = files.read_pattern(ratings_file, RATING, ("user", "item", "rating", "time"))
    events = ratings.rated(raw, limits, account, BEGIN)
    listed = ratings.films(files.read_pattern(movies_file, MOVIE, ("item", "title", "genres")), of_items)
    listed = ratings.with_overviews(listed, files.find(path, "overviews", (".csv", ".csv.gz")), "imdbId")
    sources = str(movies_file), str(ratings_file)
    return item_list.make_log(listed, events, account, *sources, images, lambda item: (imdb_key(item),))
