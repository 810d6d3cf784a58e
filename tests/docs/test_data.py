"""docs/data.md cannot rot: its recipes load, and the words it lists are the ones the code knows."""

import re
from pathlib import Path

import pyarrow.compute as pc
import pytest

from conrec.config import DataConfig, load_recipe
from conrec.data.adapters import files, generic, movielens, movietweetings
from conrec.data.schema import INTEREST_REASONS, KINDS, OTHER_REASONS, Log

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
RECIPES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 6


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_loads(tmp_path: Path, recipe: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe)
    loaded = load_recipe(path)
    generic._check_recipe(loaded.data)


def test_every_kind_reason_and_column_is_explained() -> None:
    for word in (*KINDS, *INTEREST_REASONS, *OTHER_REASONS, *generic.EVENT_COLUMNS, *generic.ITEM_COLUMNS):
        assert f"`{word}`" in TEXT
    for left, right in zip(INTEREST_REASONS, OTHER_REASONS, strict=True):
        assert f"| `{left}` | `{right}` |" in TEXT


def test_every_type_of_file_is_explained() -> None:
    told = set(re.findall(r"`(\.[a-z]+)`", TEXT.split("## Files")[1].split("##")[0]))
    assert {suffix.removesuffix(".gz") for suffix in files.TABLE_SUFFIXES} | {".gz"} == told


def described(log: Log) -> float:
    """Share of the dislikes whose film has an overview."""
    told = log.items.filter(pc.is_valid(log.items["text"]))["item_id"].combine_chunks()
    disliked = log.events.filter(pc.equal(log.events["kind"], "dislike"))["item_id"]
    return float(pc.mean(pc.is_in(disliked, told).cast("int8")).as_py())


def test_overviews_of_films_join_both_logs_by_their_ids(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tables as they are, and by the lines of the page."""
    latest, tweets = shared_data / "movielens-latest", shared_data / "movietweetings"
    texts = shared_data / "movie-overviews" / "movies_with_overview.csv.gz"
    (tmp_path / "films").mkdir()
    for path in (latest / "ml-latest-head-206k").iterdir():
        (tmp_path / "films" / path.name).symlink_to(path)
    (tmp_path / "films" / "overviews.csv.gz").symlink_to(texts)
    log = movielens.read(tmp_path / "films", DataConfig(dislike_at_most=2, like_at_least=4), None)
    assert described(log) == pytest.approx(0.928, abs=0.0005)
    for path in (latest / "ml-latest-small" / "links.csv.gz", texts, *tweets.glob("*.gz")):
        (tmp_path / path.name).symlink_to(path)
    (lines,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    log = movietweetings.read(tmp_path, DataConfig(dislike_at_most=5, like_at_least=8), None)
    assert described(log) == pytest.approx(0.731, abs=0.0005)
