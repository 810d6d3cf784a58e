"""The prompts of a stage: the dislikes of the last days, then all dislikes, then dislikes and positives (section 3).

The earlier policy prepares the stage's prompts (docs/paper_map.md): some are replaced, some used with history dropout.
(Used twice, as they are and with dropout, these cost hits: they then make up half of a stage; benchmarks/LOG.md.)
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from conrec.config import UtilizeConfig
from conrec.data.instances import Ragged
from conrec.decode.prompt_dataset import PromptDataset
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context, HistoryPrompts
from conrec.progress import track
from conrec.train.grpo import advantages, items_of_leaves, rollout
from conrec.train.rewards import Reward

HISTORY_DROPOUT = 0.2
"""Chance of each event to be left out of an augmented prompt."""
LOOKED_AT = 4
"""The earlier policy looks at so many times the prompts that a stage needs, at most."""


@dataclass(frozen=True)
class Chosen:
    """The prompts of a stage, and how they came about."""

    index: np.ndarray
    """int64 [n]: numbers of the training instances."""
    augmented: np.ndarray
    counts: dict[str, int]


def choose_prompts(
    policy: Policy,
    data: PromptDataset,
    reward: Reward,
    config: UtilizeConfig,
    *,
    prompts: int,
    seed: int,
    use_policy: bool,
) -> Chosen:
    """Draw a stage's prompts from all of `data`; with `use_policy` the earlier policy cleans and augments them."""
    rng = np.random.default_rng(seed)
    rounds = -(-prompts // len(data))
    order = np.concatenate([rng.permutation(len(data)) for _ in range(rounds + 1)])[: LOOKED_AT * prompts]
    if not use_policy:
        return Chosen(order[:prompts], np.zeros(prompts, dtype=bool), {"looked_at": prompts})
    generator = torch.Generator().manual_seed(seed)
    index: list[int] = []
    augmented: list[bool] = []
    looked = without = close = 0
    batch = config.prompts_per_step
    for begin in track(range(0, len(order), batch), "look at the prompts with the earlier policy"):
        if len(index) >= prompts:
            break
        part = data.batch(order[begin : begin + batch])
        _, leaves = rollout(policy, part, data.pool, config.num_generations, generator)
        result = reward.of(part.index, items_of_leaves(data.pool, leaves))
        useful = advantages(result.total)[1].numpy()
        too_close = (result.penalty.mean(1) > result.similarity.mean(1)).numpy()
        looked += len(part.index)
        without += int((~useful).sum())
        close += int((too_close & useful).sum())
        index += part.index[useful].tolist()
        augmented += too_close[useful].tolist()
    fill = order[: max(0, prompts - len(index))].tolist()
    index, augmented = index + fill, augmented + [False] * len(fill)
    shuffled = rng.permutation(len(index))[:prompts]
    counts = {"looked_at": looked, "zero_variance": without, "too_close_to_likes": close}
    return Chosen(np.asarray(index)[shuffled], np.asarray(augmented)[shuffled], counts)


def chosen_data(
    data: PromptDataset, chosen: Chosen, prompts: HistoryPrompts, context: Context, seed: int
) -> PromptDataset:
    """The chosen instances with their prompts, in order; augmented ones with history dropout."""
    rng = np.random.default_rng([seed, 1])
    instances = data.instances.take(chosen.index)
    texts = [
        prompts.with_dropout(instances, n, context, HISTORY_DROPOUT, rng)
        if augmented
        else prompts.of(instances, n, context)
        for n, augmented in enumerate(chosen.augmented)
    ]
    return replace(data, instances=instances, prompts=Ragged.of(texts, np.int64), rows=data.rows[chosen.index])
