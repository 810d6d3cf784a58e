"""What each study varies, and the ground truths of figure 2a by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from conrec.baselines.base import Recommender, TrainingData
from conrec.baselines.tuning import BUDGET
from conrec.config import DataConfig, SplitConfig, load_recipe
from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.run import find_recipe
from conrec.simulate import simulate
from conrec.stages.prepare import prepare
from conrec.stages.utilize import CONTEXTS
from conrec.studies.cells import key
from conrec.studies.datasets import LOGS, NAMES, POSTERS, Dataset, dataset, one_context
from conrec.studies.models import POLICY, Models, Variant, declared, inputs, policy, variant
from conrec.studies.paper import features, fig2a, table3
from conrec.studies.reproduce import STUDIES, reproduce
from conrec.studies.study import StudyContext
from conrec.studies.systems import BaselineSpec, Recommenders, further, published, trivial
from tests.jobs import job
from tests.small_log import small_log, write_prepared
from tests.studies.modules import study_of


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return dataset("simulator", None, quick=True)


@pytest.fixture
def context(tmp_path: Path) -> StudyContext:
    models = Models(tmp_path / "models")
    return StudyContext(models, Recommenders(models), quick=True)


def test_real_sizes_are_as_promised_and_build_on_the_recipes() -> None:
    full = dataset("simulator", None, quick=False)
    assert full.recipe == replace(load_recipe(find_recipe(Path("demo"))), name="simulator")
    assert [stage.context for stage in full.recipe.utilize.stages] == list(CONTEXTS)
    assert full.seeds == (0, 1, 2)
    assert replace(full, name="movielens").seeds == (0, 1, 2, 3, 4)


def test_each_seed_has_a_platform_or_a_fold_where_there_are_any(tiny: Dataset) -> None:
    platforms = [tiny.of_seed(seed) for seed in (0, 3)]
    assert [recipe.seeds for recipe in platforms] == [(0,), (3,)]
    assert [recipe.simulate.seed - tiny.recipe.simulate.seed for recipe in platforms] == [0, 3]
    assert [variant(tiny, seed).fold for seed in (0, 3, 6)] == [0, 3, 6]
    ratings = replace(tiny.recipe, data=DataConfig("movielens"))
    split = Dataset("users", replace(ratings, split=SplitConfig(mode="users", cutoffs="per_user")))
    assert [split.of_seed(seed).split.fold for seed in (0, 1, 6)] == [0, 1, 1]
    assert [variant(split, seed).fold for seed in (0, 1, 6)] == [0, 1, 1]
    assert {split.of_seed(seed).simulate for seed in (0, 1)} == {tiny.recipe.simulate}
    by_time = Dataset("ratings", ratings)
    assert [variant(by_time, seed).fold for seed in (0, 3)] == [0, 0]


def test_only_a_simulated_log_is_named_by_the_settings_of_the_simulator(tiny: Dataset) -> None:
    def named(of: Dataset, users: int) -> str:
        changed = replace(of.recipe, simulate=replace(of.recipe.simulate, users=users))
        return key(inputs("compress", variant(replace(of, recipe=changed), 0)))

    real = replace(tiny, recipe=replace(tiny.recipe, data=DataConfig(adapter="movielens")))
    assert named(tiny, 110) != named(tiny, 120)
    assert named(real, 110) == named(real, 120)


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="--data is missing"):
        dataset("movielens", None, quick=True)
    with pytest.raises(ConrecError, match="movielens-latest"):
        dataset("movielens", tmp_path, quick=True)
    with pytest.raises(ConrecError, match="--seeds 1 1"):
        reproduce("table1", None, tmp_path, (1, 1), ())


@pytest.mark.parametrize("name", [*NAMES[1:], "kuairand"])
def test_posters_are_of_films_alone_and_each_seed_has_its_fold_of_users(name: str, tmp_path: Path) -> None:
    for folder in (*map(Path, LOGS.values()), Path(POSTERS)):
        (tmp_path / folder).mkdir(parents=True)
    found = dataset(name, tmp_path, quick=True)
    assert (found.images is not None) == name.startswith("movie")
    assert found.recipe.split == dataset(name, tmp_path, quick=False).recipe.split
    folds = {found.of_seed(seed).split.fold for seed in range(5)}
    assert len(folds) == (5 if found.recipe.split.mode == "users" else 1)


def test_rewards_share_a_warm_up_and_contexts_do_not(tiny: Dataset) -> None:
    def named(stage: str, **changes: object) -> str:
        utilize = replace(tiny.recipe.utilize, **changes)
        return key(inputs(stage, policy(tiny, 0, lambda recipe: replace(recipe, utilize=utilize))))

    other = {"gamma": 0.7, "hit_bonus": 0.0, "learning_rate": 1.0, "swing_neighbours": 0, "stages": ()}
    assert named("warmup") == named("warmup", **other)
    assert named("warmup") != named("warmup", warmup_epochs=9.0)
    assert len({named("utilize"), *(named("utilize", **{name: value}) for name, value in other.items())}) == 6


def variants_of(study: str, data: Dataset) -> dict[str, Variant]:
    table = STUDIES[study].variants
    ours = {name: {k: v for k, v in told.items() if k not in ("baseline", "seeds")} for name, told in table.items()}
    return {name: declared(data, 0, told) for name, told in ours.items()}


def test_each_rung_of_table_2_changes_one_thing(tiny: Dataset) -> None:
    rungs = variants_of("table2", tiny)
    assert [rung.aligned for rung in rungs.values()] == [False, True, True, True, True, True]
    settings = [rung.recipe.utilize for rung in rungs.values()]
    assert [bool(s.stages) for s in settings] == [False, False, True, True, True, True]
    assert [rung.reward for rung in rungs.values()][2:] == ["next", "future", "future", "future"]
    assert [bool(s.swing_neighbours) for s in settings[2:]] == [False, True, True, True]
    assert [bool(s.gamma) for s in settings[2:]] == [False, False, True, True]
    assert settings[-1] == tiny.recipe.utilize
    decoding = [rung.recipe.predict for rung in rungs.values()]
    assert decoding[-1] == replace(tiny.recipe.predict, temperatures=(4.0, 1.0))
    assert {(d.prior, d.features, d.temperatures) for d in decoding[:-1]} == {(True, (), (1.0,))}
    assert len({key(inputs("utilize", rung)) for rung in rungs.values()}) == 5


def test_an_ablation_is_learned_and_predicted_with_the_whole_and_trains_no_policy(
    tiny: Dataset, context: StudyContext
) -> None:
    cells = study_of(features).cells(context, tiny, (0,))
    own = (*tiny.recipe.predict.features, "prior")
    assert [cell.system for cell in cells] == ["conrec", *(f"without {name}" for name in own)]
    assert len({cell.folder(Path()) for cell in cells}) == len(cells)
    assert len({cell.shared for cell in cells}) == 1
    assert [stage.name for stage in variant(tiny, 0).stages] == ["prepare", "compress", "score", "weights", "predict"]


def test_schemes_of_table_4(tiny: Dataset) -> None:
    variants = variants_of("table4", tiny).values()
    assert [own.reward for own in variants] == ["future", "truncated", "future", "truncated", "codes"]
    a, b, c, d, e = (own.recipe.utilize for own in variants)
    assert c == d == e == tiny.recipe.utilize
    assert a == b == replace(c, gamma=0.0)
    assert len({key(inputs("utilize", own)) for own in variants}) == 5
    warmups = {key(inputs("warmup", own)) for own in variants}
    assert len(warmups) == 1


def test_studies_share_their_cells(tiny: Dataset, context: StudyContext) -> None:
    """The policy itself, scheme a and the backbone of the recipe's size are each one run."""
    everywhere = [STUDIES[name].cells(context, tiny, (0, 1)) for name in ("table2", "table4", "table5")]
    folders = [{cell.folder(Path()) for cell in cells if cell.system == POLICY} for cells in everywhere]
    assert all(found == folders[0] for found in folders)
    assert len(folders[0]) == 2
    a = [{c.folder(Path()) for c in cells if c.system == "+ future dislikes"} for cells in everywhere[:2]]
    assert a[0] == a[1]
    assert len({cell.folder(Path()) for cells in everywhere for cell in cells}) == 2 * (6 + 3 + 5)


