"""Prompts, days and offers of a set of instances, ready for training and decoding.

Every instance has a row of the offer: the items known on the day of its cutoff and their prior on that day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Instances, Ragged
from conrec.data.knowledge import Knowledge
from conrec.decode.trie import CandidatePool, Trie
from conrec.features.item_features import ItemFeature
from conrec.lm.policy import pad_prompts

FARTHEST = -60.0
"""Below the likeliest item, in logs: an item on offer is never less likely than that."""


@dataclass(frozen=True)
class Batch:
    """Tensors of some prompts."""

    index: np.ndarray
    """Which instances, int64 [B]."""
    prompt_ids: Tensor
    prompt_mask: Tensor
    rows: Tensor
    """Row of the offer of each prompt, int64 [B]."""


@dataclass(frozen=True)
class PromptDataset:
    """Instances with their prompts in one context, and the offer of their days."""

    instances: Instances
    prompts: Ragged
    rows: np.ndarray
    pool: CandidatePool
    pad: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.instances)

    def batch(self, index: np.ndarray, prompts: list[list[int]] | None = None) -> Batch:
        """The prompts of the instances at `index`, or other `prompts` for them."""
        ids, mask = pad_prompts(prompts or [self.prompts[n] for n in index], self.pad)
        rows = torch.as_tensor(self.rows[index], dtype=torch.int64)
        return Batch(index, ids.to(self.device), mask.to(self.device), rows.to(self.device))

    def by_length(self, size: int) -> list[Batch]:
        """All prompts, those of similar length together, so that little is padded."""
        order = np.argsort(self.prompts.lengths, kind="stable")
        return [self.batch(order[begin : begin + size]) for begin in range(0, len(order), size)]


@dataclass(frozen=True)
class Decoding:
    """How to decode: under the prior of the day, and with the item features that count.

    What a user has seen is not on offer to that user, so it takes no beam and the k places are filled.
    """

    data: PromptDataset
    item_features: Sequence[tuple[float, ItemFeature]] = ()
    """Weights, and what they are of."""
    temperature: float = 1.0
    """Of the policy: above 1 its own part counts less beside the prior and the item features."""

    def pool(self, batch: Batch) -> tuple[CandidatePool, Tensor]:
        """The offer for a batch of `data`, and the row of each of its prompts."""
        instances, day = self.data.instances.take(batch.index), self.data.pool
        if not self.item_features and not len(instances.seen.values):
            return day, batch.rows
        weight = day.item_weight[batch.rows].double()
        for row in range(len(weight)):
            rest = weight[row].clone()
            rest[torch.as_tensor(instances.seen[row], dtype=torch.int64)] = 0
            # Who has seen everything keeps the offer: the search needs one, and its result is left out afterwards.
            weight[row] = rest if rest.any() else weight[row]
        if self.item_features:
            added = sum(value * feature.log_weight(instances) for value, feature in self.item_features)
            log = weight.log() + torch.as_tensor(added, device=weight.device)
            # Unlikely is not impossible: what is on offer stays within the reach of floating point.
            weight = (log - log.amax(1, keepdim=True)).clamp_min(FARTHEST).exp() * (weight > 0)
        return day.trie.weigh(weight, prior=day.with_prior or bool(self.item_features)), torch.arange(
            len(weight), device=weight.device
        )


def pool_of_days(
    instances: Instances,
    knowledge: Knowledge,
    trie: Trie,
    *,
    days: float,
    smoothing: float,
    weight: float,
    everything: bool = False,
) -> tuple[CandidatePool, np.ndarray]:
    """One row per distinct day of the instances' cuts, and each instance's row.

    An item's weight is its prior (exponentially decayed dislikes before that midnight, plus `smoothing`) to the
    power of `weight`; 0 switches the prior off. Items not yet seen that day have weight 0. A training cut inside
    a day gets that day's midnight, so nothing of the day itself is known. With `everything` an item not yet seen
    counts like the least popular one: a ranker's candidate exists, whether or not the log has met it.
    """
    midnight = instances.cutoffs.astype("datetime64[D]").astype("datetime64[us]")
    distinct, rows = np.unique(midnight, return_inverse=True)
    priors = []
    for day in distinct:
        prior = knowledge.prior(day, days, smoothing)
        if everything:
            prior = np.where(prior > 0, prior, prior[prior > 0].min())
        priors.append(prior**weight * (prior > 0))
    return trie.weigh(np.stack(priors), prior=weight != 0), rows.reshape(-1)
