"""BERT4Rec (Sun et al., CIKM 2019, arXiv 1904.06690): fill in masked items from both sides, then ask for a last one.

    x_t = e(item_t) + p_t (+ m(sign_t) where positives are read, too)
    x   = LayerNorm(x + Dropout(Attention(x)));   x = LayerNorm(x + Dropout(FFN(x)))     `layers` times, both ways
    P(i) = softmax over the targets of  GELU(x_t W + b) . e(i) + b_i

p counts back from the end of a window. docs/baselines.md says how it is trained, and how it departs from the paper.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conrec.baselines.sequence_model import SequenceRecommender
from conrec.features.attention import EventNetwork
from conrec.features.sequences import PREDICTED, Batch, Tokens
from conrec.features.sizes import Inputs, Sizes

AT_END = 0.5
"""Share of the training windows that end with a mask, the only one."""


class Cloze(EventNetwork):
    """Tokens and marks int64 [B, L] -> states float [B, L, d]; token `self.mask` stands for what is hidden."""

    def __init__(self, tokens: Tokens, length: int, sizes: Sizes, signed: bool) -> None:
        super().__init__(len(tokens) + 1, length, sizes, signed)
        self.mask, self.targets = len(tokens), tokens.targets
        self.project = nn.Linear(sizes.width, sizes.width)
        self.bias = nn.Parameter(torch.zeros(tokens.targets))
        self.draw()

    def forward(self, tokens: Tensor, marks: Tensor) -> Tensor:
        from_end = (tokens != 0).sum(1, keepdim=True) - 1 - torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedded(tokens, marks, self.positions(from_end.clamp(min=0)))
        return self.both_ways(self.dropout(self.norm(x)), tokens)

    def logits(self, states: Tensor) -> Tensor:
        """float [..., d] -> [..., T]."""
        return F.gelu(self.project(states)) @ self.items.weight[1 : self.targets + 1].T + self.bias


class BERT4Rec(SequenceRecommender):
    """The mask asks for the next dislike; a history without any known item is a mask alone."""

    name = "bert4rec"
    repeats = 5

    def __init__(self, inputs: Inputs = "dislikes", *, masked: float = 0.2, **options: Any) -> None:
        """`masked`: share of the dislikes that are masked; further options as in `SequenceRecommender`."""
        super().__init__(inputs, loss="softmax", **options)
        self.masked = masked

    def build(self) -> Cloze:
        return Cloze(self.tokens, self.length + 1, self.sizes, self.signed)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        shown, hidden = self.hide(batch, generator)
        states = self.network(torch.where(hidden, self.network.mask, shown), batch.marks * (shown != 0))
        return F.cross_entropy(self.network.logits(states[hidden]), shown[hidden] - 1)

    def hide(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tokens of each window that are shown, int64 [B, L] (0 after an end that was drawn), and which of them are
        masked, bool [B, L]: one dislike at least in every window."""
        may = batch.marks == PREDICTED
        chance = torch.rand(may.shape, generator=generator).to(may.device)
        drawn = may & (chance < self.masked)
        end = torch.where(may, chance, -1.0).argmax(1, keepdim=True)
        at_end = (torch.rand(len(batch), 1, generator=generator).to(may.device) < AT_END) | ~drawn.any(1, True)
        places = torch.arange(may.shape[1], device=may.device)
        shown = batch.tokens.masked_fill(at_end & (places > end), 0)
        return shown, torch.where(at_end, places == end, drawn)

    def logits(self, batch: Batch) -> Tensor:
        lengths = (batch.tokens != 0).sum(1, keepdim=True)
        rows = torch.arange(len(batch), device=lengths.device)[:, None]
        tokens, marks = F.pad(batch.tokens, (0, 1)), F.pad(batch.marks, (0, 1))
        tokens[rows, lengths], marks[rows, lengths] = self.network.mask, PREDICTED
        states = self.network(tokens, marks)[rows[:, 0], lengths[:, 0]]
        return self.network.logits(states)
