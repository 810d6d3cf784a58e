"""Counts of operations and numbers against what torch counts, and against what a run really asks."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from conrec.cli.plan import language_model
from conrec.config import LmConfig, PredictConfig, Recipe, SidConfig, SplitConfig, UnderstandConfig
from conrec.lm.model import build_policy, build_vocabulary
from conrec.plan.costs import Plan

SIZES = (64, 64, 64)
LOG = {"users": 1000, "items": 500, "events": 40_000, "dislikes": 8000, "likes": 8000, "days": 100}
LM = LmConfig(hidden=64, layers=2, heads=4, kv_heads=4, ffn=192, vocabulary=400)
RECIPE = Recipe(
    lm=LM,
    understand=UnderstandConfig(row_tokens=128, rows_per_step=2, alignment_epochs=0),
    predict=PredictConfig(temperatures=(inf, 1.0)),
)


def plan(recipe: Recipe = RECIPE, **log: float) -> Plan:
    return Plan(recipe, LOG | log, language_model(recipe, SIZES, on_paper=True)[0])


def test_operations_of_the_model_are_those_that_torch_counts() -> None:
    policy = build_policy(LM, build_vocabulary(LM, ["a"], SIZES), [np.eye(64, dtype=np.float32)] * 3, 0)
    ids = torch.zeros(2, 128, dtype=torch.long)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        policy.body(input_ids=ids, use_cache=False)
    assert plan().forward(ids.numel(), 128) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_step_here_is_timed_and_on_paper_it_is_not() -> None:
    shape, step = language_model(RECIPE, SIZES, on_paper=False)
    assert 0 < step < 60
    assert shape | {"bytes": 2} == language_model(RECIPE, SIZES, on_paper=True)[0]  # a GPU has bfloat16
    assert shape["parameters"] == shape["trainable"] > shape["embedded"]


def test_adapters_leave_most_weights_as_they_are() -> None:
    with_lora = plan(replace(RECIPE, lm=replace(LM, lora_rank=2)))
    assert with_lora.shape["trainable"] < 0.5 * plan().shape["trainable"]
    assert with_lora.shape["embedded"] == plan().shape["embedded"]  # embeddings and head are still one
    assert with_lora.units["backward"] == 2
    assert with_lora.memory("utilize", 1) < plan().memory("utilize", 1)


@pytest.mark.parametrize("stage", ["understand", "utilize", "predict"])
def test_more_devices_hold_less_each_and_never_less_than_the_weights(stage: str) -> None:
    one, many = (plan().memory(stage, n) for n in (1, 8))
    assert 4 * plan().shape["parameters"] < many <= one
    assert (many < one) == (stage != "predict")


def test_sharded_layers_are_held_by_all_devices_together() -> None:
    whole, sharded = plan(), plan(replace(RECIPE, lm=replace(LM, sharded=True)))
    for stage in ("understand", "utilize"):
        assert sharded.memory(stage, 1) == whole.memory(stage, 1)
        assert sharded.memory(stage, 8) < whole.memory(stage, 8)
        assert sharded.memory(stage, 8) > 4 * whole.shape["embedded"]
    assert sharded.memory("predict", 8) == whole.memory("predict", 8)


def test_a_stage_asks_in_proportion_to_what_it_is_about() -> None:
    small, large = plan(), plan(items=5000)
    assert large.work("understand")["supervised"] == pytest.approx(10 * small.work("understand")["supervised"])
    longer = plan(users=100)  # ten times as much of each user: prompts are longer
    assert longer.units["prompt"] > small.units["prompt"]
    assert longer.behind(1) > small.behind(1)


def test_items_that_stand_in_prompts_as_text_take_their_tokens() -> None:
    asking = replace(RECIPE, understand=replace(RECIPE.understand, alignment_epochs=1, alignment_samples=100))
    reading = replace(asking, lm=replace(LM, text_tokens=16))
    for stage in ("understand", "utilize", "predict"):
        codes, texts = (sum(plan(recipe).work(stage).values()) for recipe in (asking, reading))
        assert texts > codes


def test_prompts_show_no_more_than_the_recipe_lets_them() -> None:
    lm = RECIPE.lm
    assert (
        plan(users=1).units["prompt"] == plan(users=2).units["prompt"] == 12 + 3 * (lm.max_dislikes + lm.max_positives)
    )


def test_rates_are_summed_over_their_units() -> None:
    rates = {"seconds": {"runs": 2.0, "events": 1e-3}, "memory": {"items": 10.0}}
    assert plan().of_log(rates) == [2.0 + 40, 5000, 0]


def test_no_codes_are_learned_where_items_have_no_ids() -> None:
    without = Plan(replace(RECIPE, sid=SidConfig(levels=0)), LOG, {})
    assert without.units["codes"] == 0
    assert Plan(RECIPE, LOG, {}).units["codes"] > 0


def test_more_is_held_out_of_a_longer_period() -> None:
    later = replace(RECIPE, split=SplitConfig(validation_from=0.5, test_from=0.8))
    assert Plan(later, LOG, {}).units["asked"] > Plan(RECIPE, LOG, {}).units["asked"]
