"""CoNRec and its variants as cells; what variants share (log, IDs, understood model, warm-up) is built once.

A variant is a recipe changed in some places, and its own list of stages. Each stage of each variant has a folder named
by its key (`conrec.pipeline.stage.inputs_of`): two variants that differ in the reward alone share everything up to the
warm-up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from conrec.config import Recipe
from conrec.data.instances import Instances
from conrec.evaluate.protocol import Outputs, count_hits, read_outputs
from conrec.features.prepared_log import PreparedLog
from conrec.files import lock
from conrec.pipeline.build import build
from conrec.pipeline.build import partial as partial_folder
from conrec.pipeline.job import Job
from conrec.pipeline.settings import restricted
from conrec.pipeline.stage import Stage, chain, direct, imported, inputs_of, standing_for, without
from conrec.progress import say
from conrec.run import STAGES, with_named
from conrec.studies.cells import Cell, Measured, key, link, lock_of
from conrec.studies.datasets import Dataset, one_context, policy_alone, sized, utilizing, with_policy
from conrec.toml import read_table

CONREC, POLICY, WITH_POLICY = "conrec", "conrec's policy", "conrec with the policy"
"""The whole system by its recipe; its policy without the item features, which the studies of training compare; and
both together."""


@dataclass(frozen=True)
class Variant:
    """A recipe under one seed, and what no recipe says."""

    dataset: Dataset
    seed: int
    recipe: Recipe
    aligned: bool = True
    """False: context understanding ends with the translation, without item-level alignment."""
    reward: str = "future"
    """One of `studies.rewards.REWARDS`."""

    @property
    def fold(self) -> int:
        """Which test users the seed sees (see `Dataset.fold`)."""
        return self.dataset.fold(self.seed)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Those of a run up to predict, some of them otherwise.

        The warm-up is a stage of its own, nothing is trained under the eyes of validation, and only test's lists and
        candidate scores are predicted.
        """
        recipe = self.recipe
        prepare, compress, understand, utilize, score, weights, predict = STAGES[:7]
        if not recipe.data.simulated:
            prepare = replace(prepare, reads=tuple(name for name in prepare.reads if name != "simulate"))
        weights = replace(weights, function=imported("conrec.stages.weights:learn_weights", left_out=True))
        needed = tuple(name for name in predict.after if recipe.predict.features or name not in ("score", "weights"))
        predict = replace(predict, function=imported("conrec.stages.predict:predict", lists_only=True), after=needed)
        if not recipe.predict.asks_policy:
            return without((prepare, compress, score, weights, predict), ("utilize",))
        found = [prepare, compress, understand, score, weights]
        if not self.aligned:
            found.append(Stage("translate", _translate, after=("understand",), replaces="understand", per_seed=True))
        reads = tuple(read_table(Path(__file__).with_name("warmup.toml"))["reads"])
        warm_up = replace(utilize, name="warmup", function=_warm_up, reads=reads)
        reward = "" if self.reward == "future" else f"-{self.reward}"
        function, after = partial(_utilize, self.reward), (*utilize.after, "warmup")
        utilize = replace(utilize, name=f"utilize{reward}", function=function, after=after, replaces="utilize")
        return (*found, warm_up, utilize, predict)


def variant(dataset: Dataset, seed: int, change: Callable[[Recipe], Recipe] = lambda recipe: recipe) -> Variant:
    """The data set's recipe with a change."""
    return Variant(dataset, seed, change(dataset.of_seed(seed)))


def policy(dataset: Dataset, seed: int, change: Callable[[Recipe], Recipe] = lambda recipe: recipe) -> Variant:
    """The data set's recipe with a change, decoded by policy and item prior alone."""
    return variant(dataset, seed, lambda recipe: policy_alone(change(recipe)))


def declared(dataset: Dataset, seed: int, changes: Mapping[str, Any]) -> Variant:
    """A variant as a study's table declares it: by what it changes of `[utilize]`; by `aligned` and `reward` as in
    `Variant`; by `context`, one throughout; by `width`, times that of the recipe's backbone; by `features`, whether the
    policy is decoded with the item features or alone; by `with`, settings over the recipe's, and `policy`, false: the
    recipe is decoded as it is."""
    told: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in changes.items()}
    own: dict[str, Any] = {name: told.pop(name) for name in ("aligned", "reward") if name in told}
    context, width, features = told.pop("context", None), told.pop("width", 1.0), told.pop("features", False)
    over, asked = told.pop("with", None), told.pop("policy", True)

    def changed(recipe: Recipe) -> Recipe:
        recipe = sized(utilizing(recipe, **told), width)
        recipe = one_context(recipe, context) if context else recipe
        recipe = with_named(recipe, over and Path(over))
        decoded = with_policy if features else policy_alone
        return decoded(recipe) if asked else recipe

    return replace(variant(dataset, seed, changed), **own)


