"""docs/data.md cannot rot: its recipes load, and the words it lists are the ones the code knows."""

import re
from pathlib import Path

import pytest

from conrec.config import load_recipe
from conrec.data.adapters import files, generic
from conrec.data.schema import INTEREST_REASONS, KINDS, OTHER_REASONS

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
