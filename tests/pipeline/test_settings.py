"""A stage sees the settings that it declares, and nothing else."""

from __future__ import annotations

import pickle

import pytest

from conrec.config import Recipe
from conrec.pipeline.settings import UndeclaredSetting, restricted


def test_declared_settings_are_the_recipes() -> None:
    recipe = Recipe()
    seen = restricted(recipe, "predict", ("sid", "predict.beams", "name"))
    assert seen.sid is recipe.sid
    assert seen.predict.beams == recipe.predict.beams
    assert seen.name == recipe.name


def test_any_other_setting_is_an_error_that_names_stage_and_setting() -> None:
    seen = restricted(Recipe(), "predict", ("sid", "predict.beams"))
    with pytest.raises(UndeclaredSetting, match=r"the stage predict reads predict\.k, which its declaration"):
        _ = seen.predict.k
    with pytest.raises(UndeclaredSetting, match="the stage predict reads items, which"):
        _ = seen.items
    with pytest.raises(AttributeError, match="bems"):
        _ = seen.predict.bems


def test_a_worker_elsewhere_sees_the_same() -> None:
    seen = pickle.loads(pickle.dumps(restricted(Recipe(), "predict", ("sid", "predict.beams")).predict))
    assert seen.beams == Recipe().predict.beams
    with pytest.raises(UndeclaredSetting, match=r"predict reads predict\.k"):
        _ = seen.k
