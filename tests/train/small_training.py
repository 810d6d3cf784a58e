"""Every kind of training, very small, as one process or several: `torchrun ... -m tests.train.small_training OUT`.

Each process writes what it ended with to OUT/rank<N>/: weights and, of the first step, the gradient.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from conrec import processes
from conrec.config import UnderstandConfig
from conrec.lm.model import trained_state
from conrec.lm.policy import Policy
from conrec.lm.prompts import translation
from conrec.lm.training import Trainer
from conrec.train.rewards import FutureReward
from conrec.train.sft import train_supervised
from tests.train import test_training as small

TITLES = [f"{'red ' * (n % 4)}boots {n}" for n in range(12)]
# Most items are alike, so that many groups of few answers are zero-variance groups.
ALIKE = np.where(np.arange(40)[:, None] < 36, small.UNIT[39], small.UNIT)


def supervised(model: Policy, folder: Path) -> None:
    """Packed rows hold different numbers of answer tokens, so their weights matter."""
    train_supervised(
        model,
        small.WORDS,
        translation(small.WORDS, small.CODES[:12], TITLES),
        folder,
        UnderstandConfig(row_tokens=40, rows_per_step=4, learning_rate=1e-3, checkpoint_every=3),
        epochs=3,
        seed=0,
        title="test",
    )


def warm(model: Policy, folder: Path) -> None:
    small.warm(model, small.world()[1], folder, epochs=1)


def grpo(model: Policy, folder: Path) -> None:
    """With groups that teach nothing, so that the others count for more."""
    instances, data, _ = small.world(32)
    config = dataclasses.replace(small.CONFIG, prompts_per_step=8, num_generations=4, learning_rate=1e-3)
    small.grpo(model, data, FutureReward(instances, ALIKE, small.NOBODY, config), folder, config, beta=0.1)


KINDS = {"supervised": supervised, "warm_up": warm, "grpo": grpo}


def train_all(out: Path) -> None:
    """Each kind of training from the same start."""
    own = out / f"rank{processes.rank()}"
    own.mkdir(parents=True)
    update = Trainer.update
    for name, train in KINDS.items():
        gradients: dict[str, torch.Tensor] = {}

        def noting(self: Trainer, loss: torch.Tensor, gradients: dict[str, torch.Tensor] = gradients) -> float:
            norm = update(self, loss)
            if not gradients:
                gradients |= gradients_of(self.policy)
            return norm

        Trainer.update = noting  # type: ignore[method-assign]
        model = small.policy()
        train(model, out / name)
        save_file(trained_state(model), own / f"{name}.safetensors")
        save_file(gradients, own / f"{name}_gradient.safetensors")
    Trainer.update = update  # type: ignore[method-assign]


def gradients_of(policy: Policy) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}


def one_gradient(out: Path, wrapped: bool) -> None:
    """The gradient of one step, through what Accelerate wrapped or, wrongly, through the policy itself."""
    model = small.policy()
    _, data, _ = small.world()
    trainer = Trainer(model, out / "folder", steps=1, learning_rate=1e-3, checkpoint_every=10)
    part = data.batch(trainer.share(8).own)
    codes = torch.as_tensor(small.CODES[data.instances.next[part.index]], dtype=torch.int64)[:, None]
    call = trainer.module if wrapped else model
    trainer.accelerator.backward(-call(part.prompt_ids, part.prompt_mask, codes, part.rows, data.pool).mean())
    name = "wrapped" if wrapped else "unwrapped"
    save_file(gradients_of(model), out / f"rank{processes.rank()}" / f"{name}.safetensors")


def die_and_go_on(out: Path) -> None:
    """A run that died after the checkpoint of step 6, and went on."""
    advance = Trainer.advance

    def die(self: Trainer) -> None:
        advance(self)
        if self.step == 7:
            raise KeyboardInterrupt

    Trainer.advance = die  # type: ignore[method-assign]
    with contextlib.suppress(KeyboardInterrupt):
        supervised(small.policy(), out / "died")
    Trainer.advance = advance  # type: ignore[method-assign]
    processes.agree(True)
    again = small.policy()
    supervised(again, out / "died")
    save_file(trained_state(again), out / f"rank{processes.rank()}" / "died.safetensors")


def main(out: Path) -> None:
    train_all(out)
    one_gradient(out, wrapped=True)
    one_gradient(out, wrapped=False)
    die_and_go_on(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
