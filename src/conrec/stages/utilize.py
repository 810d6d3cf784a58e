"""Context utilisation: warm-up, then progressive GRPO in three stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from conrec.config import Recipe
from conrec.data.instances import Instances, Ragged, with_dislikes
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import future_hits, predict_items
from conrec.decode.prompt_dataset import PromptDataset
from conrec.errors import ConrecError
from conrec.features.prepared_log import PreparedLog
from conrec.lm.model import build_policy, device, load_trained_policy, save_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.processes import is_main
from conrec.train.curriculum import choose_prompts, chosen_data
from conrec.train.demonstrations import Demonstrations
from conrec.train.grpo import StageTraining, items_of_leaves, rollout, train_stage
from conrec.train.rewards import FutureReward, Reward
from conrec.train.warmup import reachable, warm_up

MIN_TRAINING = 32
CONTEXTS: tuple[Context, ...] = ("recent", "dislikes", "full")


def future_reward(inputs: Inputs, instances: Instances, kind: type[FutureReward] = FutureReward) -> Reward:
    """The reward of equation 6 for some instances, with the recipe's settings."""
    config = inputs.recipe.utilize
    return kind(
        instances,
        inputs.catalog.unit,
        inputs.neighbours,
        swing_neighbours=config.swing_neighbours,
        gamma=config.gamma,
        hit_bonus=config.hit_bonus,
    )


def utilize(
    recipe: Recipe,
    log: PreparedLog,
    understood: Path,
    out: Path,
    seed: int,
    *,
    weights_only: bool = False,
    reward_for: Callable[[Inputs, Instances], Reward] = future_reward,
) -> None:
    """Write `tokenizer/`, `warmup/`, `stage1/`, `stage2/` ... (weights and curves each) into `out`.

    `weights_only` leaves validation out of the curves, a quarter of the time; the weights are the same. `reward_for`
    makes the reward of some instances.
    """
    inputs = Inputs.of(recipe, log)
    vocabulary = Vocabulary.load(understood / "tokenizer")
    if is_main():
        vocabulary.save(out / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, inputs.catalog.codewords, seed).to(device())
    load_trained_policy(policy, understood)
    train = inputs.instances.of_split("train")
    # On the log's first day the candidate pool of midnight is still empty, so nothing could be decoded.
    started = train.cutoffs.astype("datetime64[D]") > inputs.items.first_seen[~np.isnat(inputs.items.first_seen)].min()
    train = train.take((train.n_dislikes > 0) & started)
    validation = with_dislikes(inputs.instances.of_split("validation"), recipe.utilize.validation_users)
    if len(train) < MIN_TRAINING or len(validation) == 0:
        raise ConrecError(
            f"{len(train)} training and {len(validation)} validation instances with an earlier dislike: "
            f"too few to train on (at least {MIN_TRAINING} and 1); bring a longer log"
        )

    def validate_in(context: Context) -> Callable[[], dict[str, float]]:
        if weights_only:
            return dict
        return validator(policy, inputs, vocabulary, validation, context, reward_for(inputs, validation))

    _warm_up(inputs, vocabulary, policy, train, validate_in, out / "warmup", seed)
    for number, stage in enumerate(recipe.utilize.stages, start=1):
        folder = out / f"stage{number}"
        if (folder / "weights.safetensors").exists():
            load_trained_policy(policy, folder)
            continue
        pool_of_prompts = inputs.prompt_dataset(train, stage.context, vocabulary)
        chosen = choose_prompts(
            policy,
            pool_of_prompts,
            reward_for(inputs, train),
            prompts=stage.prompts,
            num_generations=recipe.utilize.num_generations,
            batch=recipe.utilize.prompts_per_step,
            seed=seed * 10 + number,
            use_policy=number > 1,
        )
        if is_main():
            counts = {**chosen.counts, "augmented": int(chosen.augmented.sum())}
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "prompts.json").write_text(json.dumps(counts))
        data = chosen_data(pool_of_prompts, chosen, inputs.history_prompts(vocabulary), stage.context, seed)
        reward = reward_for(inputs, data.instances)
        demonstrations = Demonstrations(
            reachable(reward.future, data),
            inputs.catalog.codes,
            data.pool.trie,
            recipe.utilize.demonstrations,
        )
        training = StageTraining(
            data,
            reward,
            demonstrations,
            recipe.utilize,
            beta=stage.beta,
            seed=seed * 10 + number,
            title=f"GRPO stage {number} ({stage.context})",
            validate=validate_in(stage.context),
        )
        train_stage(policy, training, folder)
        save_policy(policy, folder)


