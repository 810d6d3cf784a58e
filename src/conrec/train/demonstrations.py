"""Demonstrations: some answers of a group are dislikes that the user really went on to voice (not in the paper).

Of sixteen answers drawn among thousands of items hardly one in thirty is an exact hit, so most groups only say which
category is right, and the policy sharpens on that. A demonstration in every group gives the exact hit an advantage,
too. It is off-policy guidance as in Yan et al. 2025 (LUFFY), with the probability ratio counted from the policy's
own probability at the time of the rollout: the first update weighs the answer's likelihood by its advantage.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Ragged
from conrec.decode.trie import Trie


@dataclass(frozen=True)
class Demonstrations:
    """Known right answers to the prompts of a stage."""

    dislikes: Ragged
    """Item rows that each prompt may be shown."""
    codes: np.ndarray
    """int [items, T]: the semantic IDs."""
    trie: Trie
    at_most: int
    """Demonstrations in a group; 0: none. At least one drawn answer always stays."""

    def mix_in(self, codes: Tensor, leaves: Tensor, index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Put demonstrations into the first places of each group.

        Args: drawn codes int64 [B, G, T] and leaves int64 [B, G] of the prompts `index` [B]. A prompt begins its list
        at its own number, so that one that comes twice in a stage is shown something else. Returns codes, leaves, and
        bool [B, G], which answers are demonstrations; what was given is not written to.
        """
        codes, leaves = codes.clone(), leaves.clone()
        shown = torch.zeros(leaves.shape, dtype=torch.bool)
        for n, prompt in enumerate(index):
            items = np.roll(self.dislikes[prompt], -int(prompt))[: min(self.at_most, leaves.shape[1] - 1)]
            place = slice(0, len(items))
            codes[n, place] = torch.as_tensor(self.codes[items], dtype=torch.int64, device=codes.device)
            leaves[n, place] = self.trie.leaf_of_item[torch.as_tensor(items, dtype=torch.int64, device=leaves.device)]
            shown[n, place] = True
        return codes, leaves, shown
