"""Cells of table 1, figure 2b, and table 5: what each trains, and on which settings it is tuned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from conrec.studies.datasets import Dataset, dataset
from conrec.studies.models import CONREC, POLICY, Variant, variant
from conrec.studies.reproduce import STUDIES

SEEDS = (0, 3)


@dataclass(frozen=True)
class Asked:
    """A cell that a study asks for, and that nobody runs."""

    system: str
    variant: Variant
    tuned_on: Variant | None = None


class Recorder:
    """Context of a study that trains nothing."""

    quick = True

    @property
    def models(self) -> Recorder:
        return self

    @property
    def systems(self) -> Recorder:
        return self

    def cell(self, system: Any, trained: Variant, tuned_on: Variant | None = None) -> Asked:
        return Asked(system if isinstance(system, str) else system.name, trained, tuned_on)

    def of_features(self, trained: Variant, folder: str, title: str) -> list[Asked]:
        return [Asked(f"{title} {name}", trained) for name in trained.recipe.predict.features]

    def oracle(self, trained: Variant) -> Asked:
        return Asked("oracle", trained)


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return dataset("simulator", None, quick=True)


def asked(study: str, data: Dataset) -> list[Asked]:
    return STUDIES[study].cells(Recorder(), data, SEEDS)


@pytest.mark.parametrize("study", ["table1", "fig2b", "table5"])
def test_every_system_runs_once_a_seed_and_what_is_compared_is_there(study: str, tiny: Dataset) -> None:
    counts = Counter(cell.system for cell in asked(study, tiny))
    assert set(counts.values()) == {len(SEEDS)}
    one = STUDIES[study]
    named = {*one.against, *one.against.values(), *one.own, *one.paper}
    assert named <= set(counts)


@pytest.mark.parametrize("study", ["table1", "fig2b", "table5"])
def test_baselines_are_tuned_on_the_first_seed_alone(study: str, tiny: Dataset) -> None:
    tuned = [cell.tuned_on for cell in asked(study, tiny) if cell.tuned_on is not None]
    assert tuned
    assert all(one == variant(tiny, SEEDS[0]) for one in tuned)


def test_in_table_1_all_systems_of_a_seed_read_one_log_and_one_set_of_ids(tiny: Dataset) -> None:
    for seed in SEEDS:
        cells = [cell for cell in asked("table1", tiny) if cell.variant.seed == seed]
        recipes = [cell.variant.recipe for cell in cells]
        own = variant(tiny, seed).recipe
        parts = ("data", "simulate", "split", "items", "sid")
        assert all(getattr(recipe, part) == getattr(own, part) for recipe in recipes for part in parts)
        assert {CONREC, POLICY, "oracle"} < {cell.system for cell in cells}
    systems = {cell.system for cell in asked("table1", tiny)}
    assert {f"{name}+positives" for name in ("sasrec", "tiger", "lc_rec")} < systems


def test_in_figure_2b_nothing_but_the_context_differs(tiny: Dataset) -> None:
    for seed in SEEDS:
        own = {cell.system: cell.variant.recipe for cell in asked("fig2b", tiny) if cell.variant.seed == seed}
        for name, context in (("conrec, dislikes only", "dislikes"), ("conrec, positives at once", "full")):
            trained, schedule = own[name].utilize, own[POLICY].utilize
            assert {trained.warmup_context, *(stage.context for stage in trained.stages)} == {context}
            stages = tuple(replace(one, context=of.context) for one, of in zip(trained.stages, schedule.stages))
            assert replace(trained, stages=stages, warmup_context=schedule.warmup_context) == schedule
            assert replace(own[name], utilize=schedule) == own[POLICY]


def test_in_table_5_both_systems_have_the_same_backbone_at_each_size(tiny: Dataset) -> None:
    cells = {(cell.system, cell.variant.seed): cell.variant for cell in asked("table5", tiny)}
    for seed in SEEDS:
        widths = []
        for size in (" small", "", " large"):
            ours, theirs = (cells[f"{system}{size}", seed] for system in (POLICY, "lc_rec"))
            assert ours == theirs
            widths.append(ours.recipe.lm.hidden)
            assert replace(ours.recipe, lm=tiny.recipe.lm) == cells[POLICY, seed].recipe
        assert widths == sorted(set(widths))
