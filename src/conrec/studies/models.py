"""CoNRec and its variants as cells; what variants share (log, IDs, understood model, warm-up) is made once.

A variant is a recipe changed in some places. Each step of the way has a folder named by what it depends on: two
variants that differ in the reward alone share everything up to the warm-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe, SplitConfig, UtilizeConfig
from conrec.data.instances import Instances, Items, instances_table, read_events, read_instances, read_items
from conrec.data.split import Split, plan_split
from conrec.data.windows import make_instances
from conrec.evaluate.protocol import Outputs, count_hits, read_outputs
from conrec.features.prepared_log import PreparedLog
from conrec.progress import say
from conrec.studies.cells import Cell, Measured, cached, key, link
from conrec.studies.datasets import Dataset, policy_alone, without_policy

CONREC, POLICY, FEATURES = "conrec", "conrec's policy", "conrec's features"
"""The whole system; its policy without the other item features, which the studies of training compare; and the item
features without the policy."""
TRAINED_UNDER = ("k", "beams", "prior_days", "prior_smoothing")
"""Settings of `predict` that training looks at; beside them, whether there is a prior at all."""
SHARED = ("prepare", "compress", "understand", "warmup", "utilize")
"""Steps that cells have in common and that take long."""
WARMUP_TOO = ("history_dropout", "validation_users", "checkpoint_every")
"""Settings of `utilize`, beside those that begin with `warmup_`, that the warm-up reads."""


@dataclass(frozen=True)
class Variant:
    """A recipe under one seed, and what no recipe says."""

    dataset: Dataset
    seed: int
    recipe: Recipe
    horizon: int | None = None
    """Days of future that training is shown, where they are not those of the evaluation."""
    aligned: bool = True
    """False: context understanding ends with the translation, without item-level alignment."""
    reward: str = "future"
    """One of `studies.rewards.REWARDS`."""

    @property
    def fold(self) -> int:
        """Which test users the seed sees (see `Dataset.fold`)."""
        return self.dataset.fold(self.seed)


def variant(dataset: Dataset, seed: int, change: Callable[[Recipe], Recipe] = lambda recipe: recipe) -> Variant:
    """The data set's recipe with a change."""
    return Variant(dataset, seed, change(dataset.of_seed(seed)))


def policy(dataset: Dataset, seed: int, change: Callable[[Recipe], Recipe] = lambda recipe: recipe) -> Variant:
    """The data set's recipe with a change, decoded by policy and item prior alone."""
    return variant(dataset, seed, lambda recipe: policy_alone(change(recipe)))


def item_features(dataset: Dataset, seed: int) -> Variant:
    """The data set's recipe, decoded as if the policy found all items alike."""
    return variant(dataset, seed, without_policy)


