"""Group relative policy optimisation from top to bottom: roll out, reward, advantage, loss, update.

    A_i    = (r_i - mean(r)) / std(r)                                            within a group          (4)
    J      = mean over groups, answers i and tokens t of
             min(rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i) - beta KL_it                            (3)
    rho_it = pi(y_it | c, y_i<t) / pi_old(y_it | c, y_i<t)
    KL_it  = q - log q - 1,  q = pi_ref / pi        (the unbiased estimator of Shao et al. 2024)

`train.curriculum` chooses the prompts of a stage, `train.rewards` and `train.demonstrations` hold equation 6 and the
off-policy answers. docs/engine.md says what becomes of zero-variance groups, and under which normalisation all this is.

Shapes: B prompts, G answers a prompt, T tokens of an answer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from conrec.config import UtilizeConfig
from conrec.decode.prompt_dataset import Batch, PromptDataset
from conrec.decode.trie import CandidatePool
from conrec.lm.model import Frozen
from conrec.lm.policy import Policy
from conrec.lm.training import Share, Trainer, gumbel_noise
from conrec.train.demonstrations import Demonstrations
from conrec.train.rewards import Reward

MIN_STD = 1e-4
"""A group whose rewards have a smaller standard deviation than this is a zero-variance group."""
VALIDATIONS = 4
"""How often a stage is validated while it is trained, beside once before."""


def train_stage(
    policy: Policy,
    data: PromptDataset,
    reward: Reward,
    demonstrations: Demonstrations,
    folder: Path,
    config: UtilizeConfig,
    *,
    beta: float,
    seed: int,
    title: str,
    validate: Callable[[], dict[str, float]],
) -> None:
    """Train `policy` in place; curves and checkpoints go into `folder`.

    `data` holds the stage's prompts in the order in which they are used; prompt n is its number n everywhere. The
    reference is the policy as it is at the call: the stage before. Each rollout is used for
    `config.num_iterations` updates; the first is on-policy (ratio 1).
    """
    reference = Frozen(policy)
    size = min(config.prompts_per_step, len(data))
    steps = max(1, len(data) // config.prompts_per_step)
    trainer = Trainer(
        policy, folder, steps=steps, learning_rate=config.learning_rate, checkpoint_every=config.checkpoint_every
    )
    if trainer.step == 0:
        trainer.log(validate(), "validation")
    for step in trainer.loop(title, validate, VALIDATIONS, at_end=True):
        share = trainer.share(size)
        index = step * size + share.own
        batch = data.batch(index)

        codes, leaves = rollout(policy, batch, data.pool, config.num_generations, trainer.generator(seed), share=share)
        codes, leaves, demonstrated = demonstrations.mix_in(codes, leaves, index)

        items = items_of_leaves(data.pool, leaves)
        rewards = reward.of(index, items)

        advantage, useful = (tensor.to(data.device) for tensor in advantages(rewards.total))

        policy.train(policy.checkpointing)
        weight, parts = trainer.weight(int(useful.sum())), list[_Part]()
        for places in trainer.parts(len(index)):
            some = torch.as_tensor(places, device=data.device)
            own = batch.prompt_ids[some], batch.prompt_mask[some], codes[some], batch.rows[some], data.pool
            counted = weight * int(useful[some].sum()) / max(1, int(useful.sum()))
            parts.append(_Part(own, reference(*own), advantage[some], useful[some], counted))
        for _ in range(config.num_iterations):
            watched = {"kl": 0.0, "clip_share": 0.0}
            told = trainer.update(_losses(trainer.module, parts, watched, epsilon=config.epsilon, beta=beta))

        drawn = ~demonstrated
        trainer.log(
            {
                "loss": told,
                "reward": float(rewards.total[drawn].mean()),
                "similarity": float(rewards.similarity[drawn].mean()),
                "penalty": float(rewards.penalty[drawn].mean()),
                **watched,
                "zero_variance_share": float((~useful).float().mean()),
                "unique_items": float(np.mean([len(set(row)) for row in items.tolist()])),
            }
        )


@dataclass
class _Part:
    """Some prompts of a step: what the policy is asked, and what equation 3 takes."""

    answers: tuple[Any, ...]
    reference: Tensor
    advantage: Tensor
    useful: Tensor
    share: float
    """What its loss, a mean over its useful groups, counts in the step's."""
    old: Tensor | None = None
    """Log-probabilities when it was first asked."""


