"""Packing: short samples share rows, none sees its neighbours.

Samples of a few dozen tokens padded to the longest waste most of a row. Best-fit decreasing puts them into rows
of `length` tokens; a block-diagonal mask and positions that restart keep them apart, so a packed sample has the
same logits as it has alone (tested).
"""

import bisect
from dataclasses import dataclass

import torch
from torch import Tensor

from conrec.lm.prompts import Sample


@dataclass(frozen=True)
class Row:
    """Packed rows as tensors, [B, L]."""

    ids: Tensor
    positions: Tensor
    segments: Tensor
    """Number of the sample a token belongs to; -1 is padding."""
    targets: Tensor
    """The token to predict at this place; -100 where there is no loss."""


def pack(lengths: list[int], length: int) -> list[list[int]]:
    """Best-fit decreasing: lists of sample numbers whose lengths sum to at most `length`.

    A sample longer than `length` gets a row of its own. Ties are broken by number, so the result is deterministic.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []
    for n in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        at = bisect.bisect_left(free, (lengths[n], -1))
        if at == len(free):
            rows.append([n])
            bisect.insort(free, (max(0, length - lengths[n]), len(rows) - 1))
        else:
            space, row = free.pop(at)
            rows[row].append(n)
            bisect.insort(free, (space - lengths[n], row))
    return rows


def collate(samples: list[Sample], rows: list[list[int]], pad: int) -> Row:
    """Rows of sample numbers -> tensors."""
    width = max(sum(len(samples[n].prompt) + len(samples[n].answer) for n in row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    positions = torch.zeros((len(rows), width), dtype=torch.int64)
    segments = torch.full((len(rows), width), -1, dtype=torch.int64)
    targets = torch.full((len(rows), width), -100, dtype=torch.int64)
    for r, row in enumerate(rows):
        at = 0
        for s, n in enumerate(row):
            prompt, answer = samples[n].prompt, samples[n].answer
            end = at + len(prompt) + len(answer)
            ids[r, at:end] = torch.tensor(prompt + answer)
            positions[r, at:end] = torch.arange(end - at)
            segments[r, at:end] = s
            targets[r, at + len(prompt) - 1 : end - 1] = torch.tensor(answer)
            at = end
    return Row(ids, positions, segments, targets)


def block_mask(segments: Tensor) -> Tensor:
    """[B, L] -> bool [B, L, L]: whether a token may look at another one, of the same sample and not after it.

    Padding looks at itself only, so that no row of the mask is empty.
    """
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    same = (segments[:, :, None] == segments[:, None, :]) & (segments >= 0)[:, :, None]
    own = torch.eye(length, dtype=torch.bool, device=segments.device)
    return (causal & same) | own
