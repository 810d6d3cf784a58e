"""What the studies run on: the recipes that come along.

A further seed is a further platform on the simulator, and on MovieLens and Polis, which are split by users, a further
fold of them.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from conrec.config import POLICY_TEMPERATURES, GrpoStage, Recipe, load_recipe
from conrec.errors import ConrecError
from conrec.files import tree_digest
from conrec.run import named_recipe
from conrec.toml import read_table

NAMES = ("simulator", "movietweetings", "movielens", "polis")
"""Those that a study is of unless it is told; `kuairand`, too, can be named (docs/filter.md says what speaks against
it), and `films`, MovieLens with overviews (docs/pretrained.md says how to put it together)."""
FOLDS = 5
LOGS: dict[str, str] = read_table(Path(__file__).with_name("datasets.toml"))
RECIPES = {"simulator": "demo", "films": "movielens"}
"""Data sets that have the recipe of another name."""
FILMS, POSTERS = ("movietweetings", "movielens", "films"), "movie-posters"


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
        """Those that a study takes unless it is told: three, of MovieLens, whose folds are small, all five."""
        return tuple(range(FOLDS if self.name == "movielens" else 3))

    def fold(self, seed: int) -> int:
        """Which test users a seed sees: those of two seeds with one number are the same."""
        if self.recipe.data.simulated:
            return seed
        return seed % FOLDS if self.recipe.split.mode == "users" else 0


def dataset(name: str, data: Path | None, quick: bool) -> Dataset:
    """One of `NAMES`, or `kuairand`; `data` is the folder that holds those that are files, as in ../shared/data.

    `quick`: everything tiny, to see that it works. Raises ConrecError for a log that is not there.
    """
    recipe = replace(named_recipe(Path(RECIPES.get(name, name))), name=name)
    if name == "simulator":
        return Dataset(name, _quick(recipe) if quick else recipe)
    if data is None:
        raise ConrecError(f"--data is missing: {name} is read from files; say where they are, or leave it out")
    log = data / LOGS[name]
    if not log.exists():
        raise ConrecError(f"{log}: not there; --data must hold {LOGS[name]}")
    posters = data / POSTERS if name in FILMS and (data / POSTERS).exists() else None
    return Dataset(name, _quick(recipe) if quick else recipe, log, posters)


def _quick(recipe: Recipe) -> Recipe:
    """A recipe for the same data whose stages take seconds, by quick.toml."""
    tiny = load_recipe(Path(__file__).with_name("quick.toml"))
    sections = ["items", "sid", "lm", "understand", "utilize", "predict", "evaluate"]
    if recipe.data.simulated:
        sections.append("simulate")
    return replace(recipe, **{name: getattr(tiny, name) for name in sections})


def policy_alone(recipe: Recipe) -> Recipe:
    """Recipe decoded by policy and item prior, without the other item features."""
    return replace(recipe, predict=replace(recipe.predict, features=(), temperatures=(1.0,)))


def with_policy(recipe: Recipe) -> Recipe:
    """Recipe decoded by the policy beside the item features, at that of two temperatures which validation prefers."""
    return replace(recipe, predict=replace(recipe.predict, temperatures=POLICY_TEMPERATURES))


def utilizing(recipe: Recipe, **changes: Any) -> Recipe:
    """Recipe with other settings of `utilize`."""
    return replace(recipe, utilize=replace(recipe.utilize, **changes))


def one_context(recipe: Recipe, context: str) -> Recipe:
    """Recipe without the progressive schedule: warm-up and all stages in the same context."""
    stages = tuple(GrpoStage(context, stage.prompts, stage.beta) for stage in recipe.utilize.stages)  # type: ignore[arg-type]
    return utilizing(recipe, warmup_context=context, stages=stages)


def sized(recipe: Recipe, width: float) -> Recipe:
    """Recipe with a backbone of so many times the width."""
    lm = recipe.lm
    return replace(recipe, lm=replace(lm, hidden=round(lm.hidden * width), ffn=round(lm.ffn * width)))
