"""Rewards that only the paper's tables compare CoNRec's own with."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Instances, Ragged
from conrec.decode.inputs import Inputs
from conrec.stages.utilize import future_reward
from conrec.train.rewards import FutureReward, Reward, Rewards, ground_truth

HIGH = 0.6
"""Cosines below this are cut to zero in the schemes with truncation."""


class TruncatedReward(FutureReward):
    """Schemes b and d of table 4: a cosine below `HIGH` counts as 0, in the similarity and in the penalty."""

    def largest_cosine(self, out: Tensor, sets: Ragged) -> Tensor:
        """Largest cosine of each answer [B, G, d] to the prompt's set of items, or 0 where it is not high."""
        cosine = super().largest_cosine(out, sets)
        return cosine.masked_fill(cosine < HIGH, 0.0)


class CodesReward:
    """Scheme e of table 4: how much of the semantic ID of a future dislike an answer spells.

    1 for all T codes, 0.1 for the first T - 1, 0.01 for the first T - 2 and so on, 0 where the first one is wrong.
    """

    def __init__(
        self, instances: Instances, codes: np.ndarray, neighbours: np.ndarray, *, swing_neighbours: int
    ) -> None:
        """Args: `codes` int [items, T]; `neighbours` and `swing_neighbours` as in `FutureReward`."""
        self.future = instances.future
        self._codes = torch.as_tensor(codes)
        self._truth = ground_truth(instances.future, neighbours[:, :swing_neighbours])

    def of(self, index: np.ndarray, items: Tensor) -> Rewards:
        """Rewards of answers, see `Reward.of`; there is no penalty."""
        truth = torch.as_tensor(self._truth.take(index).padded()).long()
        same = self._codes[items][:, :, None] == self._codes[truth.clamp_min(0)][:, None]
        shared = same.int().cumprod(-1).sum(-1) * (truth >= 0)[:, None]
        longest = shared.amax(-1)
        reward = torch.where(longest > 0, 10.0 ** (longest - self._codes.shape[1]).float(), 0.0)
        return Rewards(reward, reward, torch.zeros_like(reward))


def next_dislike(inputs: Inputs, instances: Instances) -> Reward:
    """CoNRec's reward, where only the first of the future dislikes counts (what the paper argues against)."""
    return future_reward(inputs, replace(instances, future=Ragged(instances.next, np.arange(len(instances) + 1))))


def codes(inputs: Inputs, instances: Instances) -> Reward:
    """The reward for codes alone."""
    swing_neighbours = inputs.recipe.utilize.swing_neighbours
    return CodesReward(instances, inputs.log_view.catalog.codes, inputs.neighbours, swing_neighbours=swing_neighbours)


REWARDS: dict[str, Callable[[Inputs, Instances], Reward]] = {
    "future": future_reward,
    "next": next_dislike,
    "truncated": partial(future_reward, kind=TruncatedReward),
    "codes": codes,
}
"""What `studies.models.Variant.reward` names."""
