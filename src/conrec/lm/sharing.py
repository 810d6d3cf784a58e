"""One step shared by several processes that train together: its samples and its random numbers.

One process and many must draw the same answers for the same prompts. So every process draws the random numbers of
the whole step and keeps those of its own samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """This process's samples of a step."""

    own: np.ndarray
    """int64 [B]: their places in the step."""
    total: int
    """Samples of the step, over all processes."""


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