class Models:
    """The steps of variants, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        """`root`: a folder of its own for logs and models."""
        self.root = root

    def cell(self, system: str, variant: Variant) -> Cell:
        """A variant as a cell: its lists and candidate scores for the test instances."""
        recipe, name, fold = variant.recipe, variant.dataset.name, variant.fold
        inputs = predict_inputs(variant) | {"evaluate.k": recipe.evaluate.k}
        shared = tuple(self.folder(step, variant) for step in SHARED)
        return Cell(name, system, variant.seed, inputs, lambda: self._measure(variant), fold, shared)

    def folder(self, step: str, variant: Variant) -> Path:
        """Folder of a step of a variant, there or not."""
        return self.root / f"{variant.dataset.name}-{step}" / key([step, INPUTS[step](variant)])

    def prepared(self, variant: Variant) -> Path:
        """Folder of the stage prepare, its training instances with the variant's horizon."""
        from conrec.stages.prepare import prepare

        recipe, data = variant.recipe, variant.dataset
        base = self._made("prepare", variant, lambda out: prepare(recipe, data.data, data.images, out))
        if variant.horizon in (None, recipe.split.horizon_days):
            return base
        split = replace(recipe.split, horizon_days=int(variant.horizon or 0))
        return self._made("horizon", variant, lambda out: with_training_horizon(base, split, out))

    def compressed(self, variant: Variant) -> Path:
        """Folder of the stage compress."""
        from conrec.stages.compress import compress

        base = self.prepared(replace(variant, horizon=None))
        return self._made("compress", variant, lambda out: compress(variant.recipe, PreparedLog(base, out), out))

    def understood(self, variant: Variant) -> Path:
        """Folder of the stage understand; without alignment only what the translation left of it."""
        from conrec.stages.understand import understand

        log = PreparedLog(self.prepared(replace(variant, horizon=None)), self.compressed(variant))
        whole = self._made("understand", variant, lambda out: understand(variant.recipe, log, out, variant.seed))
        if variant.aligned:
            return whole
        return self._made("translate", variant, lambda out: _without_alignment(whole, out))

    def warmed_up(self, variant: Variant) -> Path:
        """Folder of the stage utilize with its warm-up only."""
        return self._utilize("warmup", _warmup_of(variant), None)

    def utilized(self, variant: Variant) -> Path:
        """Folder of the stage utilize."""
        warm = self.warmed_up(variant)
        return self._utilize("utilize", variant, warm) if variant.recipe.utilize.stages else warm

    def predicted(self, variant: Variant) -> Path:
        """Folder of the stage predict, without its comparison of stages and its replay."""
        from conrec.stages.predict import predict

        prepared, ids, trained = self.prepared(variant), self.compressed(variant), self.utilized(variant)
        scored = self.scored(variant) if any(variant.recipe.predict.propensity_weights) else None
        return self._made(
            "predict",
            variant,
            lambda out: predict(variant.recipe, prepared, ids, trained, scored, out, variant.seed, lists_only=True),
        )

    def scored(self, variant: Variant) -> Path:
        """Folder of the stage score."""
        from conrec.stages.score import learn_score

        prepared, ids = self.prepared(replace(variant, horizon=None)), self.compressed(variant)
        return self._made("score", variant, lambda out: learn_score(variant.recipe, prepared, ids, out, variant.seed))

    def last(self, variant: Variant) -> Path:
        """The weights after the last stage of training."""
        stages = len(variant.recipe.utilize.stages)
        return self.utilized(variant) / (f"stage{stages}" if stages else "warmup")

    def _utilize(self, step: str, variant: Variant, warm: Path | None) -> Path:
        from conrec.stages.utilize import utilize
        from conrec.studies.rewards import REWARDS

        def make(out: Path) -> None:
            if warm is not None and not (out / "warmup").exists():
                link(warm / "warmup", out / "warmup")
            reward_for = REWARDS[variant.reward]
            utilize(variant.recipe, log, understood, out, variant.seed, weights_only=True, reward_for=reward_for)

        log = PreparedLog(self.prepared(variant), self.compressed(variant))
        understood = self.understood(variant)
        return self._made(step, variant, make)

    def _measure(self, variant: Variant) -> Measured:
        folder = self.predicted(variant)
        prepared = self.prepared(variant)
        items = read_items(prepared)
        test = read_instances(prepared, items).of_split("test")
        outputs = read_outputs(folder / "predictions.parquet", test, items, variant.recipe.evaluate.k)
        return measured(prepared, items, test, outputs, {})

    def _made(self, step: str, variant: Variant, make: Callable[[Path], Any]) -> Path:
        def speaking(out: Path) -> None:
            say(f"{step} for {variant.dataset.name}, seed {variant.seed}")
            make(out)

        return cached(self.folder(step, variant), speaking)


def measured(prepared: Path, items: Items, test: Instances, outputs: Outputs, facts: dict[str, Any]) -> Measured:
    """Every metric of the protocol for some lists and candidate scores."""
    knowledge = Split.read(prepared).knowledge(items, read_events(prepared, items))
    return Measured(test.ids, test.users, count_hits({CONREC: {0: outputs}}, test, knowledge)[CONREC][0], facts)


