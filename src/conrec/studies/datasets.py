"""What the studies run on: the recipes that come along.

A further seed is a further platform on the simulator, and on MovieLens and Polis, which are split by users, a further
fold of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from conrec.config import (
    EvaluateConfig,
    GrpoStage,
    ItemsConfig,
    LmConfig,
    PredictConfig,
    Recipe,
    SidConfig,
    SimulateConfig,
    UnderstandConfig,
    UtilizeConfig,
    load_recipe,
)
from conrec.errors import ConrecError
from conrec.files import tree_digest
from conrec.run import find_recipe

NAMES = ("simulator", "movietweetings", "movielens", "polis")
"""Those that a study is of unless it is told; `kuairand`, too, can be named (docs/filter.md says what speaks against
it)."""
FOLDS = 5
LOGS = {
    "movietweetings": ("movietweetings",),
    "movielens": ("movielens-latest", "ml-latest-head-206k"),
    "polis": ("polis",),
    "kuairand": ("kuairand-27k-like-hate",),
}
FILMS, POSTERS = ("movietweetings", "movielens"), "movie-posters"


@dataclass(frozen=True)
class Dataset:
    """A log, and how CoNRec is trained on it."""

    name: str
    recipe: Recipe
    data: Path | None = None
    images: Path | None = None

    @cached_property
    def files(self) -> dict[str, str | None]:
        """What tells one version of log and pictures from another: names and sizes, which a copy keeps."""
        return {"log": tree_digest(self.data, times=False), "images": tree_digest(self.images, times=False)}

    def of_seed(self, seed: int) -> Recipe:
        """The recipe for one seed: a platform of its own, or its fold of five where users are split."""
        recipe = replace(self.recipe, seeds=(seed,))
        if self.recipe.data.simulated:
            return replace(recipe, simulate=replace(recipe.simulate, seed=recipe.simulate.seed + seed))
        return replace(recipe, split=replace(recipe.split, fold=self.fold(seed)))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that a study takes unless it is told: all folds where users are split."""
        return tuple(range(FOLDS if self.recipe.split.mode == "users" else 3))

    def fold(self, seed: int) -> int:
        """Which test users a seed sees: those of two seeds with one number are the same."""
        if self.recipe.data.simulated:
            return seed
        return seed % FOLDS if self.recipe.split.mode == "users" else 0


def dataset(name: str, data: Path | None, quick: bool) -> Dataset:
    """One of `NAMES`, or `kuairand`; `data` is the folder that holds those that are files, as in ../shared/data.

    `quick`: everything tiny, to see that it works. Raises ConrecError for a log that is not there.
    """
    if name == "simulator":
        recipe = replace(load_recipe(find_recipe(Path("demo"))), name=name)
        return Dataset(name, _tiny(recipe) if quick else recipe)
    recipe = load_recipe(find_recipe(Path(name)))
    if data is None:
        raise ConrecError(f"--data is missing: {name} is read from files; say where they are, or leave it out")
    log = data.joinpath(*LOGS[name])
    if not log.exists():
        raise ConrecError(f"{log}: not there; --data must hold {'/'.join(LOGS[name])}")
    posters = data / POSTERS if name in FILMS and (data / POSTERS).exists() else None
    return Dataset(name, _short(recipe) if quick else recipe, log, posters)


def _tiny(recipe: Recipe) -> Recipe:
    """The simulator of a test: some seconds of training in all."""
    return replace(
        _short(recipe),
        simulate=SimulateConfig(users=110, items=120, days=100, exposures_per_day=9.0),
    )


def _short(recipe: Recipe) -> Recipe:
    """Recipe of the same data with a model that hardly learns."""
    lm = LmConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=32, vocabulary=400, max_dislikes=4, max_positives=4)
    return replace(
        recipe,
        items=ItemsConfig(image="none"),
        sid=SidConfig(epochs=2),
        lm=lm,
        understand=UnderstandConfig(
            translation_epochs=0.2,
            alignment_epochs=0.2,
            alignment_samples=300,
            alignment_min_repeats=1,
            alignment_held_out=0.3,
            row_tokens=128,
        ),
        utilize=UtilizeConfig(
            warmup_context="mixed",
            warmup_epochs=0.2,
            num_generations=4,
            demonstrations=1,
            hit_bonus=1.0,
            gamma=0.1,
            prompts_per_step=8,
            validation_users=16,
            stages=tuple(replace(stage, prompts=16, beta=0.5) for stage in UtilizeConfig().stages),
        ),
        predict=PredictConfig(
            beams=20,
            features=("exposure", "attribute"),
            temperatures=(1.0,),
        ),
        evaluate=EvaluateConfig(bootstrap=50),
    )


def policy_alone(recipe: Recipe) -> Recipe:
    """Recipe decoded by policy and item prior, without the other item features."""
    return replace(recipe, predict=replace(recipe.predict, features=(), temperatures=(1.0,)))


def without_policy(recipe: Recipe) -> Recipe:
    """Recipe decoded by the item features alone: at such a temperature the policy is not asked."""
    return replace(recipe, predict=replace(recipe.predict, temperatures=(math.inf,)))


def one_context(recipe: Recipe, context: str) -> Recipe:
    """Recipe without the progressive schedule: warm-up and all stages in the same context."""
    stages = tuple(GrpoStage(context, stage.prompts, stage.beta) for stage in recipe.utilize.stages)  # type: ignore[arg-type]
    return replace(recipe, utilize=replace(recipe.utilize, warmup_context=context, stages=stages))  # type: ignore[arg-type]
