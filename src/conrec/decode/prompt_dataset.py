"""Instances as tensors: their prompts and the candidate pools of their days, ready for training and decoding.

The pool has a row a day: the items known at the midnight before the instances' cutoffs and their prior at that time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Instances, Ragged
from conrec.data.knowledge import DAY, Knowledge
from conrec.decode.trie import CandidatePool, Trie
from conrec.features.item_features import ItemFeature
from conrec.lm.policy import pad_prompts

FARTHEST = -60.0
"""Smallest log-weight of an item in the candidate pool, counted from that of the heaviest one."""


@dataclass(frozen=True)
class Batch:
    """Some prompts of a `PromptDataset` as tensors, on its device."""

    index: np.ndarray
    """int64 [B]: numbers of the instances in the data set."""
    prompt_ids: Tensor
    """int64 [B, P], padded on the left."""
    prompt_mask: Tensor
    """bool [B, P]: False for padding."""
    rows: Tensor
    """int64 [B]: row of the candidate pool."""


@dataclass(frozen=True)
class PromptDataset:
    """Instances with their prompts in one context, and the candidate pools of their days."""

    instances: Instances
    prompts: Ragged
    """Token ids of each instance's prompt, int64."""
    rows: np.ndarray
    """int64 [n]: each instance's row of `pool`."""
    pool: CandidatePool
    pad: int
    device: torch.device
    excluded: Callable[[Instances], Ragged] = attrgetter("seen")
    """Rows that must not be named to each user (`data.knowledge`)."""

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

    What is excluded for a user is not in that user's candidate pool, so it takes no beam and the k places are filled.
    """

    data: PromptDataset
    item_features: Sequence[tuple[float, ItemFeature]] = ()
    """Pairs of an exponent and the item feature that it weighs."""
    temperature: float = 1.0
    """Temperature of the policy: above 1 it counts less beside the prior and the item features."""

    def pool(self, batch: Batch) -> tuple[CandidatePool, Tensor]:
        """The candidate pool of a batch of `data`, and the row of each of its prompts, int64 [B]."""
        instances, day = self.data.instances.take(batch.index), self.data.pool
        excluded = self.data.excluded(instances)
        if not self.item_features and not len(excluded.values):
            return day, batch.rows
        weight = day.item_weight[batch.rows].double()
        for row in range(len(weight)):
            rest = weight[row].clone()
            rest[torch.as_tensor(excluded[row], dtype=torch.int64)] = 0
            # With all items excluded it keeps the pool: the search needs one, and its result is left out afterwards.
            weight[row] = rest if rest.any() else weight[row]
        if self.item_features:
            added = sum(value * feature.log_weight(instances) for value, feature in self.item_features)
            log = weight.log() + torch.as_tensor(added, device=weight.device)
            # Unlikely is not impossible: what is in the pool stays within the reach of floating point.
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
    include_unseen: bool = False,
) -> tuple[CandidatePool, np.ndarray]:
    """Candidate pool with a row for each distinct day of the instances' cutoffs and scope of users (`data.knowledge`),
    and each instance's row, int64 [n].

    An item's weight is its prior (exponentially decayed dislikes before that midnight UTC, plus `smoothing`) to the
    power of `weight`; 0 switches the prior off. Nothing of the cutoff's own day is known, and items not yet seen have
    weight 0. (By category that day's items are there; `PromptDataset.excluded` leaves out those after a user's own
    cutoff.) With `include_unseen` they count like the least popular one: a ranker's candidate exists all the same.
    """
    midnight = instances.cutoffs.astype("datetime64[D]").astype("datetime64[us]")
    parts, scopes = knowledge.scopes(instances)
    distinct, rows = np.unique(np.stack([midnight.astype(np.int64), scopes]), axis=1, return_inverse=True)
    priors = []
    for day, scope in zip(distinct[0].astype("datetime64[us]"), distinct[1]):
        prior = knowledge.prior(day, days, smoothing, day + DAY if knowledge.by_category else None)
        if include_unseen:
            prior = np.where(prior > 0, prior, prior[prior > 0].min())
        priors.append(np.power(prior, weight, out=np.zeros_like(prior), where=prior > 0) * parts[scope])
    return trie.weigh(np.stack(priors), prior=weight != 0), rows.reshape(-1)