def test_what_a_language_model_adds(tiny: Dataset, context: StudyContext) -> None:
    own = {name: one.recipe for name, one in variants_of("language_model", tiny).items()}
    assert list(own) == ["without", "with the small policy", "with SmolLM2", "with MiniLM"]
    assert own["without"] == replace(tiny.recipe, seeds=(0,))
    assert own["with MiniLM"] == replace(own["without"], items=replace(tiny.recipe.items, text="models/minilm"))
    assert [recipe.lm.checkpoint for recipe in own.values()] == ["", "", "models/smollm2", ""]
    assert [recipe.predict.asks_policy for recipe in own.values()] == [False, True, True, False]
    cells = STUDIES["language_model"].cells(context, tiny, (0, 1, 2))
    assert [cell.seed for cell in cells if cell.system == "with SmolLM2"] == [0, 1]
    assert len(cells) == 3 * 3 + 2


def test_sizes_and_contexts(tiny: Dataset) -> None:
    lm = {name: own.recipe.lm for name, own in variants_of("table5", tiny).items()}
    assert [lm[f"conrec's policy{size}"].hidden for size in (" small", "", " large")] == [8, 16, 24]
    assert lm["conrec's policy"] == tiny.recipe.lm
    flat = one_context(tiny.recipe, "dislikes").utilize
    assert {flat.warmup_context, *(stage.context for stage in flat.stages)} == {"dislikes"}
    assert [s.prompts for s in flat.stages] == [s.prompts for s in tiny.recipe.utilize.stages]
    assert table3.longer(tiny.recipe).utilize.warmup_epochs == 2 * tiny.recipe.utilize.warmup_epochs


