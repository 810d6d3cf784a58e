"""Constrained beam search: the k items that the policy finds most likely, one prompt pass a user.

All beams of a user share the prompt's cache. The search runs over semantic IDs with `beams` hypotheses; a leaf
that stands for several items spends one of the k places per item, and items that the user has already seen are
left out before the best k are taken, so exclusion costs no place.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.decode.trie import CandidatePool
from conrec.lm.policy import AnswerModel, State


@dataclass(frozen=True)
class Beams:
    """Semantic IDs found for B prompts, W each, best first; a score of -inf marks a place that no item fills."""

    codes: Tensor
    """int64 [B, W, T]."""
    leaves: Tensor
    """int64 [B, W]."""
    scores: Tensor
    """float32 [B, W]: sum of the levels' log-probabilities."""


@torch.no_grad()
def search(
    policy: AnswerModel[State], state: State, rows: Tensor, pool: CandidatePool, *, beams: int, temperature: float = 1.0
) -> Beams:
    """The `beams` most likely semantic IDs of each prompt.

    Args: the prompts' state (`policy.prefill`; rewound afterwards, so it can be searched again) and the pool's
    row of each prompt int64 [B].
    With at least as many beams as there are nodes on each level the search is exact.
    """
    batch = len(rows)
    device = rows.device
    levels = len(pool.trie.sizes)
    hidden = state.hidden[:, None]
    scores = torch.zeros(batch, 1, device=device)
    nodes = torch.zeros(batch, 1, dtype=torch.int64, device=device)
    codes = torch.zeros(batch, 1, 0, dtype=torch.int64, device=device)
    places = torch.zeros(batch, 1, 0, dtype=torch.int64, device=device)
    for t in range(levels):
        width = nodes.shape[1]
        step = policy.level_logprobs(
            hidden.reshape(batch * width, -1), t, nodes.reshape(-1), rows.repeat_interleave(width), pool, temperature
        ).view(batch, width, -1)
        total = (scores[:, :, None] + step).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        size = total.shape[2]
        best = total.flatten(1).topk(min(beams, width * size), dim=1)
        parent, code = best.indices // size, best.indices % size
        scores = best.values
        nodes = pool.child(t, nodes.gather(1, parent).reshape(-1), code.reshape(-1)).view(batch, -1)
        codes = torch.cat([codes.gather(1, parent[:, :, None].expand(-1, -1, t)), code[:, :, None]], dim=2)
        places = places.gather(1, parent[:, :, None].expand(-1, -1, t))
        if t + 1 < levels:
            start = state.suffix
            hidden = policy.extend(state, code, t, places)
            own = torch.arange(start, start + code.shape[1], device=device).expand(batch, -1)
            places = torch.cat([places, own[:, :, None]], dim=2)
    state.rewind()
    return Beams(codes, nodes, scores)


def best_items(
    found: Beams, pool: CandidatePool, rows: Tensor, exclude: list[np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Item rows int32 [B, k] and scores float32 [B, k], best first; -1 and -inf where fewer than k remain.

    Args: `exclude`, for each prompt the item rows that must not be returned. Items of one semantic ID follow each
    other, the one of larger prior first; of equal priors the smaller row.
    """
    items = np.full((len(exclude), k), -1, dtype=np.int32)
    scores = np.full((len(exclude), k), -np.inf, dtype=np.float32)
    leaves, values = found.leaves.cpu().numpy(), found.scores.cpu().numpy()
    weight = pool.item_weight.cpu().numpy()
    start, order = pool.trie.leaf_start.cpu().numpy(), pool.trie.item_order.cpu().numpy()
    day = rows.cpu().numpy()
    for n, banned in enumerate(exclude):
        banned_set = set(banned.tolist())
        place = 0
        for leaf, value in zip(leaves[n], values[n]):
            if place == k or not np.isfinite(value):
                break
            rows_of_leaf = order[start[leaf] : start[leaf + 1]]
            of_leaf = weight[day[n], rows_of_leaf]
            for item in rows_of_leaf[np.lexsort((rows_of_leaf, -of_leaf))][: (of_leaf > 0).sum()].tolist():
                if item not in banned_set and place < k:
                    items[n, place], scores[n, place] = item, value
                    place += 1
    return items, scores


def heaviest_items(
    pool: CandidatePool, rows: Tensor, exclude: list[np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k heaviest items of the candidate pool, for decoding without the policy.

    Args and result as in `best_items`, but there is no search; a score is the log of the item's share of the weight.
    """
    weight = pool.item_weight[rows].double()
    weight = weight / weight.sum(1, keepdim=True)
    for n, banned in enumerate(exclude):
        weight[n, torch.as_tensor(banned, dtype=torch.int64)] = 0
    best = weight.topk(min(k, weight.shape[1]), dim=1)
    items = np.full((len(exclude), k), -1, dtype=np.int32)
    scores = np.full((len(exclude), k), -np.inf, dtype=np.float32)
    there = (best.values > 0).cpu().numpy()
    items[:, : there.shape[1]] = np.where(there, best.indices.cpu().numpy(), -1)
    scores[:, : there.shape[1]] = best.values.log().cpu().numpy()
    return items, scores
