"""Recipes that come along: that their values suit their data sets, not only that they load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conrec.config import Recipe, load_recipe
from conrec.data.adapters.ratings import kinds

RECIPES = {path.stem: load_recipe(path) for path in (Path(__file__).parents[1] / "recipes").glob("*.toml")}
SCALES = {"movielens": np.arange(0.5, 5.1, 0.5), "movietweetings": np.arange(0.0, 10.1)}
"""Ratings that each site lets people give."""


def test_each_is_named_as_its_file_and_reads_its_own_data() -> None:
    assert {name: recipe.data.adapter for name, recipe in RECIPES.items()} == {
        "demo": "simulated",
        "fit": "generic",
        "kuairand": "kuairand",
        "movielens": "movielens",
        "movietweetings": "movietweetings",
        "polis": "polis",
    }
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", SCALES)
def test_ratings_are_dislikes_neutral_and_likes_on_the_sites_scale(name: str) -> None:
    data, scale = RECIPES[name].data, SCALES[name]
    assert data.dislike_at_most is not None
    assert data.like_at_least is not None
    found = kinds(scale, (data.dislike_at_most, data.like_at_least)).tolist()
    assert found == sorted(found, key=["dislike", "exposure", "favorite"].index)
    assert set(found) == {"dislike", "exposure", "favorite"}
    assert {data.dislike_at_most, data.like_at_least} <= set(scale.tolist())
    middle = float(scale[[0, -1]].mean())
    assert data.dislike_at_most <= middle < data.like_at_least


def test_a_log_of_one_sitting_is_split_by_users_and_a_log_in_time_by_time() -> None:
    assert {name: recipe.split.mode for name, recipe in RECIPES.items()} == {
        "demo": "time",
        "fit": "time",
        "kuairand": "time",
        "movielens": "users",
        "movietweetings": "time",
        "polis": "users",
    }


def test_where_users_are_shown_their_own_conversation_alone_the_pool_is_that() -> None:
    assert {name for name, recipe in RECIPES.items() if recipe.split.pool == "category"} == {"polis"}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_curriculum_grows_its_context_and_trains_longest_in_the_last(recipe: Recipe) -> None:
    stages = recipe.utilize.stages
    assert [stage.context for stage in stages] == ["recent", "dislikes", "full"]
    assert stages[-1].prompts == max(stage.prompts for stage in stages)
    assert all(stage.prompts % recipe.utilize.prompts_per_step == 0 for stage in stages)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_lists_are_searched_wider_than_they_are_long_and_measured_at_their_length(recipe: Recipe) -> None:
    assert recipe.predict.beams >= recipe.predict.k == recipe.evaluate.k == 20


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_they_run_without_a_checkpoint_to_download(recipe: Recipe) -> None:
    assert recipe.lm.checkpoint == ""
    assert recipe.lm.hidden % recipe.lm.heads == 0
    assert (recipe.items.text, recipe.items.image) == (Recipe().items.text, Recipe().items.image)


def test_the_demo_is_small_enough_for_two_cores() -> None:
    demo = RECIPES["demo"].simulate
    assert demo.users * demo.exposures_per_day * demo.days < 5e6
