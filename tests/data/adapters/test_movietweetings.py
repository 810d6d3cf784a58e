"""MovieTweetings: the shipped data by its README's counts, and the ways a copy of it can be broken."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from conrec.config import DataConfig
from conrec.data.adapters import movietweetings
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound, write

MOVIES = "0000001::Boots (1999)::Comedy|Drama\n0000002::Stilts: A Tale :: Part 2 (2001)::\n"


def folder(tmp_path: Path, ratings: str, movies: str | bytes = MOVIES, suffix: str = ".dat") -> Path:
    write(tmp_path / f"ratings{suffix}", ratings)
    write(tmp_path / f"movies{suffix}", movies)
    return tmp_path


def test_shipped_data(shared_data: Path) -> None:
    log = sound(movietweetings.read(shared_data / "movietweetings", DataConfig(), shared_data / "movie-posters"))
    dislikes = log.events.filter(pc.equal(log.events["kind"], "dislike"))
    assert (log.events.num_rows, dislikes.num_rows) == (141_695, 20_650)
    assert pc.sum(pc.equal(log.events["kind"], "favorite")).as_py() == 70_841
    assert len(pc.unique(log.events["user_id"])) == 21_081
    assert len(pc.unique(dislikes["user_id"])) == 6_351
    assert len(pc.unique(dislikes["item_id"])) == 5_022
    assert log.items.num_rows == 12_611
    assert log.items["category"].null_count == 91
    assert str(pc.min(log.events["time"]).as_py()).startswith("2013-02-28")
    assert str(pc.max(log.events["time"]).as_py()).startswith("2013-11-06")
    assert log.accounting.dropped == {}
    # Posters: of the films, and of the dislikes (73.3 %).
    assert log.accounting.images is not None
    assert log.accounting.images.kept == 5_872
    with_poster = log.items.filter(pc.is_valid(log.items["image_bytes"]))
    share = pc.mean(pc.is_in(dislikes["item_id"], with_poster["item_id"].combine_chunks()).cast("int8")).as_py()
    assert share == pytest.approx(0.733, abs=0.001)
    assert all(content.startswith(b"\xff\xd8") for content in with_poster["image_bytes"].to_pylist())


def test_stricter_thresholds_on_shipped_data(shared_data: Path) -> None:
    log = movietweetings.read(shared_data / "movietweetings", DataConfig(dislike_at_most=4.0), None)
    assert pc.sum(pc.equal(log.events["kind"], "dislike")).as_py() == 10_873


@pytest.mark.parametrize("suffix", [".dat", ".dat.gz"])
def test_every_cell(tmp_path: Path, suffix: str) -> None:
    ratings = "7::0000001::5::1362062307\r\n7::0000002::6::1362062308\n8::0000002::8::1362062309"
    log = sound(movietweetings.read(folder(tmp_path, ratings, suffix=suffix), DataConfig(), None))
    assert rows(log.events, "user_id", "item_id", "kind", "reason", "value") == [
        ("7", "0000001", "dislike", None, 5.0),
        ("7", "0000002", "exposure", None, 6.0),
        ("8", "0000002", "favorite", None, 8.0),
    ]
    assert log.events["time"][0].as_py().isoformat() == "2013-02-28T14:38:27+00:00"
    boots, stilts = item(log, "0000001"), item(log, "0000002")
    assert (boots["title"], boots["category"]) == ("Boots (1999)", "Comedy")
    assert boots["attributes"] == {"genres": "Comedy|Drama", "year": "1999"}
    assert (stilts["title"], stilts["category"]) == ("Stilts: A Tale :: Part 2 (2001)", None)
    assert stilts["attributes"] == {"year": "2001"}


def many(bad: list[str], good: int = 1000) -> str:
    return "\n".join([*(f"{n}::0000001::9::1362062307" for n in range(good)), *bad]) + "\n"


def test_a_few_bad_rows_are_counted_by_cause(tmp_path: Path) -> None:
    bad = [
        "7::0000002::nine::1362062307",
        "7::0000002::::1362062307",
        "::0000002::9::1362062307",
        "7::::9::1362062307",
        "7::0000002::9::1345382",
        "7::0000002::9::soon",
        "7::0000002::9",
        "7::0000002::9::1362062307::1",
    ]
    log = sound(movietweetings.read(folder(tmp_path, many(bad)), DataConfig(), None))
    assert log.accounting.read == 1008
    assert log.accounting.dropped == {
        "rating is not a number": 2,
        "no user id": 1,
        "no item id": 1,
        "time before 2013": 1,
        "time is not a Unix time": 1,
        "wrong number of cells": 2,
    }
    assert log.accounting.items is not None
    assert log.accounting.items.dropped == {"in no event": 1}


def test_many_bad_rows_are_an_error_naming_the_first(tmp_path: Path) -> None:
    path = folder(tmp_path, many(["7::0000001"] + ["7::0000001::x::1362062307"] * 20))
    with pytest.raises(ConrecError, match=r"ratings\.dat: row 1001: .*21 of 1021 rows"):
        movietweetings.read(path, DataConfig(), None)


def test_the_first_bad_row_is_counted_across_ragged_ones(tmp_path: Path) -> None:
    path = folder(tmp_path, "7::0000001::x::1362062307\n7::short\n" * 3 + many([], 20))
    with pytest.raises(ConrecError, match=r"row 1: rating = 'x'"):
        movietweetings.read(path, DataConfig(), None)
    path = folder(tmp_path, "7::short\n7::0000001::x::1362062307\n" * 3 + many([], 20))
    with pytest.raises(ConrecError, match=r"row 1: wrong number of cells"):
        movietweetings.read(path, DataConfig(), None)


def test_control_characters_in_titles_become_blanks(tmp_path: Path) -> None:
    movies = "0000001::Bo\x00ots\t<a_1>\x1b[31m </s> 靴 (1999)::Comedy\n0000002::\x07::Drama\n".encode()
    log = sound(movietweetings.read(folder(tmp_path, many(["7::0000002::1::1362062307"]), movies), DataConfig(), None))
    assert item(log, "0000001")["title"] == "Bo ots <a_1> [31m </s> 靴 (1999)"
    assert item(log, "0000002")["title"] == "0000002"


def test_films_listed_twice_or_never(tmp_path: Path) -> None:
    movies = MOVIES + "0000001::Other (1999)::War\n"
    ratings = many(["7::0000003::1::1362062307", "7::0000002::1::1362062307"])
    log = sound(movietweetings.read(folder(tmp_path, ratings, movies), DataConfig(), None))
    assert item(log, "0000001")["title"] == "Boots (1999)"
    assert item(log, "0000003")["title"] == "0000003"
    assert log.accounting.items is not None
    assert log.accounting.items.to_json() == {"read": 4, "kept": 3, "dropped": {"listed twice": 1}}


def test_movies_of_another_log(tmp_path: Path) -> None:
    ratings = "\n".join(f"1::{n:07}::3::1362062307" for n in range(100, 110))
    with pytest.raises(ConrecError, match=r"movies\.dat: lists only 0 of the 10 items"):
        movietweetings.read(folder(tmp_path, ratings), DataConfig(), None)


def test_wrong_paths_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="nowhere: there is no such folder"):
        movietweetings.read(tmp_path / "nowhere", DataConfig(), None)
    with pytest.raises(ConrecError, match=r"holds no ratings\.dat or ratings\.dat\.gz"):
        movietweetings.read(tmp_path, DataConfig(), None)
    write(tmp_path / "ratings.dat", "")
    with pytest.raises(ConrecError, match=r"holds no movies\.dat"):
        movietweetings.read(tmp_path, DataConfig(), None)
    write(tmp_path / "movies.dat", MOVIES)
    with pytest.raises(ConrecError, match=r"ratings\.dat: is empty"):
        movietweetings.read(tmp_path, DataConfig(), None)
    with pytest.raises(ConrecError, match=r"movies\.dat: is not a folder"):
        movietweetings.read(tmp_path / "movies.dat", DataConfig(), None)
    write(tmp_path / "ratings.dat", "userId,movieId\n1,2\n")
    with pytest.raises(ConrecError, match=r"ratings\.dat: no line is of the form user::item::rating::time"):
        movietweetings.read(tmp_path, DataConfig(), None)


def test_a_truncated_download(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = folder(
        tmp_path, many([f"{n}::0000001::9::1362062307" for n in rng.integers(0, 10**9, 999)]), suffix=".dat.gz"
    )
    whole = (path / "ratings.dat.gz").read_bytes()
    (path / "ratings.dat.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConrecError, match=r"ratings\.dat\.gz: cannot be read"):
        movietweetings.read(path, DataConfig(), None)


def test_thresholds_that_overlap(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match=r"data\.dislike_at_most = 8 must be below data\.like_at_least = 8"):
        movietweetings.read(folder(tmp_path, many([])), DataConfig(dislike_at_most=8), None)


@pytest.mark.parametrize("imdb", ["0000002", "tt0000002", "2"])
def test_overviews_by_imdb_id(tmp_path: Path, imdb: str) -> None:
    folder(tmp_path, "7::0000001::5::1362062307\n7::0000002::6::1362062308\n")
    write(tmp_path / "overviews.csv", f"imdbId,overview\n{imdb},On stilts.\n")
    log = sound(movietweetings.read(tmp_path, DataConfig(), None))
    assert dict(rows(log.items, "item_id", "text")) == {"0000001": None, "0000002": "On stilts."}
