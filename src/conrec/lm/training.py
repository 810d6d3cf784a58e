"""One optimiser, its schedule, its checkpoints and its curves: what every training stage shares.

A stage calls `update(loss)` once a step and draws everything random from a generator seeded by (seed, step), so
a run that died goes on from its last checkpoint and ends in the same bits as one that did not. A checkpoint is
one safetensors file (weights, optimiser state; step and curves in its header), replaced atomically. Several processes
train as one (docs/engine.md). All of them log and validate; the main process alone writes.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from conrec import processes
from conrec.errors import ConrecError
from conrec.lm.model import load_trained_state, trained_state
from conrec.lm.policy import AnswerModel
from conrec.lm.sharding import finish_gradients, shared_like, whole
from conrec.progress import track

CHECKPOINT = "checkpoint.safetensors"
TRACKER = "CONREC_TRACK"
"""The environment variable that names a tracker of Accelerate's (`conrec run --track`), for all processes."""
CURVES = pa.schema([("step", pa.int64()), ("split", pa.string()), ("name", pa.string()), ("value", pa.float64())])
"""Training curves; the split is train or validation."""


@dataclass(frozen=True)
class Share:
    """This process's samples of a step."""

    own: np.ndarray
    """int64 [B]: their places in the step."""
    total: int
    """Samples of the step, over all processes."""