def inputs(stage: str | Stage, variant: Variant) -> dict[str, Any]:
    """All that a stage of a variant depends on."""
    return inputs_of(_named(stage, variant), variant.stages, variant.recipe, variant.seed) | variant.dataset.files


def _named(stage: str | Stage, variant: Variant) -> Stage:
    return standing_for(stage, variant.stages) if isinstance(stage, str) else stage


@dataclass(frozen=True)
class Models:
    """The stages of variants, each built when it is first asked for."""

    root: Path
    """A folder of its own for logs and models."""

    def cell(self, system: str, variant: Variant, predictions: str = "predictions") -> Cell:
        """A variant as a cell: its lists and candidate scores for the test instances.

        predictions: which of the files that `predict` writes.
        """
        shared = tuple(self.folder(stage, variant) for stage in chain(variant.stages[-1], variant.stages)[:-1])
        name, depends = variant.dataset.name, inputs("predict", variant) | {"predictions": predictions}
        measure = partial(self._measure, variant, predictions)
        return Cell(name, system, variant.seed, depends, measure, variant.fold, shared)

    def of_features(self, variant: Variant, folder: str, title: str) -> list[Cell]:
        """What `predict` wrote for each item feature to a folder (`ALONE` or `WITHOUT`), as cells."""
        config = variant.recipe.predict
        names = (*config.features, *["prior"] * config.prior)
        return [self.cell(f"{title} {name}", variant, f"{folder}/{name}") for name in names]

    def folder(self, stage: str | Stage, variant: Variant) -> Path:
        """Folder of a stage of a variant, there or not."""
        return self.root / f"{variant.dataset.name}-{_named(stage, variant).name}" / key(inputs(stage, variant))

    def log(self, variant: Variant) -> PreparedLog:
        """The log and the semantic IDs of a variant; the last one stays in memory."""
        return _shared_log(self.built("prepare", variant), self.built("compress", variant))

    def built(self, stage: str | Stage, variant: Variant) -> Path:
        """Folder of a stage of a variant; it and what it builds on is built where it is missing."""
        folder, data, stage = self.folder(stage, variant), variant.dataset, _named(stage, variant)
        if folder.exists():
            return folder
        folders = {name: (self.built(one, variant),) for name, one in direct(stage, variant.stages).items()}
        log = _shared_log(*(folders.get(name, (folder,))[0] for name in ("prepare", "compress")))
        recipe, seed = restricted(variant.recipe, stage.name, stage.reads), variant.seed if stage.per_seed else 0
        job = Job(recipe, partial_folder(folder), seed, folders, log, data.data, data.images)
        with lock(lock_of(folder), wait=True):  # another process may be building it
            if not folder.exists():
                say(f"{stage.name} for {data.name}, seed {variant.seed}")
                build(stage, job, folder, inputs(stage, variant))
        return folder

    def _measure(self, variant: Variant, predictions: str) -> Measured:
        path, log = self.built("predict", variant) / f"{predictions}.parquet", self.log(variant)
        test = log.instances.of_split("test")
        return measured(log, test, read_outputs(path, test, log.items, variant.recipe.evaluate.k), {})


_shared_log = lru_cache(1)(PreparedLog)


def measured(log: PreparedLog, test: Instances, outputs: Outputs, facts: dict[str, Any]) -> Measured:
    """Every metric of the protocol for some lists and candidate scores."""
    return Measured(test.ids, test.users, count_hits({CONREC: {0: outputs}}, test, log.knowledge)[CONREC][0], facts)


def _translate(job: Job) -> None:
    """What the translation between titles and IDs left of context understanding, before the alignment."""
    link(job.of("understand") / "translation", job.out)
    link(job.of("understand") / "tokenizer", job.out / "tokenizer")


def _warm_up(job: Job) -> None:
    from conrec.stages.utilize import Training

    Training.of(job, watched=False).warm_up()


def _utilize(reward: str, job: Job) -> None:
    """GRPO under one of the rewards, behind the warm-up that all share."""
    from conrec.stages.utilize import Training
    from conrec.studies.rewards import REWARDS

    if not (job.out / "warmup").exists():
        link(job.of("warmup") / "warmup", job.out / "warmup")
    training = Training.of(job, watched=False, reward_for=REWARDS[reward])
    training.warm_up()
    training.grpo()
