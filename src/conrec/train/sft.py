"""Supervised training on packed samples, the loss on answers only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from conrec.config import UnderstandConfig
from conrec.lm.packing import Row, block_mask, collate, pack
from conrec.lm.policy import Policy
from conrec.lm.prompts import Sample
from conrec.lm.training import Trainer
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import track


class PackedLoss(torch.nn.Module):
    """Mean cross-entropy per answer token of packed rows; wraps the policy so that DDP sees the forward."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, row: Row) -> Tensor:
        return F.cross_entropy(*answer_logits(self.policy, row))


def answer_logits(policy: Policy, row: Row) -> tuple[Tensor, Tensor]:
    """Logits [A, V] at the A places that have a target, and the targets [A]."""
    device = policy.device
    allowed = block_mask(row.segments.to(device))
    hidden = policy.hidden_states(row.ids.to(device), allowed, row.positions.to(device))
    wanted = (row.targets >= 0).to(device)
    return policy.head(hidden[wanted]), row.targets.to(device)[wanted]


def train_supervised(
    policy: Policy,
    vocabulary: Vocabulary,
    samples: list[Sample],
    folder: Path,
    config: UnderstandConfig,
    *,
    epochs: float,
    seed: int,
    title: str,
    validate: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Train `policy` in place. Packing is drawn once; the order of rows is new each epoch.

    The loss of a step is the mean over all its answer tokens, however many processes share them. `validate` is
    called four times.
    """
    rows_per_step = config.rows_per_step
    rows = pack([len(s.prompt) + len(s.answer) for s in samples], config.row_tokens)
    per_epoch = max(1, len(rows) // rows_per_step)
    steps = max(1, round(epochs * per_epoch))
    rate, every, module = config.learning_rate, config.checkpoint_every, PackedLoss(policy)
    trainer = Trainer(policy, folder, steps=steps, learning_rate=rate, checkpoint_every=every, module=module)
    for step in trainer.loop(title, validate):
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        chosen = order[at * rows_per_step : (at + 1) * rows_per_step]
        own = chosen[trainer.share(len(chosen)).own]
        parts = [collate(samples, [rows[r] for r in own[part]], vocabulary.pad) for part in trainer.parts(len(own))]
        answers = [int((row.targets >= 0).sum()) for row in parts]
        weight = trainer.weight(sum(answers))
        policy.train()
        losses = (trainer.module(row) * (weight * count / sum(answers)) for row, count in zip(parts, answers))
        trainer.log({f"{title}_loss": trainer.update(losses)})


@torch.no_grad()
def choices(policy: Policy, vocabulary: Vocabulary, samples: list[Sample], options: np.ndarray) -> np.ndarray:
    """bool [n]: the right option has the largest log-likelihood among the question's options.

    Args: `options` int [n, C, T], the semantic IDs to choose from; the right one is the sample's answer. Options are
    scored token by token over the whole vocabulary, as a free-running model would.
    """
    policy.eval()
    starts = np.asarray(vocabulary.starts)
    right = np.zeros(len(samples), bool)
    for begin in track(range(0, len(samples), 64), "held-out questions"):
        part = samples[begin : begin + 64]
        pairs = zip(part, (options[begin : begin + 64] + starts).tolist())
        flat = [Sample(sample.prompt, option) for sample, own in pairs for option in own]
        row = collate(flat, [[m] for m in range(len(flat))], vocabulary.pad)
        logits, targets = answer_logits(policy, row)
        scores = logits.log_softmax(-1).gather(1, targets[:, None]).view(len(flat), -1).sum(1)
        for n, best in enumerate(scores.view(len(part), -1).argmax(1).tolist()):
            right[begin + n] = flat[n * options.shape[1] + best].answer == part[n].answer
    return right
