"""Recipes: what is wrong is named with file and key; what is right comes back from TOML as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.config import DataConfig, GrpoStage, Recipe, load_recipe
from conrec.errors import ConrecError
from conrec.run import find_recipe
from conrec.toml import recipe_toml

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.fixture
def recipe(tmp_path: Path):
    """A function that writes a recipe and loads it."""

    def load(text: str) -> Recipe:
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        return load_recipe(tmp_path / "mine.toml")

    return load


def test_what_is_left_out_has_its_default(recipe) -> None:
    loaded = recipe('name = "mine"\n[split]\nhorizon_days = 3\n')
    assert loaded == Recipe(name="mine", split=dataclasses.replace(Recipe().split, horizon_days=3))


def test_values_become_what_the_field_asks_for(recipe) -> None:
    loaded = recipe(
        "seeds = [1, 2]\n[data]\ndislike_at_most = 5\n[data.kinds]\n0 = 'dislike'\n"
        "[[utilize.stages]]\ncontext = 'recent'\nbeta = 1\n"
    )
    assert loaded.seeds == (1, 2)
    assert isinstance(loaded.data.dislike_at_most, float)
    assert loaded.data.kinds == {"0": "dislike"}
    assert loaded.utilize.stages == (GrpoStage("recent", beta=1.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown key nmae; known here:.* name"),
        ("[split]\nhorizon = 7", "unknown key split.horizon; known here:.* horizon_days"),
        ("[[utilize.stages]]\nbeat = 1.0", r"unknown key utilize.stages\[0\].beat"),
        ("[split]\nhorizon_days = 'seven'", "split.horizon_days must be int, not 'seven'"),
        ("[split]\nhorizon_days = 7.5", "split.horizon_days must be int, not 7.5"),
        ("[split]\nhorizon_days = true", "split.horizon_days must be int, not True"),
        ("[split]\nmode = 'random'", "split.mode = 'random'; allowed: time, users"),
        ("split = 3", "split.* must be a table, not 3"),
        ("seeds = 1", "seeds must be a list, not 1"),
        ("seeds = [0, 'x']", r"seeds\[1\] must be int, not 'x'"),
        ("[data]\ncolumns = 'user'", "data.columns must be a table"),
        ("[split\nhorizon_days = 7", "not valid TOML"),
        ("[split]\ncandidates = 1", "split.candidates = 1; it must be at least 2"),
        ("[items]\nswing_neighbours = 0", "items.swing_neighbours = 0; it must be at least 1"),
        ("[sid]\nhidden = [64, 0]", "sid.hidden = 0; it must be at least 1"),
        ("[sid]\nema_decay = 1.0", "sid.ema_decay = 1.0; it must be at least 0 and below 1"),
        ("[lm]\nheads = 3", "lm.hidden = 128, heads = 3, .* multiple of twice the heads"),
        ("[understand]\nlearning_rate = 0", "understand.learning_rate = 0.0; it must be above 0"),
        ("[understand]\nlearning_rate = nan", "understand.learning_rate = nan; it must be above 0"),
        ("[utilize]\nnum_generations = 1", "utilize.num_generations = 1; it must be at least 2"),
        (
            "[utilize]\nnum_generations = 4\ndemonstrations = 4",
            "utilize.demonstrations = 4; some of the group's 4 answers must be drawn",
        ),
        ("[[utilize.stages]]\nprompts = 0", r"utilize.stages\[0\].prompts = 0; it must be at least 1"),
        ("[predict]\ntemperatures = [1.0, 0.0]", "predict.temperatures = 0.0; it must be above 0"),
        ("[predict]\nco_dislike_weights = []", r"predict.co_dislike_weights = \[\]; it must hold at least one value"),
        ("[predict]\ncontent_weights = [inf]", "predict.content_weights = inf; it must be at least 0 and below inf"),
        ("[filter]\nlikes_lost = 2", "filter.likes_lost = 2.0; it must be above 0 and below 1"),
        ("[evaluate]\nk = 0", "evaluate.k = 0; it must be at least 1"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(recipe, text: str, message: str) -> None:
    with pytest.raises(ConrecError, match=message) as caught:
        recipe(text)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match=r"none\.toml: there is no such recipe"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_recipes_that_come_along_load_and_are_found_by_name(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe(path)
    assert load_recipe(find_recipe(Path(path.stem))) == loaded
    assert load_recipe(find_recipe(Path("recipes") / path.name)) == loaded


def test_a_file_of_ones_own_comes_before_one_that_comes_along(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("name = 'my own'")
    assert load_recipe(find_recipe(Path("demo"))).name == "my own"
    assert find_recipe(Path("elsewhere/demo.toml")) == Path("elsewhere/demo.toml")


def test_every_setting_goes_to_toml_and_back(tmp_path: Path) -> None:
    written = tmp_path / "written.toml"
    written.write_text(recipe_toml(Recipe()), encoding="utf-8")
    assert load_recipe(written) == Recipe()


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])),
    columns=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text("ab\"'\\\n=#🦆", max_size=5)),
    threshold=st.none() | st.floats(allow_nan=False),
    weights=st.lists(st.floats(0, allow_infinity=False), min_size=1),
    betas=st.lists(st.floats(0, 1)),
)
def test_odd_values_go_to_toml_and_back(tmp_path_factory, name, columns, threshold, weights, betas) -> None:
    recipe = Recipe(
        name=name,
        data=DataConfig(columns=columns),
        filter=dataclasses.replace(Recipe().filter, threshold=threshold),
        predict=dataclasses.replace(Recipe().predict, prior_weights=tuple(weights)),
        utilize=dataclasses.replace(Recipe().utilize, stages=tuple(GrpoStage(beta=beta) for beta in betas)),
    )
    path = tmp_path_factory.mktemp("toml") / "odd.toml"
    path.write_text(recipe_toml(recipe), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe
