"""Rollouts: G answers to each prompt, drawn from the policy behind one shared prompt pass."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from conrec.decode.beam import search
from conrec.decode.prompt_dataset import Batch
from conrec.decode.trie import CandidatePool
from conrec.lm.policy import Normalisation, Policy
from conrec.lm.sharing import Share, gumbel_noise

Sampling = Literal["independent", "without_replacement"]


@torch.no_grad()
def rollout(
    policy: Policy,
    batch: Batch,
    pool: CandidatePool,
    group: int,
    generator: torch.Generator,
    *,
    normalisation: Normalisation = "trie",
    sampling: Sampling = "independent",
    share: Share | None = None,
) -> tuple[Tensor, Tensor]:
    """Codes int64 [B, G, T] and leaves int64 [B, G] drawn from the policy.

    `independent` is GRPO's own. `without_replacement` gives G distinct answers, so that a peaked policy does not
    waste its group; where fewer than G items are on offer its answers repeat. `share`: which prompts of a larger
    step these are (the answers then are those that the whole step would have got).
    """
    policy.eval()
    if sampling == "without_replacement":
        found = search(
            policy,
            policy.prefill(batch.prompt_ids, batch.prompt_mask),
            batch.rows,
            pool,
            beams=group,
            normalisation=normalisation,
            gumbel=generator,
            share=share,
        )
        alive = torch.isfinite(found.scores)
        place = torch.where(alive, torch.arange(alive.shape[1], device=alive.device), 0)
        pick = torch.arange(group, device=place.device).remainder(place.shape[1]).expand(len(place), -1)
        pick = place.gather(1, pick)
        return (
            found.codes.gather(1, pick[:, :, None].expand(-1, -1, found.codes.shape[2])),
            found.leaves.gather(1, pick),
        )
    return _independent(policy, batch, pool, group, generator, normalisation, share)


def _independent(
    policy: Policy,
    batch: Batch,
    pool: CandidatePool,
    group: int,
    generator: torch.Generator,
    normalisation: Normalisation,
    share: Share | None,
) -> tuple[Tensor, Tensor]:
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
        scores = policy.level_logprobs(hidden.reshape(size * group, -1), t, nodes, rows, pool, normalisation)
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
