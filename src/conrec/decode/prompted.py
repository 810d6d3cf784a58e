"""Prompts, days and offers of a set of instances, ready for training and decoding.

Every instance has a row of the offer: the items known on the day of its cut and their prior on that day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from conrec.data.instances import Instances, Ragged
from conrec.data.knowledge import Knowledge
from conrec.decode.trie import Offer, Trie
from conrec.lm.policy import pad_prompts

REACH = 10.0
"""Brings the sum of similarities to the order of 1 (see `Decoding`)."""


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
class Prompted:
    """Instances with their prompts in one context, and the offer of their days."""

    instances: Instances
    prompts: Ragged
    rows: np.ndarray
    offer: Offer
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
    """How to decode: the prior of the day, and how strongly a user's own past dislikes count (not in the paper).

    What a user has seen is not on offer to that user, so it takes no beam and the k places are filled.

    An item's weight is its weight of the day times exp(pull * c) and (1 + 10 s)^follow: c the largest cosine of its
    content to that of the user's dislikes in the history, s the sum of its similarities to them by who disliked
    them. What a user disliked, and who else did, is known on the day of prediction like what is on offer; the model
    then only has to know better than neighbours, not to learn them.
    """

    data: Prompted
    content: np.ndarray
    """float32 [items, d]: embeddings of length 1."""
    pull: float = 0.0
    neighbours: csr_matrix | None = None
    """float [items, items]: how alike the people who disliked two items are (`items.codislikes`)."""
    follow: float = 0.0

    def offer(self, batch: Batch) -> tuple[Offer, Tensor]:
        """The offer for a batch of `data`, and the row of each of its prompts."""
        instances, day = self.data.instances.take(batch.index), self.data.offer
        if not self.pull and not self.follow and not len(instances.seen.values):
            return day, batch.rows
        content = torch.as_tensor(self.content, device=self.data.device)
        weight = day.item_weight[batch.rows].double()
        for row in range(len(weight)):
            rest = weight[row].clone()
            rest[torch.as_tensor(instances.seen[row], dtype=torch.int64)] = 0
            # Who has seen everything keeps the offer: the search needs one, and its result is left out afterwards.
            weight[row] = rest if rest.any() else weight[row]
            disliked = torch.as_tensor(instances.dislikes[row], dtype=torch.int64)
            if self.pull and len(disliked):
                weight[row] *= (self.pull * (content @ content[disliked].T).amax(1).double()).exp()
            if self.follow and self.neighbours is not None and len(disliked):
                shared = np.asarray(self.neighbours[instances.dislikes[row]].sum(axis=0)).ravel()
                weight[row] *= torch.as_tensor((1 + REACH * shared) ** self.follow, device=weight.device)
        leaning = day.with_prior or self.pull != 0 or self.follow != 0
        return day.trie.weigh(weight, prior=leaning), torch.arange(len(weight), device=weight.device)


def offer_of_days(
    instances: Instances,
    knowledge: Knowledge,
    trie: Trie,
    *,
    days: float,
    smoothing: float,
    weight: float,
    everything: bool = False,
) -> tuple[Offer, np.ndarray]:
    """One row per distinct day of the instances' cuts, and each instance's row.

    An item's weight is its prior (exponentially decayed dislikes before that midnight, plus `smoothing`) to the
    power of `weight`; 0 switches the prior off. Items not yet seen that day have weight 0. A training cut inside
    a day gets that day's midnight, so nothing of the day itself is known. With `everything` an item not yet seen
    counts like the least popular one: a ranker's candidate exists, whether or not the log has met it.
    """
    midnight = instances.cuts.astype("datetime64[D]").astype("datetime64[us]")
    distinct, rows = np.unique(midnight, return_inverse=True)
    priors = []
    for day in distinct:
        prior = knowledge.prior(day, days, smoothing)
        if everything:
            prior = np.where(prior > 0, prior, prior[prior > 0].min())
        priors.append(prior**weight * (prior > 0))
    return trie.weigh(np.stack(priors), prior=weight != 0), rows.reshape(-1)