def validator(
    policy: Policy, inputs: Inputs, vocabulary: Vocabulary, instances: Instances, context: Context, reward: Reward
) -> Callable[[], dict[str, float]]:
    """Measures the policy on some instances of validation whenever it is called: FHR@20, and the reward of sampled
    answers, whose seed is always the same."""
    decoding = inputs.decoding(instances, context, vocabulary)
    recipe = inputs.recipe

    def validate() -> dict[str, float]:
        policy.eval()
        result = sampled_reward(policy, decoding.data, reward, recipe)
        ((items, _),) = predict_items(
            policy,
            [decoding],
            k=recipe.predict.k,
            beams=recipe.predict.beams,
            batch=recipe.predict.batch,
            title="validate",
        )
        hits = future_hits(items, [instances.future[n] for n in range(len(instances))])
        return {"reward": float(result.mean()), "FHR@20": float(hits.mean())}

    return validate


def sampled_reward(policy: Policy, data: PromptDataset, reward: Reward, recipe: Recipe) -> np.ndarray:
    """Mean reward of G sampled answers to each instance, float [n]; always the same random numbers."""
    generator = torch.Generator().manual_seed(0)
    out = np.zeros(len(data))
    for part in data.by_length(recipe.predict.batch):
        _, leaves = rollout(policy, part, data.pool, recipe.utilize.num_generations, generator)
        out[part.index] = reward.of(part.index, items_of_leaves(data.pool, leaves)).total.mean(1).numpy()
    return out


def _warm_up(
    inputs: Inputs,
    vocabulary: Vocabulary,
    policy: Policy,
    train: Instances,
    validate_in: Callable[[Context], Callable[[], dict[str, float]]],
    folder: Path,
    seed: int,
) -> None:
    """Supervised warm-up, or what an earlier try left of it."""
    config = inputs.recipe.utilize
    if (folder / "weights.safetensors").exists():
        load_trained_policy(policy, folder)
        return
    contexts = CONTEXTS if config.warmup_context == "mixed" else (config.warmup_context,)
    parts = [inputs.prompt_dataset(train, context, vocabulary) for context in contexts]
    index = np.tile(np.arange(len(train)), len(contexts))
    data = replace(
        parts[0],
        instances=train.take(index),
        prompts=Ragged.of([p.prompts[n] for p in parts for n in range(len(train))], np.int64),
        rows=parts[0].rows[index],
    )
    prompts = inputs.history_prompts(vocabulary)
    own = [context for context in contexts for _ in range(len(train))]

    def with_dropout(n: int, rng: np.random.Generator) -> list[int]:
        return prompts.with_dropout(data.instances, n, own[n], config.history_dropout, rng)

    wanted = Ragged.of([[n] for n in train.next]) if config.warmup_targets == "next" else train.future
    warm_up(
        policy,
        data,
        reachable(wanted.take(index), data),
        inputs.catalog.codes,
        folder,
        epochs=config.warmup_epochs / len(contexts),
        batch=config.warmup_batch,
        learning_rate=config.warmup_learning_rate,
        checkpoint_every=config.checkpoint_every,
        seed=seed,
        validate=validate_in(contexts[-1]),
        augment=with_dropout if config.history_dropout else None,
    )
    save_policy(policy, folder)
