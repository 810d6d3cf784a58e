"""Group relative policy optimisation: equations 3 and 4 of the paper, in one file.

    A_i    = (r_i - mean(r)) / std(r)                                            within a group          (4)
    J      = mean over groups, answers i and tokens t of
             min(rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i) - beta KL_it                            (3)
    rho_it = pi(y_it | c, y_i<t) / pi_old(y_it | c, y_i<t)
    KL_it  = q - log q - 1,  q = pi_ref / pi        (the unbiased estimator of Shao et al. 2024)

How it departs: a group without reward spread carries no signal and gives no gradient at all, not even the KL's
(it is counted); the loss uses the constrained normalisation that the rollout sampled from.

Shapes: B prompts, G answers a prompt, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPREAD = 1e-4
"""A group whose rewards have a smaller standard deviation than this counts as without spread."""


@dataclass(frozen=True)
class Loss:
    """The loss to minimise and what to watch."""

    value: Tensor
    kl: float
    clip_share: float


def advantages(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 4: rewards [B, G] -> advantages [B, G], and bool [B] whether the group has any spread."""
    centred = rewards - rewards.mean(1, keepdim=True)
    spread = rewards.std(1, keepdim=True)
    useful = spread > SPREAD
    return torch.where(useful, centred / spread.clamp_min(SPREAD), torch.zeros_like(centred)), useful[:, 0]


def grpo_loss(
    new: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, useful: Tensor, *, clip: float, beta: float
) -> Loss:
    """Equation 3, negated.

    Args: log-probabilities [B, G, T] under the policy, the old policy and the reference; advantages [B, G]; `useful`
    bool [B], groups with spread. The mean runs over the useful groups; without any, the loss is an exact zero.
    """
    ratio = (new - old).exp()
    a = advantage[:, :, None]
    gain = torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
    kl = (reference - new).exp() - (reference - new) - 1
    weight = useful.float()[:, None, None] / (useful.sum().clamp_min(1) * new.shape[1] * new.shape[2])
    value = -((gain - beta * kl) * weight).sum()
    with torch.no_grad():
        clipped = ((ratio > 1 + clip) & (a > 0)) | ((ratio < 1 - clip) & (a < 0))
        return Loss(value, float((kl * weight).sum()), float((clipped * weight).sum()))
