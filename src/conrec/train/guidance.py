"""Guided groups: some answers of a group are what the user really came to dislike (not in the paper).

Of sixteen answers drawn among thousands of items hardly one in thirty is an exact hit, so most groups only say which
category is right, and the policy sharpens on that. A known answer in every group gives the exact hit an advantage,
too. It is off-policy guidance as in Yan et al. 2025 (LUFFY), with the probability ratio counted from the policy's
own probability at the time of the rollout: the first update weighs the answer's likelihood by its advantage.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Ragged
from conrec.decode.trie import Trie


def guide(
    codes: Tensor, leaves: Tensor, truth: Ragged, turn: np.ndarray, catalogue: np.ndarray, trie: Trie, at_most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Put known answers into the first places of each group; at least one drawn answer stays.

    Args: drawn codes int64 [B, G, T] and leaves [B, G]; `truth`, the item rows that each prompt may be told; `turn`
    int [B], where in its list a prompt begins, so that a prompt that returns is told something else; the semantic
    IDs of the catalogue int [items, T]. Returns codes, leaves and bool [B, G], which answers were told.
    """
    codes, leaves = codes.clone(), leaves.clone()
    told = torch.zeros(leaves.shape, dtype=torch.bool)
    for n in range(len(truth)):
        items = np.roll(truth[n], -int(turn[n]))[: min(at_most, leaves.shape[1] - 1)]
        place = slice(0, len(items))
        codes[n, place] = torch.as_tensor(catalogue[items], dtype=torch.int64, device=codes.device)
        leaves[n, place] = trie.leaf_of_item[torch.as_tensor(items, dtype=torch.int64, device=leaves.device)]
        told[n, place] = True
    return codes, leaves, told
