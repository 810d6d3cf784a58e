"""The reward of equation 6, on embeddings rebuilt from the codebook.

    reward(out) = max over the ground truth of cos(out, i)  -  gamma * max over the future positives of cos(out, t)

The ground truth is the dislikes of the next H days and the Swing neighbours of each; a prediction is judged by
what it comes closest to, so a near miss counts and an exact hit counts most. Without future positives there is no
penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Instances, Ragged


@dataclass(frozen=True)
class Rewards:
    """Per answer, float32 [B, G]."""

    total: Tensor
    similarity: Tensor
    penalty: Tensor
    """Largest cosine to a future positive (before gamma); 0 where there is none."""


class FutureReward:
    """Equation 6 for the instances of a split."""

    def __init__(
        self,
        instances: Instances,
        unit: np.ndarray,
        neighbours: np.ndarray,
        *,
        n_neighbours: int,
        gamma: float,
        hit_bonus: float = 0.0,
        cosine_from: float = -1.0,
    ) -> None:
        """`unit` float32 [items, d]: rebuilt embeddings of length 1. `neighbours` int [items, n]: Swing
        neighbours, best first, -1 for none. `hit_bonus` is added to the similarity of an exact future dislike;
        cosines below `cosine_from` count as 0."""
        self._unit = torch.as_tensor(unit)
        self._cosine_from = cosine_from
        self._truth = ground_truth(instances.future, neighbours[:, :n_neighbours])
        self._future = instances.future
        self._positives = instances.future_positives
        self._gamma = gamma
        self._hit_bonus = hit_bonus

    def of(self, index: np.ndarray, items: Tensor) -> Rewards:
        """Rewards of answers `items` int64 [B, G] (item rows) to the prompts of the instances `index` [B]."""
        out = self._unit[items]
        similarity = self._closest(out, self._truth.take(index))
        if self._hit_bonus:
            similarity = similarity + self._hit_bonus * is_member(items, self._future.take(index))
        penalty = self._closest(out, self._positives.take(index))
        return Rewards(similarity - self._gamma * penalty, similarity, penalty)

    def _closest(self, out: Tensor, sets: Ragged) -> Tensor:
        """Largest cosine of each answer [B, G, d] to the prompt's set; 0 where the set is empty."""
        padded = pad_sets(sets)
        cosine = torch.einsum("bgd,bmd->bgm", out, self._unit[padded.clamp_min(0)])
        cosine = cosine.masked_fill((padded < 0)[:, None, :], -torch.inf).amax(-1)
        return cosine.masked_fill(torch.isinf(cosine) | (cosine < self._cosine_from), 0.0)


class CodesReward:
    """Scheme e of the paper's table 4: how much of the semantic ID of a future dislike an answer spells.

    1 for all T codes, 0.1 for the first T - 1, 0.01 for the first T - 2 and so on, 0 where the first one is wrong.
    """

    def __init__(self, instances: Instances, codes: np.ndarray, neighbours: np.ndarray, *, n_neighbours: int) -> None:
        """`codes` int [items, T]; `neighbours` as in `FutureReward`."""
        self._codes = torch.as_tensor(codes)
        self._truth = ground_truth(instances.future, neighbours[:, :n_neighbours])

    def of(self, index: np.ndarray, items: Tensor) -> Rewards:
        """As `FutureReward.of`, without penalty."""
        truth = pad_sets(self._truth.take(index))
        same = self._codes[items][:, :, None] == self._codes[truth.clamp_min(0)][:, None]
        shared = same.int().cumprod(-1).sum(-1) * (truth >= 0)[:, None]
        longest = shared.amax(-1)
        reward = torch.where(longest > 0, 10.0 ** (longest - self._codes.shape[1]).float(), 0.0)
        return Rewards(reward, reward, torch.zeros_like(reward))


Reward = FutureReward | CodesReward


def ground_truth(future: Ragged, neighbours: np.ndarray) -> Ragged:
    """Future dislikes and their Swing neighbours int [items, n] (-1: none), each item once, in order of row."""
    lists = []
    for n in range(len(future)):
        rows = future[n]
        joined = np.concatenate([rows, neighbours[rows].reshape(-1)])
        lists.append(np.unique(joined[joined >= 0]))
    return Ragged.of(lists)


def pad_sets(sets: Ragged) -> Tensor:
    """Ragged item rows -> int64 [B, M], -1 beyond a set's end; M is at least 1."""
    out = np.full((len(sets), max(1, int(sets.lengths.max(initial=0)))), -1, dtype=np.int64)
    starts = np.repeat(sets.offsets[:-1], sets.lengths)
    out[sets.owners, np.arange(len(sets.values)) - starts] = sets.values
    return torch.as_tensor(out)


def is_member(items: Tensor, sets: Ragged) -> Tensor:
    """float32 [B, G]: 1 where an answer is in its prompt's set."""
    return (items[:, :, None] == pad_sets(sets)[:, None, :]).any(-1).float()
