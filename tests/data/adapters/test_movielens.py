"""MovieLens: both shipped subsets by their README's counts, and the three layouts reading to the same log."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conrec.config import DataConfig
from conrec.data.adapters import movielens
from conrec.data.schema import Log
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound, write

RATINGS = [(1, 10, 2.0, 964982703), (1, 20, 3.0, 964982704), (2, 10, 4.5, 964982705)]
MOVIES = [(10, 'Léon, "The" Pro (1994)', "Action|Crime"), (20, "Nothing", "(no genres listed)"), (30, "Unseen", "War")]


def csv(path: Path, suffix: str = ".csv") -> Path:
    ratings = "\n".join(f"{u},{m},{r},{t}" for u, m, r, t in RATINGS)
    movies = "\n".join('{},"{}",{}'.format(m, t.replace('"', '""'), g) for m, t, g in MOVIES)
    write(path / f"ratings{suffix}", "userId,movieId,rating,timestamp\n" + ratings)
    write(path / f"movies{suffix}", "\ufeffmovieId,title,genres\n" + movies + "\n")
    return path


def dat(path: Path, encoding: str) -> Path:
    write(path / "ratings.dat", "".join(f"{u}::{m}::{r:g}::{t}\n" for u, m, r, t in RATINGS))
    write(path / "movies.dat", "".join(f"{m}::{t}::{g}\n" for m, t, g in MOVIES).encode(encoding))
    return path


def parquet(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(("userId", "movieId", "rating", "timestamp"), map(list, zip(*RATINGS))))
    pq.write_table(pa.table(columns), path / "ratings.parquet")
    columns = dict(zip(("movieId", "title", "genres"), map(list, zip(*MOVIES))))
    pq.write_table(pa.table(columns), path / "movies.parquet")
    return path


def dislikes(log: Log) -> pa.Table:
    return log.events.filter(pc.equal(log.events["kind"], "dislike"))


def share_with_poster(log: Log) -> float:
    there = log.items.filter(pc.is_valid(log.items["image_bytes"]))["item_id"].combine_chunks()
    return pc.mean(pc.is_in(dislikes(log)["item_id"], there).cast("int8")).as_py()


def test_shipped_head(shared_data: Path) -> None:
    path = shared_data / "movielens-latest" / "ml-latest-head-206k"
    log = sound(movielens.read(path, DataConfig(), shared_data / "movie-posters"))
    assert log.accounting.to_json() | {"items": None, "images": None} == {
        "read": 206_585,
        "kept": 206_584,
        "dropped": {"time before 1995": 1},
        "items": None,
        "images": None,
    }
    low = dislikes(log)
    assert low.num_rows == 24_644
    assert (len(pc.unique(low["user_id"])), len(pc.unique(low["item_id"]))) == (1_601, 5_697)
    assert log.items.num_rows == 13_049
    assert log.accounting.items is not None
    assert log.accounting.items.read == 86_537
    assert log.accounting.images is not None
    assert log.accounting.images.kept == 8_210
    assert share_with_poster(log) == pytest.approx(0.952, abs=0.001)


def test_shipped_small(shared_data: Path) -> None:
    path = shared_data / "movielens-latest" / "ml-latest-small"
    log = sound(movielens.read(path, DataConfig(), shared_data / "movie-posters"))
    low = dislikes(log)
    assert (log.events.num_rows, low.num_rows, log.items.num_rows) == (100_836, 13_523, 9_724)
    assert (len(pc.unique(low["user_id"])), len(pc.unique(low["item_id"]))) == (526, 4_596)
    assert len(pc.unique(log.events["user_id"])) == 610
    assert log.accounting.images is not None
    assert log.accounting.images.kept == 9_506
    assert share_with_poster(log) == pytest.approx(0.995, abs=0.001)


def test_every_layout_reads_the_same(tmp_path: Path) -> None:
    folders = [
        csv(tmp_path / "csv"),
        csv(tmp_path / "gz", ".csv.gz"),
        parquet(tmp_path / "parquet"),
        dat(tmp_path / "latin", "latin-1"),
        dat(tmp_path / "utf8", "utf-8"),
    ]
    logs = [sound(movielens.read(folder, DataConfig(), None)) for folder in folders]
    for log in logs:
        assert log.events.to_pylist() == logs[0].events.to_pylist()
        assert log.items.to_pylist() == logs[0].items.to_pylist()
    assert rows(logs[0].events, "user_id", "item_id", "kind", "value") == [
        ("1", "10", "dislike", 2.0),
        ("1", "20", "exposure", 3.0),
        ("2", "10", "favorite", 4.5),
    ]
    leon = item(logs[0], "10")
    assert (leon["title"], leon["category"]) == ('Léon, "The" Pro (1994)', "Action")
    assert leon["attributes"] == {"genres": "Action|Crime", "year": "1994"}
    assert item(logs[0], "20")["category"] is None
    assert item(logs[0], "20")["attributes"] == {}
    assert logs[0].items.num_rows == 2


def test_posters_by_links_then_by_movielens_id(tmp_path: Path) -> None:
    folder = csv(tmp_path / "log")
    write(folder / "links.csv", "movieId,imdbId,tmdbId\n10,110413,101\n20,,\n")
    posters = tmp_path / "posters"
    write(posters / "tt0110413.jpg", b"leon")
    write(posters / "ml20.png", b"nothing")
    log = sound(movielens.read(folder, DataConfig(), posters))
    assert item(log, "10")["image"] == str((posters / "tt0110413.jpg").resolve())
    assert item(log, "20")["image"] == str((posters / "ml20.png").resolve())


def test_a_missing_column(tmp_path: Path) -> None:
    folder = csv(tmp_path)
    write(folder / "ratings.csv", "user,movieId,rating,timestamp\n1,2,3,4\n")
    with pytest.raises(ConrecError, match=r"ratings\.csv: no column 'userId'; the columns are: user, movieId"):
        movielens.read(folder, DataConfig(), None)


def test_no_rows_and_no_table(tmp_path: Path) -> None:
    folder = csv(tmp_path)
    write(folder / "ratings.csv", "userId,movieId,rating,timestamp\n")
    log = sound(movielens.read(folder, DataConfig(), None))
    assert (len(log.events), log.accounting.read) == (0, 0)
    (folder / "ratings.csv").unlink()
    write(folder / "ratings.parquet", b"PAR1 but not really")
    with pytest.raises(ConrecError, match=r"ratings\.parquet: cannot be read"):
        movielens.read(folder, DataConfig(), None)


def test_overviews_join_by_id_and_are_one_line(tmp_path: Path) -> None:
    csv(tmp_path)
    assert movielens.read(tmp_path, DataConfig(), None).items["text"].null_count == 2
    write(tmp_path / "overviews.csv.gz", 'movieId,title,overview\n99,x,Who?\n20,y,"Nobody\nmoves, at all"\n10,z,\n')
    log = sound(movielens.read(tmp_path, DataConfig(), None))
    assert dict(rows(log.items, "item_id", "text")) == {"10": None, "20": "Nobody moves, at all"}
