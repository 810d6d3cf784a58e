"""What a stage depends on, and which folder it gets where one stage takes another's place."""

from __future__ import annotations

from dataclasses import replace

from conrec.config import Recipe
from conrec.pipeline.job import Job
from conrec.pipeline.stage import Stage, chain, direct, inputs_of, standing_for, without


def nothing(job: Job) -> None:
    """Is never called."""


PREPARE = Stage("prepare", nothing, ("split",))
COMPRESS = Stage("compress", nothing, ("sid",), after=("prepare",))
SHORTER = Stage("shorter", nothing, ("split",), after=("prepare",), replaces="prepare")
TRAIN = Stage("train", nothing, ("predict.beams",), after=("prepare", "compress"), per_seed=True)
PLAIN = (PREPARE, COMPRESS, TRAIN)
REPLACED = (PREPARE, COMPRESS, SHORTER, TRAIN)


def test_a_stage_that_replaces_another_serves_those_that_come_later() -> None:
    assert direct(TRAIN, PLAIN) == {"prepare": PREPARE, "compress": COMPRESS}
    assert direct(TRAIN, REPLACED) == {"prepare": SHORTER, "compress": COMPRESS}
    assert direct(COMPRESS, REPLACED) == direct(SHORTER, REPLACED) == {"prepare": PREPARE}
    assert chain(TRAIN, REPLACED) == list(REPLACED)
    assert chain(COMPRESS, REPLACED) == [PREPARE, COMPRESS]
    assert standing_for("prepare", REPLACED) == SHORTER


def test_a_stage_that_is_left_out_is_read_by_none() -> None:
    (first, last) = without(PLAIN, {"compress"})
    assert first == PREPARE
    assert last == replace(TRAIN, after=("prepare",))
    assert without(PLAIN, ()) == PLAIN


def test_inputs_are_the_declared_settings_of_the_stage_and_of_those_before_it() -> None:
    recipe = Recipe()
    inputs = inputs_of(TRAIN, PLAIN, recipe, 3)
    assert inputs["recipe"].keys() == {"split", "sid", "predict.beams"}
    assert inputs["seed"] == 3
    other = replace(recipe, predict=replace(recipe.predict, k=7), name="other")
    assert inputs_of(TRAIN, PLAIN, other, 3) == inputs
    assert inputs_of(TRAIN, PLAIN, replace(recipe, sid=replace(recipe.sid, codes=9)), 3) != inputs


def test_what_variants_share_has_equal_inputs() -> None:
    recipe = Recipe()
    assert inputs_of(COMPRESS, PLAIN, recipe, 0) == inputs_of(COMPRESS, REPLACED, recipe, 1)
    assert inputs_of(TRAIN, PLAIN, recipe, 0) != inputs_of(TRAIN, REPLACED, recipe, 0)
