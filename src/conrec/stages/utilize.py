"""Context utilisation: warm-up, then progressive GRPO in three stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from conrec.config import Recipe
from conrec.data.instances import Instances, Ragged, with_dislikes
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding, PromptDataset
from conrec.errors import ConrecError
from conrec.evaluate.metrics import hit_any
from conrec.files import write_json
from conrec.lm.model import build_policy, load_trained_policy, on_device, save_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.pipeline.job import Job
from conrec.processes import is_main
from conrec.train.curriculum import choose_prompts, chosen_data
from conrec.train.demonstrations import Demonstrations
from conrec.train.grpo import items_of_leaves, rollout, train_stage
from conrec.train.rewards import FutureReward, Reward
from conrec.train.warmup import reachable, warm_up

MIN_TRAINING = 32
CONTEXTS: tuple[Context, ...] = ("recent", "dislikes", "full")
RewardFor = Callable[[Inputs, Instances], Reward]


def future_reward(inputs: Inputs, instances: Instances, kind: type[FutureReward] = FutureReward) -> Reward:
    """The reward of equation 6 for some instances, with the recipe's settings."""
    return kind(instances, inputs.log_view.catalog.unit, inputs.neighbours, inputs.recipe.utilize)


def utilize(job: Job) -> None:
    """Write `tokenizer/`, `warmup/`, `stage1/`, `stage2/` ... (weights and curves each)."""
    training = Training.of(job)
    training.warm_up()
    training.grpo()


@dataclass(frozen=True)
class Training:
    """A policy after context understanding, and what it is trained on. What an earlier try finished is loaded."""

    job: Job
    inputs: Inputs
    vocabulary: Vocabulary
    policy: Policy
    train: Instances
    validation: Instances
    watched: bool
    """Whether the curves hold validation, too: a third more time, and the same weights."""
    reward_for: RewardFor

    @classmethod
    def of(cls, job: Job, *, watched: bool = True, reward_for: RewardFor = future_reward) -> Training:
        """The training of a call of the stage. ConrecError for a log that is too short."""
        inputs = Inputs.of(job.recipe, job.log)
        vocabulary = Vocabulary.load(job.of("understand") / "tokenizer")
        if is_main():
            vocabulary.save(job.out / "tokenizer")
        policy = build_policy(job.recipe.lm, vocabulary, inputs.log_view.catalog.codewords, job.seed)
        policy = on_device(policy, job.recipe.lm)
        load_trained_policy(policy, job.of("understand"))
        train, days = inputs.instances.of_split("train"), inputs.log_view.items.first_seen
        # On the log's first day the candidate pool of midnight is still empty, so nothing could be decoded.
        started = train.cutoffs.astype("datetime64[D]") > days[~np.isnat(days)].min()
        train = train.take((train.n_dislikes > 0) & started)
        validation = with_dislikes(inputs.instances.of_split("validation"), job.recipe.utilize.validation_users)
        if len(train) < MIN_TRAINING or len(validation) == 0:
            raise ConrecError(
                f"{len(train)} training and {len(validation)} validation instances with an earlier dislike: "
                f"too few to train on (at least {MIN_TRAINING} and 1); bring a longer log"
            )
        return cls(job, inputs, vocabulary, policy, train, validation, watched, reward_for)

    def warm_up(self) -> None:
        """Supervised training on what users disliked next, into `warmup/`."""
        config, folder = self.job.recipe.utilize, self.job.out / "warmup"
        if self._loaded(folder):
            return
        train = self.train
        contexts = CONTEXTS if config.warmup_context == "mixed" else (config.warmup_context,)
        parts = [self.inputs.prompt_dataset(train, context, self.vocabulary) for context in contexts]
        index = np.tile(np.arange(len(train)), len(contexts))
        joined = Ragged.joined([part.prompts for part in parts])
        data = replace(parts[0], instances=train.take(index), prompts=joined, rows=parts[0].rows[index])
        prompts = self.inputs.history_prompts(self.vocabulary)
        own = [context for context in contexts for _ in range(len(train))]

        def with_dropout(n: int, rng: np.random.Generator) -> list[int]:
            return prompts.with_dropout(data.instances, n, own[n], config.history_dropout, rng)

        wanted = Ragged.of([[n] for n in train.next]) if config.warmup_targets == "next" else train.future
        warm_up(
            self.policy,
            data,
            reachable(wanted.take(index), data),
            self.inputs.log_view.catalog.codes,
            folder,
            config,
            seed=self.job.seed,
            contexts=len(contexts),
            validate=self._validate(contexts[-1]),
            augment=with_dropout if config.history_dropout else None,
        )
        save_policy(self.policy, folder)

    def grpo(self) -> None:
        """Progressive GRPO, each stage into `stage<number>/`."""
        config, inputs, vocabulary = self.job.recipe.utilize, self.inputs, self.vocabulary
        for number, stage in enumerate(config.stages, start=1):
            folder, seed = self.job.out / f"stage{number}", self.job.seed * 10 + number
            if self._loaded(folder):
                continue
            pool_of_prompts = inputs.prompt_dataset(self.train, stage.context, vocabulary)
            reward = self.reward_for(inputs, self.train)
            chosen = choose_prompts(
                self.policy, pool_of_prompts, reward, config, prompts=stage.prompts, seed=seed, use_policy=number > 1
            )
            if is_main():
                counts = {**chosen.counts, "augmented": int(chosen.augmented.sum())}
                folder.mkdir(parents=True, exist_ok=True)
                write_json(folder / "prompts.json", counts)
            prompts = inputs.history_prompts(vocabulary)
            data = chosen_data(pool_of_prompts, chosen, prompts, stage.context, self.job.seed)
            reward = self.reward_for(inputs, data.instances)
            demonstrations = Demonstrations(
                reachable(reward.future, data), inputs.log_view.catalog.codes, data.pool.trie, config.demonstrations
            )
            train_stage(
                self.policy,
                data,
                reward,
                demonstrations,
                folder,
                config,
                beta=stage.beta,
                seed=seed,
                title=f"GRPO stage {number} ({stage.context})",
                validate=self._validate(stage.context),
            )
            save_policy(self.policy, folder)

    def _loaded(self, folder: Path) -> bool:
        """Whether an earlier try finished this part; then the policy is what it left."""
        if not (folder / "weights.safetensors").exists():
            return False
        load_trained_policy(self.policy, folder)
        return True

    def _validate(self, context: Context) -> Callable[[], dict[str, float]]:
        """Measures the policy on validation whenever it is called: FHR@20, and the reward of sampled answers."""
        if not self.watched:
            return dict
        policy, instances, recipe = self.policy, self.validation, self.inputs.recipe
        reward = self.reward_for(self.inputs, instances)
        decoding = Decoding(self.inputs.prompt_dataset(instances, context, self.vocabulary))

        def validate() -> dict[str, float]:
            policy.eval()
            result = sampled_reward(policy, decoding.data, reward, recipe)
            ((items, _),) = predict_items(policy, [decoding], recipe.predict, "validate")
            return {"reward": float(result.mean()), "FHR@20": float(hit_any(items, instances.future).mean(dtype=float))}

        return validate


def sampled_reward(policy: Policy, data: PromptDataset, reward: Reward, recipe: Recipe) -> np.ndarray:
    """Mean reward of G sampled answers to each instance, float [n]; always the same random numbers."""
    generator = torch.Generator().manual_seed(0)
    out = np.zeros(len(data))
    for part in data.by_length(recipe.predict.batch):
        _, leaves = rollout(policy, part, data.pool, recipe.utilize.num_generations, generator)
        out[part.index] = reward.of(part.index, items_of_leaves(data.pool, leaves)).total.mean(1).numpy()
    return out