def _without_alignment(understood: Path, out: Path) -> None:
    link(understood / "translation", out)
    link(understood / "tokenizer", out / "tokenizer")


def warmup_only(config: UtilizeConfig) -> UtilizeConfig:
    """Without stages, and without what only they read, so that all rewards share a warm-up."""
    names = [field.name for field in fields(config)]
    shared = {name: getattr(config, name) for name in names if name.startswith("warmup_") or name in WARMUP_TOO}
    return UtilizeConfig(**shared, stages=())


def _warmup_of(variant: Variant) -> Variant:
    recipe = replace(variant.recipe, utilize=warmup_only(variant.recipe.utilize))
    return replace(variant, recipe=recipe, reward="future")


def with_training_horizon(prepared: Path, split: SplitConfig, out: Path) -> None:
    """A `prepare` folder whose training instances look `split.horizon_days` ahead; the held-out ones stay as they are.

    The candidates and the truth belong to held-out instances, so they are those of `prepared`, too.
    """
    link(prepared, out)
    items = read_items(prepared)
    events = read_events(prepared, items)
    old = pq.read_table(prepared / "instances.parquet")
    train = instances_table(make_instances(events, items, plan_split(events, split), split, names=["train"])[0], items)
    held_out = old.filter(pc.not_equal(old["split"], "train"))
    first = int(np.max(old["instance_id"].to_numpy())) + 1
    ids = pa.array(first + np.arange(len(train)), pa.int64())
    train = train.set_column(train.schema.get_field_index("instance_id"), "instance_id", ids)
    (out / "instances.parquet").unlink()
    pq.write_table(pa.concat_tables([train, held_out.select(train.column_names)]), out / "instances.parquet")


def _log_inputs(variant: Variant) -> dict[str, Any]:
    recipe = variant.recipe
    sections: dict[str, Any] = {"data": recipe.data, "split": recipe.split, "k": recipe.evaluate.k}
    if recipe.data.simulated:
        sections["simulate"] = recipe.simulate
    return sections | {"log": _size(variant.dataset.data), "images": _size(variant.dataset.images)}


def ids_inputs(variant: Variant) -> dict[str, Any]:
    """What log and semantic IDs depend on."""
    return _log_inputs(variant) | {"items": variant.recipe.items, "sid": variant.recipe.sid}


def _understand_inputs(variant: Variant) -> dict[str, Any]:
    recipe = variant.recipe
    return ids_inputs(variant) | {"lm": recipe.lm, "understand": recipe.understand, "seed": variant.seed}


def utilize_inputs(variant: Variant) -> dict[str, Any]:
    """What a trained model depends on."""
    recipe = variant.recipe
    horizon = variant.horizon or recipe.split.horizon_days
    under = {name: getattr(recipe.predict, name) for name in TRAINED_UNDER}
    under["prior"] = recipe.predict.prior_weights != (0.0,)
    own = {"utilize": recipe.utilize, "under": under, "reward": variant.reward}
    own |= {"horizon": horizon, "aligned": variant.aligned}
    return _understand_inputs(variant) | own


def predict_inputs(variant: Variant) -> dict[str, Any]:
    """What its predictions depend on."""
    return utilize_inputs(variant) | {"predict": variant.recipe.predict}


INPUTS: dict[str, Callable[[Variant], dict[str, Any]]] = {
    "prepare": _log_inputs,
    "horizon": lambda variant: _log_inputs(variant) | {"horizon": variant.horizon},
    "compress": ids_inputs,
    "understand": _understand_inputs,
    "translate": _understand_inputs,
    "warmup": lambda variant: utilize_inputs(_warmup_of(variant)),
    "utilize": utilize_inputs,
    "score": lambda variant: ids_inputs(variant) | {"seed": variant.seed},
    "predict": predict_inputs,
}
"""What each step of `Models` depends on."""


def _size(path: Path | None) -> list[Any] | None:
    """Names and sizes of the files of a log: what tells one version of it from another."""
    if path is None:
        return None
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [[file.name, file.stat().st_size] for file in files]