def _losses(
    module: nn.Module, parts: Sequence[_Part], watched: dict[str, float], *, epsilon: float, beta: float
) -> Iterator[Tensor]:
    """What each part adds to the step's loss; what is watched of it is added up, too."""
    for part in parts:
        new = module(*part.answers)
        part.old = new.detach() if part.old is None else part.old
        loss = grpo_loss(new, part.old, part.reference, part.advantage, part.useful, epsilon=epsilon, beta=beta)
        watched["kl"] += loss.kl * part.share
        watched["clip_share"] += loss.clip_share * part.share
        yield loss.value * part.share


@torch.no_grad()
def rollout(
    policy: Policy,
    batch: Batch,
    pool: CandidatePool,
    num_generations: int,
    generator: torch.Generator,
    *,
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes int64 [B, G, T] and leaves int64 [B, G], drawn from the policy independently of each other.

    All answers of a prompt share its one pass. `share`: which prompts of a larger step these are (the answers then are
    those that the whole step would have got).
    """
    policy.eval()
    size = len(batch.prompt_ids)
    device = batch.prompt_ids.device
    state = policy.prefill(batch.prompt_ids, batch.prompt_mask)
    hidden = state.hidden[:, None].expand(-1, num_generations, -1)
    nodes = torch.zeros(size * num_generations, dtype=torch.int64, device=device)
    rows = batch.rows.repeat_interleave(num_generations)
    codes: list[Tensor] = []
    places: list[Tensor] = []
    levels = len(pool.trie.sizes)
    for t in range(levels):
        scores = policy.level_logprobs(hidden.reshape(size * num_generations, -1), t, nodes, rows, pool)
        noise = gumbel_noise((size, num_generations, scores.shape[1]), generator, device, share)
        # The largest of log-probability plus Gumbel noise is a draw from the distribution.
        code = (scores + noise.view(scores.shape)).argmax(-1)
        nodes = pool.child(t, nodes, code)
        codes.append(code.view(size, num_generations))
        if t + 1 < levels:
            ancestors = torch.stack(places, -1) if places else codes[0].new_zeros(size, num_generations, 0)
            start = state.suffix
            hidden = policy.extend(state, codes[-1], t, ancestors)
            places.append(torch.arange(start, start + num_generations, device=device).expand(size, -1))
    return torch.stack(codes, -1), nodes.view(size, num_generations)


def items_of_leaves(pool: CandidatePool, leaves: Tensor) -> Tensor:
    """Item row of each leaf, int64 [B, G]: the first of those that share the ID, and so its rebuilt embedding."""
    return pool.trie.item_order[pool.trie.leaf_start[leaves]].cpu()


def advantages(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 4: rewards [B, G] -> advantages [B, G], and bool [B]: False for zero-variance groups."""
    centred = rewards - rewards.mean(1, keepdim=True)
    std = rewards.std(1, keepdim=True)
    useful = std > MIN_STD
    return torch.where(useful, centred / std.clamp_min(MIN_STD), torch.zeros_like(centred)), useful[:, 0]


@dataclass(frozen=True)
class Loss:
    """The loss to minimise and what to watch."""

    value: Tensor
    kl: float
    clip_share: float


def grpo_loss(
    new: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, useful: Tensor, *, epsilon: float, beta: float
) -> Loss:
    """Equation 3, negated.

    Args: log-probabilities [B, G, T] under the policy, the old policy and the reference; advantages [B, G]; `useful`
    bool [B], all but the zero-variance groups. The mean runs over the useful groups; without any, the loss is an exact
    zero.
    """
    ratio = (new - old).exp()
    a = advantage[:, :, None]
    gain = torch.minimum(ratio * a, ratio.clamp(1 - epsilon, 1 + epsilon) * a)
    kl = (reference - new).exp() - (reference - new) - 1
    weight = useful.float()[:, None, None] / (useful.sum().clamp_min(1) * new.shape[1] * new.shape[2])
    value = -((gain - beta * kl) * weight).sum()
    with torch.no_grad():
        clipped = ((ratio > 1 + epsilon) & (a > 0)) | ((ratio < 1 - epsilon) & (a < 0))
        return Loss(value, float((kl * weight).sum()), float((clipped * weight).sum()))
