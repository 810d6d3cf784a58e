"""Every kind of training, very small, as one process or several: `torchrun ... -m tests.train.small_training OUT`.

Each process writes what it ended with to OUT/rank<N>/: weights and, of the first step, the gradient.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from conrec import processes
from conrec.config import LmConfig, UnderstandConfig
from conrec.lm.model import build_policy, on_device, trained_state
from conrec.lm.policy import Policy
from conrec.lm.prompts import translation
from conrec.lm.sharding import whole
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
SHARDED = LmConfig(sharded=True)


def adapters() -> Policy:
    """A policy with LoRA, whose layers do not train but for the adapters."""
    config = LmConfig(hidden=48, layers=2, heads=4, kv_heads=2, ffn=64, lora_rank=2, gradient_checkpointing=True)
    return build_policy(config, small.WORDS, small.WORDS_OF_LEVEL, seed=0)


def train_all(out: Path) -> None:
    """Each kind of training from the same start, and then with the layers spread over the processes."""
    own = out / f"rank{processes.rank()}"
    own.mkdir(parents=True)
    update = Trainer.update
    kinds = [(name, train, small.policy, LmConfig()) for name, train in KINDS.items()]
    kinds += [(f"{name}_sharded", train, small.policy, SHARDED) for name, train in KINDS.items()]
    kinds += [("adapters", grpo, adapters, LmConfig()), ("adapters_sharded", grpo, adapters, SHARDED)]
    for name, train, start, config in kinds:
        gradients: dict[str, torch.Tensor] = {}

        def noting(self: Trainer, loss: torch.Tensor, gradients: dict[str, torch.Tensor] = gradients) -> float:
            norm = update(self, loss)
            if not gradients:
                gradients |= gradients_of(self.policy)
            return norm

        Trainer.update = noting  # type: ignore[method-assign]
        model = on_device(start(), config)
        train(model, out / name)
        save_file(trained_state(model), own / f"{name}.safetensors")
        save_file(gradients, own / f"{name}_gradient.safetensors")
    Trainer.update = update  # type: ignore[method-assign]


def gradients_of(policy: Policy) -> dict[str, torch.Tensor]:
    return {n: whole(p.grad).clone() for n, p in policy.named_parameters() if p.grad is not None}


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


def die_and_go_on(out: Path, config: LmConfig, name: str) -> None:
    """A run that died after the checkpoint of step 6, of which a copy is kept, and went on."""
    advance = Trainer.advance

    def die(self: Trainer) -> None:
        advance(self)
        if self.step == 7:
            raise KeyboardInterrupt

    Trainer.advance = die  # type: ignore[method-assign]
    with contextlib.suppress(KeyboardInterrupt):
        supervised(on_device(small.policy(), config), out / name)
    Trainer.advance = advance  # type: ignore[method-assign]
    if processes.is_main():
        shutil.copytree(out / name, out / f"{name}_then")
    processes.agree(True)
    again = on_device(small.policy(), config)
    supervised(again, out / name)
    save_file(trained_state(again), out / f"rank{processes.rank()}" / f"{name}.safetensors")


def main(out: Path) -> None:
    processes.agree(True)
    train_all(out)
    one_gradient(out, wrapped=True)
    one_gradient(out, wrapped=False)
    die_and_go_on(out, LmConfig(), "died")
    die_and_go_on(out, SHARDED, "died_sharded")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