class Trainer:
    """AdamW with linear warm-up and cosine decay over the trainable parameters of a policy.

    `module` is what a stage must call: it is what Accelerate wrapped. Calling the policy itself with gradient would
    leave every process with the gradient of its own samples, silently.
    """

    def __init__(
        self,
        policy: AnswerModel,
        folder: Path,
        *,
        steps: int,
        learning_rate: float,
        checkpoint_every: int,
        module: nn.Module | None = None,
    ) -> None:
        """`module`: what is called with gradient where it is not the policy itself but something around it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.policy = policy
        self.folder = folder
        self.steps = steps
        self.step = 0
        self.curves: list[tuple[int, str, str, float]] = []
        self._checkpoint_every = checkpoint_every
        self._rate = learning_rate
        # Beside the stages' folders, whose contents must be the same in every run.
        run, name = folder.absolute().parents[2], "/".join(folder.absolute().parts[-3:]).replace(".partial", "")
        tracker = os.environ.get(TRACKER)
        kept = run / "track" / name if tracker else None
        self.accelerator = Accelerator(cpu=policy.device.type == "cpu", log_with=tracker, project_dir=kept)
        if tracker:
            titles = {"wandb": {"name": name}, "mlflow": {"run_name": name}}
            self.accelerator.init_trackers("conrec", init_kwargs=titles)
        self._trained = {n: p for n, p in policy.named_parameters() if p.requires_grad}
        self._sharded = any(isinstance(p, DTensor) for p in self._trained.values())
        optimizer = torch.optim.AdamW(self._trained.values(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
        # Accelerate would wrap it also while the main process works alone.
        unshared = processes.count() == 1 or self._sharded
        self.module = self.accelerator.prepare_model(module or policy, evaluation_mode=unshared)
        self._optimizer = self.accelerator.prepare_optimizer(optimizer)
        self._restore()

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers of this step, the same after a restart and in every process."""
        mixed = (seed * 1_000_003 + self.step) * 1_000_003 * 1_003
        return torch.Generator().manual_seed(mixed % (2**63 - 1))

    def share(self, count: int) -> Share:
        """This process's part of a step of `count` samples. Raises ConrecError where the parts would differ in size."""
        parts = processes.count()
        if count % parts:
            raise ConrecError(
                f"a step of {count} samples cannot be shared evenly by {parts} processes: start fewer, or choose "
                "utilize.warmup_batch, utilize.prompts_per_step and understand.rows_per_step as multiples of that"
            )
        return Share(np.arange(count)[processes.rank() :: parts], count)

    def weight(self, count: int) -> float:
        """Factor of a mean over `count` things that makes its average over processes the mean over all things."""
        (mean,) = self._mean_over_processes([count])
        return count / mean if mean else 1.0

    def _mean_over_processes(self, values: list[float]) -> list[float]:
        if processes.count() == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        mean: list[float] = self.accelerator.reduce(tensor, "mean").tolist()
        return mean

    def parts(self, count: int) -> list[np.ndarray]:
        """The places of a step's samples here, int64, in as many parts as the policy takes them in."""
        return np.array_split(np.arange(count), min(self.policy.accumulate, max(1, count)))

    def update(self, losses: Iterable[Tensor]) -> float:
        """Backward for each part of the loss, clip, step; returns their sum. Behind the step comes `advance`."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * schedule(self.step, self.steps)
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses:
            self.accelerator.backward(loss)
            total += float(loss.detach())
        trained = list(self._trained.values())
        (finish_gradients if self._sharded else self.accelerator.clip_grad_norm_)(trained, 1.0)
        self._optimizer.step()
        return total

    def log(self, values: dict[str, float], split: str = "train") -> None:
        """Put values of the current step, averaged over the processes, on the curves."""
        means = self._mean_over_processes([float(value) for value in values.values()])
        self.curves += [(self.step, split, name, mean) for name, mean in zip(values, means)]
        self.accelerator.log({f"{split}/{name}": mean for name, mean in zip(values, means)}, self.step)

    def advance(self) -> None:
        """The step is complete: count it, and write a checkpoint when one is due."""
        self.step += 1
        if self.step % self._checkpoint_every == 0 and self.step < self.steps:
            self._save()

    def loop(
        self, title: str, validate: Callable[[], dict[str, float]] | None, validations: int = 4, at_end: bool = False
    ) -> Iterator[int]:
        """The steps that are left, so many of them followed by a validation (with `at_end` the last one, too); at the
        end everything is written."""
        every = max(1, self.steps // validations)
        for step in track(range(self.step, self.steps), title):
            yield step
            if validate is not None and ((step + 1) % every == 0 or (at_end and step + 1 == self.steps)):
                self.log(validate(), "validation")
            self.advance()
        self.finish()

    def finish(self) -> None:
        """Write the curves and remove the checkpoint; the stage saves the policy itself."""
        if processes.is_main():
            rows = [dict(zip(CURVES.names, row)) for row in self.curves]
            pq.write_table(pa.Table.from_pylist(rows, CURVES), self.folder / "curves.parquet")
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.module = self.policy  # the wrapper listens to the parameters' gradients as long as it lives
        self.accelerator.free_memory()

    def _save(self) -> None:
        tensors = {f"weight/{n}": t for n, t in trained_state(self.policy).items()}
        for name, parameter in self._trained.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = whole(torch.as_tensor(value).detach()).clone().contiguous()
        if not processes.is_main():
            return
        header = {"state": json.dumps({"step": self.step, "curves": self.curves})}
        partial = self.folder / (CHECKPOINT + ".partial")
        save_file(tensors, partial, metadata=header)
        os.replace(partial, self.folder / CHECKPOINT)

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        parts: dict[str, dict[str, Tensor]] = {}
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["state"])
            for key in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                part, name = key.split("/", 1)
                parts.setdefault(part, {})[name] = file.get_tensor(key)
        load_trained_state(self.policy, parts.pop("weight"))
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                parameter = self._trained[name]
                own = shared_like(tensor, parameter) if tensor.shape == parameter.shape else tensor.to(parameter.device)
                self._optimizer.state[parameter][part] = own
        self.step = header["step"]
        self.curves = [tuple(row) for row in header["curves"]]


def gumbel_noise(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device, share: Share | None = None
) -> Tensor:
    """Standard Gumbel noise, float32 `shape` = [B, ...], for the B samples of `share`.

    Without a share they are the whole step.
    """
    total = shape[0] if share is None else share.total
    noise = torch.empty((total, *shape[1:]), device=generator.device).exponential_(generator=generator)
    if share is not None:
        noise = noise[torch.as_tensor(share.own, device=noise.device)]
    return -noise.to(device).clamp_min(1e-20).log()


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: linear over the first 5 %, then cosine down to a tenth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, steps - warm)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress)))


def batches_from(step: int, lengths: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """The batches of this step and of all after it, epoch after epoch (`batches_of_epoch`)."""
    epoch, at = divmod(step, max(1, len(lengths) // batch))
    while True:
        yield from batches_of_epoch(lengths, batch, seed, epoch)[at:]
        epoch, at = epoch + 1, 0


def batches_of_epoch(lengths: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Samples of similar length in each batch, in a new order each epoch: shuffled, sorted by length within chunks of
    32 batches, batches shuffled again. int64 [batch] each; what is left over at the end waits for another epoch."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    chunk = 32 * batch
    parts = [order[b : b + chunk] for b in range(0, len(order), chunk)]
    ordered = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in parts])
    batches = [ordered[b : b + batch] for b in range(0, max(1, len(ordered) - batch + 1), batch)]
    return [batches[n] for n in rng.permutation(len(batches))]