def test_unseeded_systems_run_once_for_all_seeds_that_share_a_log(tiny: Dataset, context: StudyContext) -> None:
    ratings = Dataset("ratings", replace(tiny.recipe, data=DataConfig("movielens")))
    for data, once in ((ratings, 1), (tiny, 2)):
        first = variant(data, 0)
        for spec in [*trivial(), *further(True), *published(True)]:
            cells = [context.systems.cell(spec, variant(data, seed), first) for seed in (0, 1)]
            assert len({cell.folder(Path()) for cell in cells}) == (2 if spec.seeded else once), spec.name
    names = [spec.name for spec in [*trivial(), *further(False), *published(False)]]
    assert len(set(names)) == len(names)
    assert all(len(spec.grid) <= BUDGET for spec in [*further(False), *published(False)])


class Counted(Recommender):
    """Likes one item; remembers who was trained."""

    name = "counted"
    trained: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, item: int, seed: int) -> None:
        self.item, self.seed = item, seed

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        self.trained.append((self.item, self.seed))

    def scores(self, instances: Instances) -> np.ndarray:
        scores = np.zeros((len(instances), len(self.known.items)), np.float32)
        scores[:, self.item] = 1
        return scores


@pytest.mark.slow
def test_what_was_chosen_is_not_trained_again_under_the_same_seed(tiny: Dataset, context: StudyContext) -> None:
    spec = BaselineSpec("counted", Counted, [{"item": 3}, {"item": 5}])
    positives = replace(spec, name="counted+positives", settings_of=spec)
    Counted.trained.clear()
    first = variant(tiny, 0)
    found = [
        context.systems.cell(one, variant(tiny, seed), first).run() for seed in (0, 1) for one in (spec, positives)
    ]
    best = found[0].facts["settings"]["item"]
    assert {one.facts["settings"]["item"] for one in found} == {best}
    assert Counted.trained == [(3, 0), (5, 0), (best, 0), (best, 1), (best, 1)]
    for one, same in zip(found[::2], found[1::2]):  # the one measured as it was chosen, the other trained for it
        np.testing.assert_array_equal(one.values["FHR@20"], same.values["FHR@20"])


def test_coverage_of_the_strongest_interests() -> None:
    """Items 0-4; the user's interests, strongest first, hold item 0, then 1, 2, 3 and at last 4."""
    own = [np.arange(5) == n for n in range(5)]
    sets = [np.array([0]), np.array([3]), np.array([4]), np.array([2, 4]), np.array([0])]
    found = fig2a.coverage(sets, [own, own, own, own, []])
    np.testing.assert_array_equal(found["top-1"], [1, 0, 0, 0, np.nan])
    np.testing.assert_array_equal(found["top-4"], [1, 1, 0, 1, np.nan])


def test_categories_are_counted_outside_the_window(tmp_path: Path) -> None:
    items, log = small_log()
    _, test = write_prepared(tmp_path, items, log)
    found = fig2a.category_interests(tmp_path, test, 7)
    for n in (0, len(test) // 2, len(test) - 1):
        counts: dict[str, int] = {}
        for user, row, time, kind in zip(log.users, log.items, log.times, log.kinds):
            inside = test.cutoffs[n] <= time < test.cutoffs[n] + np.timedelta64(7, "D")
            category = items.categories[row]
            if kind == "dislike" and user == test.users[n] and not inside and category:
                counts[category] = counts.get(category, 0) + 1
        wanted = sorted(counts, key=lambda name: (-counts[name], name))[:4]
        got = [{items.categories[row] for row in np.flatnonzero(matching)} for matching in found[n]]
        assert got == [{name} for name in wanted]


def test_true_interests_match_as_the_simulator_says(tiny: Dataset, tmp_path: Path) -> None:
    prepare(job(tmp_path, "prepare", tiny.recipe, out=tmp_path))
    rules = fig2a.true_interests(tmp_path)
    catalogue = simulate(tiny.recipe.simulate, None).platform.catalogue
    ids = pq.read_table(tmp_path / "items.parquet")["item_id"].to_pylist()
    place = [catalogue.ids.index(item) for item in ids]
    table = pq.read_table(tmp_path / "truth_interests.parquet").to_pylist()
    user = table[0]["user_id"]
    own = [row for row in table if row["user_id"] == user]
    assert len(rules[user]) == len(own)
    for row, matching in zip(own, rules[user]):
        truth = catalogue.matching(row["scope"], row["attribute"], row["value"])
        np.testing.assert_array_equal(matching, truth[place])
        assert truth.any()
