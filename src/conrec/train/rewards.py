"""The reward of equation 6, on embeddings rebuilt from the codebook.

    reward(out) = max over the ground truth of cos(out, i)  -  gamma * max over the future positives of cos(out, t)

The ground truth is the dislikes of the next H days and the Swing neighbours of each. Without future positives there is
no penalty.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from conrec.config import UtilizeConfig
from conrec.data.instances import Instances, Ragged


@dataclass(frozen=True)
class Rewards:
    """Rewards of answers and what they are made of, float32 [B, G] each."""

    total: Tensor
    similarity: Tensor
    penalty: Tensor
    """Largest cosine to a future positive (before gamma); 0 where there is none."""


class Reward(Protocol):
    """Rewards of answers to the prompts of some instances, as GRPO asks for them."""

    future: Ragged
    """Item rows that are exact hits, per instance; demonstrations are taken from them."""

    def of(self, index: np.ndarray, items: Tensor) -> Rewards:
        """Rewards of answers `items` int64 [B, G] (item rows) to the prompts of the instances `index` [B]."""


class FutureReward:
    """Equation 6, and a bonus for exact hits."""

    def __init__(self, instances: Instances, unit: np.ndarray, neighbours: np.ndarray, config: UtilizeConfig) -> None:
        """Args: `unit` float32 [items, d], rebuilt embeddings of length 1; `neighbours` int [items, n], Swing
        neighbours, best first, -1 for none."""
        self.future = instances.future
        self._unit = torch.as_tensor(unit)
        self._truth = ground_truth(instances.future, neighbours[:, : config.swing_neighbours])
        self._positives = instances.future_positives
        self._gamma, self._hit_bonus = config.gamma, config.hit_bonus

    def of(self, index: np.ndarray, items: Tensor) -> Rewards:
        out = self._unit[items]
        similarity = self.largest_cosine(out, self._truth.take(index))
        if self._hit_bonus:
            right = torch.as_tensor(self.future.take(index).padded())[:, None, :]
            similarity = similarity + self._hit_bonus * (items[:, :, None] == right).any(-1).float()
        penalty = self.largest_cosine(out, self._positives.take(index))
        return Rewards(similarity - self._gamma * penalty, similarity, penalty)

    def largest_cosine(self, out: Tensor, sets: Ragged) -> Tensor:
        """Largest cosine of each answer [B, G, d] to the prompt's set of items; 0 where the set is empty."""
        padded = torch.as_tensor(sets.padded()).long()
        cosine = torch.einsum("bgd,bmd->bgm", out, self._unit[padded.clamp_min(0)])
        cosine = cosine.masked_fill((padded < 0)[:, None, :], -torch.inf).amax(-1)
        return cosine.masked_fill(torch.isinf(cosine), 0.0)


def ground_truth(future: Ragged, neighbours: np.ndarray) -> Ragged:
    """Future dislikes and their Swing neighbours int [items, n] (-1: none), each item once, in order of row."""
    lists = []
    for n in range(len(future)):
        rows = future[n]
        joined = np.concatenate([rows, neighbours[rows].reshape(-1)])
        lists.append(np.unique(joined[joined >= 0]))
    return Ragged.of(lists)
