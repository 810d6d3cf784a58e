"""Warm-up: supervised training on histories before reinforcement learning (paper, section 4, experiment setup).

All targets of a prompt share its one pass. The loss is the policy's own log-probability, under the same
constraint and prior as decoding, so what is learned is how a user departs from what everybody dislikes that day.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from conrec.config import UtilizeConfig
from conrec.data.instances import Ragged
from conrec.decode.prompt_dataset import PromptDataset
from conrec.lm.policy import AnswerModel
from conrec.lm.training import Trainer, batches_from

MAX_TARGETS = 8


def reachable(sets: Ragged, data: PromptDataset, limit: int = MAX_TARGETS) -> Ragged:
    """The first `limit` of each instance's item rows that are in the candidate pool of its day."""
    weight = data.pool.item_weight.cpu().numpy()
    keep = weight[data.rows[sets.owners], sets.values] > 0
    kept = sets.where(keep)
    return Ragged.of([kept[n][:limit] for n in range(len(kept))])


def warm_up(
    policy: AnswerModel,
    data: PromptDataset,
    targets: Ragged,
    codes: np.ndarray,
    folder: Path,
    config: UtilizeConfig,
    *,
    seed: int,
    contexts: int = 1,
    validate: Callable[[], dict[str, float]],
    validations: int = 4,
    augment: Callable[[int, np.random.Generator], list[int]] | None = None,
) -> None:
    """Train `policy` in place to make `targets` (item rows of each instance) likely.

    The loss of a prompt is the mean over its targets of the negative log-probability of the semantic ID, `codes`
    int [items, T]. Prompts without a target in the candidate pool are passed over, batches hold prompts of similar
    length. An instance is there once for each of `contexts`. `augment` draws a prompt anew each time (history dropout).
    """
    usable, batch = np.flatnonzero(targets.lengths > 0), config.warmup_batch
    per_epoch = max(1, len(usable) // batch)
    steps = max(1, round(config.warmup_epochs / contexts * per_epoch))
    rate, every = config.warmup_learning_rate, config.checkpoint_every
    trainer = Trainer(policy, folder, steps=steps, learning_rate=rate, checkpoint_every=every)
    batches = batches_from(trainer.step, data.prompts.lengths[usable], batch, seed)
    for step, chosen in zip(trainer.loop("warm-up", validate, validations), batches):
        whole = usable[chosen]
        own = trainer.share(len(whole)).own
        rng = np.random.default_rng([seed, step])
        prompts = [augment(int(n), rng) for n in whole] if augment else None
        policy.train()
        parts = ((own[part], len(part) / len(own)) for part in trainer.parts(len(own)))
        losses = (
            share * _loss(trainer.module, data, targets, codes, whole[part], prompts and [prompts[n] for n in part])
            for part, share in parts
        )
        trainer.log({"loss": trainer.update(losses)})


def _loss(
    module: torch.nn.Module,
    data: PromptDataset,
    targets: Ragged,
    codes: np.ndarray,
    index: np.ndarray,
    prompts: list[list[int]] | None,
) -> torch.Tensor:
    """The mean loss of the prompts at `index`, or of others for them."""
    answers = targets.take(index)
    width = int(answers.lengths.max())
    padded = np.stack([np.resize(answers[n], width) for n in range(len(index))])
    weight = torch.as_tensor((np.arange(width) < answers.lengths[:, None]) / answers.lengths[:, None].clip(1))
    part = data.batch(index, prompts)
    answer_codes = torch.as_tensor(codes[padded], dtype=torch.int64, device=data.device)
    logprobs = module(part.prompt_ids, part.prompt_mask, answer_codes, part.rows, data.pool)
    loss: torch.Tensor = -(logprobs.sum(-1) * torch.as_tensor(weight, device=data.device)).sum(1).mean()
    return loss
