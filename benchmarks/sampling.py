"""How a GRPO group is best drawn: independently or without replacement, on a finished run.

    python benchmarks/sampling.py runs/demo --seeds 0 1 2

From the run's own warm-up it trains the last stage once with either sampling and each seed: the same prompts, as
many updates, the same settings. It says how many different items a group holds, the share of groups whose rewards
differ at all, and, on the same instances of validation before and after, the mean reward of answers drawn
independently (what the policy itself earns) and FHR@20. Nothing is chosen on test. The run is not changed.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tyro

from conrec.config import load_recipe
from conrec.data.instances import Instances
from conrec.lm.model import build_policy, load_trained_policy
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import say
from conrec.stages.inputs import Inputs, device
from conrec.stages.utilize import future_reward, validator
from conrec.train.curriculum import choose_prompts, chosen_data, train_stage

SAMPLINGS = ("independent", "without_replacement")


def main(
    run: tyro.conf.Positional[Path],
    seeds: tuple[int, ...] = (0, 1, 2),
    prompts: int | None = None,
    beta: float | None = None,
    learning_rate: float | None = None,
    validation_users: int = 1000,
) -> None:
    """Compare the two samplings; a number that is left out is the run's own.

    Args:
        run: A finished run folder.
        seeds: Each trains once with either sampling.
        prompts: Prompts of the stage.
        beta: Weight of the KL.
        learning_rate: Of the stage.
        validation_users: Instances of validation that are looked at before and after.
    """
    recipe = load_recipe(run / "recipe.toml")
    changes = {"prompts": prompts, "beta": beta}
    stage = dataclasses.replace(recipe.utilize.stages[-1], **{k: v for k, v in changes.items() if v is not None})
    rate = recipe.utilize.learning_rate if learning_rate is None else learning_rate
    inputs = Inputs.read(recipe, run / "prepare", run / "compress")
    seed_folder = f"seed{recipe.seeds[0]}"
    vocabulary = Vocabulary.load(run / "understand" / seed_folder / "tokenizer")
    train = _with_a_past(inputs.instances.of_split("train"), inputs)
    validation = _with_a_past(inputs.instances.of_split("validation"), inputs)
    some = np.linspace(0, len(validation) - 1, min(validation_users, len(validation))).astype(int)
    validate = validator(inputs, vocabulary, validation.take(np.unique(some)), stage.context)
    data, reward = inputs.prompt_dataset(train, stage.context, vocabulary), future_reward(inputs, train)
    policy = build_policy(recipe.lm, vocabulary, inputs.catalog.codewords, recipe.seeds[0]).to(device())
    print(f"{run}: {stage}, learning rate {rate:g}, G = {recipe.utilize.group}")
    print(f"{'seed':>4} {'sampling':20} {'unique':>7} {'spread':>7} {'reward':>16} {'FHR@20':>16}")
    gains = []
    for seed in seeds:
        gain = {}
        for sampling in SAMPLINGS:
            say(f"seed {seed}, {sampling}")
            load_trained_policy(policy, run / "utilize" / seed_folder / "warmup")
            chosen = choose_prompts(
                policy,
                data,
                reward,
                prompts=stage.prompts,
                group=recipe.utilize.group,
                batch=recipe.utilize.prompts_per_step,
                normalisation=recipe.predict.normalisation,
                seed=seed,
                use_policy=False,
            )
            with tempfile.TemporaryDirectory() as folder:
                train_stage(
                    policy,
                    chosen_data(data, chosen, inputs.history_prompts(vocabulary), stage, seed),
                    chosen.index,
                    inputs.catalog.codes,
                    reward,
                    stage,
                    dataclasses.replace(recipe.utilize, sampling=sampling, learning_rate=rate),
                    Path(folder),
                    normalisation=recipe.predict.normalisation,
                    seed=seed,
                    title=sampling,
                    validate=validate,
                    validations=1,
                )
                curves = pq.read_table(Path(folder) / "curves.parquet").to_pandas()
            values = {name: part["value"].to_numpy() for name, part in curves.groupby("name")}
            own = curves[curves["split"] == "validation"]
            before, after = (dict(zip(p["name"], p["value"])) for p in (own.head(2), own.tail(2)))
            gain[sampling] = [after[name] - before[name] for name in ("reward", "FHR@20")]
            unique, spread = values["unique_items"].mean(), 1 - values["no_spread_share"].mean()
            print(
                f"{seed:4} {sampling:20} {unique:7.2f} {spread:7.3f}"
                f" {before['reward']:7.4f} {after['reward']:8.4f} {before['FHR@20']:7.4f} {after['FHR@20']:8.4f}",
                flush=True,
            )
        gains.append(np.subtract(gain["without_replacement"], gain["independent"]))
    mean, error = np.mean(gains, 0), np.std(gains, 0, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else [0, 0]
    print("without replacement gains more than independent, mean over seeds (standard error):")
    print(f"reward {mean[0]:+.4f} ({error[0]:.4f}), FHR@20 {mean[1]:+.4f} ({error[1]:.4f})")


def _with_a_past(instances: Instances, inputs: Inputs) -> Instances:
    """Those with an earlier dislike, and with something on offer at the midnight before."""
    first = inputs.items.first_seen[~np.isnat(inputs.items.first_seen)].min()
    return instances.take((instances.n_dislikes > 0) & (instances.cutoffs.astype("datetime64[D]") > first))


if __name__ == "__main__":
    tyro.cli(main)
