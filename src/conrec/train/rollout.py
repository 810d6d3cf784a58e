"""Rollouts: G answers to each prompt, drawn from the policy behind one shared prompt pass."""

from __future__ import annotations

import torch
from torch import Tensor

from conrec.decode.prompt_dataset import Batch
from conrec.decode.trie import CandidatePool
from conrec.lm.policy import Policy
from conrec.lm.sharing import Share, gumbel_noise


@torch.no_grad()
def rollout(
    policy: Policy,
    batch: Batch,
    pool: CandidatePool,
    group: int,
    generator: torch.Generator,
    *,
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes int64 [B, G, T] and leaves int64 [B, G], drawn from the policy independently of each other.

    `share`: which prompts of a larger step these are (the answers then are those that the whole step would have got).
    """
    policy.eval()
    size = len(batch.prompt_ids)
    device = batch.prompt_ids.device
    state = policy.prefill(batch.prompt_ids, batch.prompt_mask)
    hidden = state.hidden[:, None].expand(-1, group, -1)
    nodes = torch.zeros(size * group, dtype=torch.int64, device=device)
    rows = batch.rows.repeat_interleave(group)
    codes: list[Tensor] = []
    places: list[Tensor] = []
    levels = len(pool.trie.sizes)
    for t in range(levels):
        scores = policy.level_logprobs(hidden.reshape(size * group, -1), t, nodes, rows, pool)
        noise = gumbel_noise((size, group, scores.shape[1]), generator, device, share)
        # The largest of log-probability plus Gumbel noise is a draw from the distribution.
        code = (scores + noise.view(scores.shape)).argmax(-1)
        nodes = pool.child(t, nodes, code)
        codes.append(code.view(size, group))
        if t + 1 < levels:
            ancestors = torch.stack(places, -1) if places else codes[0].new_zeros(size, group, 0)
            start = state.suffix
            hidden = policy.extend(state, codes[-1], t, ancestors)
            places.append(torch.arange(start, start + group, device=device).expand(size, -1))
    return torch.stack(codes, -1), nodes.view(size, group)
