"""Recipes: what is wrong is named with file and key; what is right comes back from TOML as it was."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.config import DataConfig, GrpoStage, LmConfig, Recipe, load_recipe, with_settings
from conrec.errors import ConrecError
from conrec.run import find_recipe
from conrec.toml import to_toml

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
        ("nmae = 'x'", "unknown key nmae; did you mean name\\? Known here: data, .*, name, "),
        ("[split]\nhorizon = 7", "unknown key split.horizon; did you mean horizon_days"),
        ("[split]\nxyzzy = 7", "unknown key split.xyzzy; known here: cutoffs, "),
        ("[[utilize.stages]]\nbeat = 1.0", r"unknown key utilize.stages\[0\].beat; did you mean beta"),
        ("[split]\nhorizon_days = 'seven'", "split.horizon_days = 'seven'; it must be int, not str"),
        ("[split]\nhorizon_days = 7.5", "split.horizon_days = 7.5; it must be int, not float"),
        ("[split]\nhorizon_days = true", "split.horizon_days = True; it must be int, not bool"),
        ("[split]\nmode = 'random'", "split.mode = 'random'; it must be one of time, users"),
        ("[split]\nmode = 1", "split.mode = 1; it must be str, not int"),
        ("[[utilize.stages]]\ncontext = 'all'", r"stages\[0\].context = 'all'; it must be one of dislikes"),
        ("split = 3", "split = 3; it must be table, not int"),
        ("seeds = 1", "seeds = 1; it must be list, not int"),
        ("seeds = [0, 'x']", r"seeds\[1\] = 'x'; it must be int, not str"),
        ("[data]\ncolumns = 'user'", "data.columns = 'user'; it must be table, not str"),
        ("[data.columns]\nuser_id = 3", "data.columns.* it must be str, not int"),
        ("[split\nhorizon_days = 7", "not valid TOML"),
        ("[simulate]\nusers = 0", "simulate.users = 0; it must be int >= 1"),
        ("[simulate]\ndays = -1", "simulate.days = -1; it must be int >= 1"),
        ("[simulate]\ndislike_if_matched = 0.9", "simulate.dislike_if_matched = 0.9; it must be float <= 0.8"),
        ("[simulate]\ndamping = 0.0", "simulate.damping = 0.0; it must be float > 0.0"),
        ("[items]\nswing_neighbours = 0", "items.swing_neighbours = 0; it must be int >= 1"),
        ("[sid]\nhidden = [64, 0]", r"sid.hidden\[1\] = 0; it must be int >= 1"),
        ("[utilize]\nhistory_dropout = 1.0", "utilize.history_dropout = 1.0; it must be float < 1.0"),
        ("[lm]\nheads = 3", "lm.hidden = 128, heads = 3, .* multiple of twice the heads"),
        ("[understand]\nlearning_rate = 0", "understand.learning_rate = 0; it must be float > 0.0"),
        ("[understand]\nlearning_rate = nan", "understand.learning_rate = nan; it must be float > 0.0"),
        ("[utilize]\nnum_generations = 1", "utilize.num_generations = 1; it must be int >= 2"),
        (
            "[utilize]\nnum_generations = 4\ndemonstrations = 4",
            "utilize.demonstrations = 4; some of the group's 4 answers must be drawn",
        ),
        ("[utilize]\nstages = []", r"utilize.stages = \[\]; it must be list of length >= 1"),
        ("[understand]\nlearning_rate = inf", "understand.learning_rate = inf; it must be float <= 1000000000.0"),
        ("[split]\nhorizon_days = 99999999999", "split.horizon_days = 99999999999; it must be int <= 3650"),
        ("[split]\nseed = -1", "split.seed = -1; it must be int >= 0"),
        ("[split]\nfold = 5", "split.fold = 5; it must be int <= 4"),
        ("[split]\ntest_from = nan", "split.test_from = nan; it must be float >= 0.0"),
        ("[data]\nmin_user_dislikes = -5", "data.min_user_dislikes = -5; it must be int >= 0"),
        ("[data]\ndislike_at_most = nan", "data.dislike_at_most = nan; it must be float >= -1000000000.0"),
        ("[sid]\nlevels = 30", "sid.levels = 30; it must be int <= 26"),
        ("[lm]\nhidden = 100000000000000000000", "lm.hidden = 1\\d*; it must be int <= 1000000000"),
        ("seeds = [-1]", r"seeds\[0\] = -1; it must be int >= 0"),
        ("[[utilize.stages]]\nprompts = 0", r"utilize.stages\[0\].prompts = 0; it must be int >= 1"),
        ("[predict]\ntemperatures = [1.0, 0.0]", r"predict.temperatures\[1\] = 0.0; it must be float > 0.0"),
        ("[predict]\ntemperatures = []", r"predict.temperatures = \[\]; it must be list of length >= 1"),
        ('[predict]\nfeatures = ["luck"]', r"predict.features\[0\]"),
        ("[filter]\nlikes_lost = 2", "filter.likes_lost = 2; it must be float < 1.0"),
        ("[filter]\nthreshold = nan", "filter.threshold = nan; it must be float >= -1000000000.0"),
        ("[evaluate]\nk = 0", "evaluate.k = 0; it must be int >= 1"),
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


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_settings_that_come_along_stand_over_every_recipe(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = find_recipe(Path(name))
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    for recipe in map(load_recipe, RECIPES):
        both, expected = (tomllib.loads(to_toml(one)) for one in (with_settings(recipe, path), recipe))
        for section, values in told.items():
            expected[section] |= values
        assert both == expected


def test_faults_of_settings_name_their_file(tmp_path: Path) -> None:
    path = tmp_path / "over.toml"
    path.write_text("[lm]\nlora = 8\n")
    with pytest.raises(ConrecError, match=r"over\.toml: unknown key lm\.lora; did you mean lora_rank"):
        with_settings(Recipe(), path)
    path.write_text("[lm]\nhidden = 96\n")
    six = dataclasses.replace(Recipe(), name="six", lm=LmConfig(hidden=120, heads=6, kv_heads=3))
    assert with_settings(six, path).lm.hidden == 96
    path.write_text("[lm]\nhidden = 64\n")
    with pytest.raises(ConrecError, match=r"over\.toml over six: lm\.hidden = 64, heads = 6, kv_heads = 3"):
        with_settings(six, path)
    with pytest.raises(ConrecError, match=r"none\.toml: there is no such recipe"):
        with_settings(Recipe(), tmp_path / "none.toml")


def test_a_file_of_ones_own_comes_before_one_that_comes_along(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("name = 'my own'")
    assert load_recipe(find_recipe(Path("demo"))).name == "my own"
    assert find_recipe(Path("elsewhere/demo.toml")) == Path("elsewhere/demo.toml")


def test_every_setting_goes_to_toml_and_back(tmp_path: Path) -> None:
    written = tmp_path / "written.toml"
    written.write_text(to_toml(Recipe()), encoding="utf-8")
    assert load_recipe(written) == Recipe()


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])),
    columns=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text("ab\"'\\\n=#🦆", max_size=5)),
    threshold=st.none() | st.floats(-1e9, 1e9),
    temperatures=st.lists(st.floats(0.01, 1000), min_size=1),
    betas=st.lists(st.floats(0, 1), min_size=1),
)
def test_odd_values_go_to_toml_and_back(tmp_path_factory, name, columns, threshold, temperatures, betas) -> None:
    recipe = Recipe(
        name=name,
        data=DataConfig(columns=columns),
        filter=dataclasses.replace(Recipe().filter, threshold=threshold),
        predict=dataclasses.replace(Recipe().predict, temperatures=tuple(temperatures)),
        utilize=dataclasses.replace(Recipe().utilize, stages=tuple(GrpoStage(beta=beta) for beta in betas)),
    )
    path = tmp_path_factory.mktemp("toml") / "odd.toml"
    path.write_text(to_toml(recipe), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe
