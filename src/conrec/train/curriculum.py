"""Progressive GRPO: the dislikes of the last days, then all dislikes, then dislikes and positives (paper, section 3).

Each stage starts from the policy of the one before, which is also its reference, and has a beta of its own. The
earlier policy prepares the stage's prompts: those on which its answers show no spread in reward are replaced
(nothing can be learned from them yet), and those on which its answers come closer to what the user is about to
*like* than to what they are about to dislike are used with some of the history left out. (Used twice, as they are and
thinned, they cost hits: they then make up half of a stage; bench/LOG.md.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from conrec.config import GrpoStage, UtilizeConfig
from conrec.data.instances import Ragged
from conrec.decode.prompt_dataset import PromptDataset
from conrec.lm.model import load_trained_state, trained_state
from conrec.lm.policy import Policy
from conrec.lm.prompts import HistoryPrompts
from conrec.lm.sharing import Share
from conrec.lm.training import Trainer
from conrec.progress import track
from conrec.train.grpo import advantages, grpo_loss
from conrec.train.guidance import guide
from conrec.train.rewards import Reward, Rewards
from conrec.train.rollout import rollout
from conrec.train.warmup import reachable

LEFT_OUT = 0.2
"""Share of the history that an augmented prompt loses."""


@dataclass(frozen=True)
class Chosen:
    """The prompts of a stage, and how they came about."""

    index: np.ndarray
    """int64 [n] into the stage's instances."""
    augmented: np.ndarray
    """bool [n]: its history is thinned out."""
    counts: dict[str, int]
    """looked_at, without_spread, too_close_to_likes."""


def choose_prompts(
    policy: Policy,
    data: PromptDataset,
    reward: Reward,
    *,
    prompts: int,
    group: int,
    batch: int,
    seed: int,
    use_policy: bool,
) -> Chosen:
    """Draw a stage's prompts; with `use_policy` the earlier policy cleans and augments them."""
    rng = np.random.default_rng(seed)
    rounds = -(-prompts // len(data))
    order = np.concatenate([rng.permutation(len(data)) for _ in range(rounds + 1)])
    if not use_policy:
        return Chosen(order[:prompts], np.zeros(prompts, dtype=bool), {"looked_at": prompts})
    generator = torch.Generator().manual_seed(seed)
    index: list[int] = []
    augmented: list[bool] = []
    looked = without = close = 0
    starts = range(0, len(order), batch)
    for begin in track(starts, "look at the prompts with the earlier policy"):
        if len(index) >= prompts:
            break
        part = data.batch(order[begin : begin + batch])
        _, leaves = rollout(policy, part, data.pool, group, generator)
        result = reward.of(part.index, items_of_leaves(data, leaves))
        spread = advantages(result.total)[1].numpy()
        too_close = (result.penalty.mean(1) > result.similarity.mean(1)).numpy()
        looked += len(part.index)
        without += int((~spread).sum())
        close += int((too_close & spread).sum())
        for n, instance in enumerate(part.index):
            if spread[n]:
                index.append(int(instance))
                augmented.append(bool(too_close[n]))
    if len(index) < prompts:
        fill = order[: prompts - len(index)]
        index += fill.tolist()
        augmented += [False] * len(fill)
    shuffled = rng.permutation(len(index))[:prompts]
    counts = {"looked_at": looked, "without_spread": without, "too_close_to_likes": close}
    return Chosen(np.asarray(index)[shuffled], np.asarray(augmented)[shuffled], counts)


def chosen_data(
    data: PromptDataset, chosen: Chosen, prompts: HistoryPrompts, stage: GrpoStage, seed: int
) -> PromptDataset:
    """The chosen instances with their prompts; augmented ones lose a share of their history."""
    rng = np.random.default_rng([seed, 1])
    instances = data.instances.take(chosen.index)
    texts = []
    for n in range(len(instances)):
        if chosen.augmented[n]:
            texts.append(prompts.thinned(instances, n, stage.context, LEFT_OUT, rng))
        else:
            texts.append(prompts.of(instances, n, stage.context))
    return replace(data, instances=instances, prompts=Ragged.of(texts, np.int64), rows=data.rows[chosen.index])


def items_of_leaves(data: PromptDataset, leaves: torch.Tensor) -> torch.Tensor:
    """An item row for each leaf [B, G] (the first of those that share the ID: they share its rebuilt embedding)."""
    trie = data.pool.trie
    return trie.item_order[trie.leaf_start[leaves]].cpu()


def train_stage(
    policy: Policy,
    data: PromptDataset,
    chosen: np.ndarray,
    codes: np.ndarray,
    reward: Reward,
    stage: GrpoStage,
    config: UtilizeConfig,
    folder: Path,
    *,
    seed: int,
    title: str,
    validate: Callable[[Policy], dict[str, float]],
    validations: int = 4,
) -> None:
    """One stage of GRPO; trains `policy` in place, which at the call is the earlier stage's and so the reference.

    Args: `data` holds the chosen prompts in order, `chosen` [n] their numbers in the instances of `reward`. `codes`
    int [items, T]: the semantic IDs. Each rollout is used for `config.updates_per_rollout` updates; the first is
    on-policy (ratio 1).
    """
    reference = trained_state(policy)
    size = min(config.prompts_per_step, len(data))
    steps = max(1, len(data) // config.prompts_per_step)
    trainer = Trainer(
        policy,
        folder,
        steps=steps,
        learning_rate=config.learning_rate,
        checkpoint_every=config.checkpoint_every,
    )

    truth = reachable(data.instances.future, data, config.warmup_max_targets)

    def draw(index: np.ndarray, share: Share) -> Groups:
        part = data.batch(index)
        answers, leaves = rollout(
            policy,
            part,
            data.pool,
            config.group,
            trainer.generator(seed),
            share=share,
        )
        answers, leaves, told = guide(answers, leaves, truth.take(index), index, codes, data.pool.trie, config.guided)
        items = items_of_leaves(data, leaves)
        return Groups(index, answers, items, reward.of(chosen[index], items), told)

    every = max(1, steps // validations)
    if trainer.step == 0:
        trainer.log(validate(policy), "validation")
    for step in track(range(trainer.step, steps), title):
        share = trainer.share(size)
        groups = draw(step * size + share.own, share)
        part, result, drawn = data.batch(groups.index), groups.rewards, ~groups.told
        advantage, useful = advantages(result.total)
        advantage, useful = advantage.to(data.device), useful.to(data.device)
        inputs = (part.prompt_ids, part.prompt_mask, groups.codes, part.rows, data.pool)
        policy.train(policy.checkpointing)
        behind = _under(policy, reference, inputs)
        old = None
        weight = trainer.weight(int(useful.sum()))
        for _ in range(config.updates_per_rollout):
            new = trainer.module(*inputs)
            old = new.detach() if old is None else old
            loss = grpo_loss(new, old, behind, advantage, useful, clip=config.clip, beta=stage.beta)
            trainer.update(loss.value * weight)
        trainer.log(
            {
                "reward": float(result.total[drawn].mean()),
                "similarity": float(result.similarity[drawn].mean()),
                "penalty": float(result.penalty[drawn].mean()),
                "kl": loss.kl * weight,
                "clip_share": loss.clip_share * weight,
                "no_spread_share": float((~useful).float().mean()),
                "unique_items": float(np.mean([len(set(row)) for row in groups.items.tolist()])),
            }
        )
        if (step + 1) % every == 0 or step + 1 == steps:
            trainer.log(validate(policy), "validation")
        trainer.advance()
    trainer.finish()


@dataclass(frozen=True)
class Groups:
    """The groups of a step: prompts, their answers, and what these earn."""

    index: np.ndarray
    """int64 [B] into the stage's data."""
    codes: torch.Tensor
    """int64 [B, G, T]."""
    items: torch.Tensor
    """int64 [B, G]: item rows."""
    rewards: Rewards
    told: torch.Tensor
    """bool [B, G]: known answers, not drawn from the policy (`train.guidance`)."""


@torch.no_grad()
def _under(policy: Policy, state: dict[str, torch.Tensor], inputs: tuple) -> torch.Tensor:
    """The policy's log-probabilities with other trainable weights put in for the moment.

    Keeps one copy of the trainable weights instead of a second model, with and without LoRA.
    """
    own = trained_state(policy)
    load_trained_state(policy, state)
    try:
        out: torch.Tensor = policy(*inputs)
    finally:
        load_trained_state(policy, own)
    return out
