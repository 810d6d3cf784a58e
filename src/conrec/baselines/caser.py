"""Caser (Tang and Wang, WSDM 2018, arXiv 1809.07426): a history as a picture, read by convolutions.

The newest `order` items are an image E [order, d]; with user vector P_u:

    o_h = max over places of ReLU(E * F_h)           horizontal filters of every height 1 .. order, as wide as E
    o_v = ReLU(E^T F_v)                              vertical filters: weighted sums over the items
    z   = ReLU(W dropout([o_h; o_v]) + b)
    y_i = W'_i . [z; P_u] + b'_i                     output vectors are not the input embeddings

docs/baselines.md says how it is trained, and how it departs from the paper.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conrec.baselines.sequence_model import SequenceRecommender, negatives
from conrec.features.attention import small_embeddings
from conrec.features.sequences import Batch, Tokens
from conrec.features.sizes import Inputs, Sizes

TARGETS = 3
"""T of the paper, and its number of negatives for each target."""
HORIZONTAL, VERTICAL = 16, 4
"""Numbers of filters, of each height and in all."""


class Convolutions(nn.Module):
    """The newest events of users, int64 [M, order] padded in front, to z and user vector: float [M, 2 d]."""

    def __init__(self, tokens: Tokens, users: int, order: int, sizes: Sizes, signed: bool) -> None:
        super().__init__()
        width = sizes.width
        self.items = nn.Embedding(len(tokens), width, padding_idx=0)
        self.marks = nn.Embedding(3, width, padding_idx=0) if signed else None
        self.users = nn.Embedding(users, width)
        self.horizontal = nn.ModuleList(nn.Conv2d(1, HORIZONTAL, (height + 1, width)) for height in range(order))
        self.vertical = nn.Conv2d(1, VERTICAL, (order, 1))
        self.dropout = nn.Dropout(sizes.dropout)
        self.hidden = nn.Linear(order * HORIZONTAL + VERTICAL * width, width)
        self.output = nn.Embedding(tokens.targets + 1, 2 * width, padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(tokens.targets + 1))
        small_embeddings(self.items, self.marks, self.users, self.output, std=1 / width)

    def forward(self, tokens: Tensor, marks: Tensor, owners: Tensor) -> Tensor:
        image = self.items(tokens)
        if self.marks is not None:
            image = image + self.marks(marks)
        image = image[:, None]  # one channel
        across = [F.relu(filters(image))[..., 0].amax(-1) for filters in self.horizontal]
        down = F.relu(self.vertical(image)).flatten(1)
        z = F.relu(self.hidden(self.dropout(torch.cat([*across, down], dim=1))))
        unknown = (owners == len(self.users.weight))[:, None]
        own = self.users(owners.clamp(max=len(self.users.weight) - 1))
        return torch.cat([z, torch.where(unknown, self.users.weight.mean(0), own)], dim=1)


class Caser(SequenceRecommender):
    """`order` is the paper's L; filters and dropout are its defaults."""

    name = "caser"
    sizes = Sizes(dropout=0.5)
    weight_decay = 1e-6
    betas = (0.9, 0.999)

    def __init__(self, inputs: Inputs = "dislikes", *, order: int = 5, **options: Any) -> None:
        """Further options as in `SequenceRecommender`."""
        super().__init__(inputs, length=order, **options)

    def build(self) -> Convolutions:
        return Convolutions(self.tokens, len(self.users), self.length, self.sizes, self.signed)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        tokens, marks, owners, wanted = self.unrolled(batch)
        states = self.network(tokens, marks, owners)
        real = wanted > 0
        if self.loss_name == "softmax":
            logits = (states @ self.network.output.weight.T + self.network.bias)[:, 1:]
            return F.cross_entropy(logits[:, None].expand(-1, TARGETS, -1)[real], wanted[real] - 1)
        own = torch.cat([tokens, wanted], dim=1)
        own = own[:, None].expand(-1, TARGETS, -1)[real].repeat_interleave(TARGETS, 0)
        drawn = negatives(own, wanted[real].repeat_interleave(TARGETS), self.tokens.targets, generator)
        states = states[:, None].expand(-1, TARGETS, -1)[real]
        positive = self._score(states, wanted[real])
        negative = self._score(states.repeat_interleave(TARGETS, 0), drawn)
        return (F.softplus(-positive).sum() + F.softplus(negative).sum()) / len(positive)

    def _score(self, states: Tensor, tokens: Tensor) -> Tensor:
        return (states * self.network.output(tokens)).sum(-1) + self.network.bias[tokens]

    def unrolled(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Every wanted event with the `length` events before it, padded in front.

        tokens and marks int64 [M, length], owners int64 [M], and the next `TARGETS` wanted tokens int64 [M, TARGETS],
        0 where the window has no more.
        """
        rows, places = batch.wanted.nonzero(as_tuple=True)
        tokens, marks = self._before(batch, rows, places)
        # `rows` ascends and places ascend within a row: the next wanted events are the next of this very list.
        following = torch.arange(len(rows), device=rows.device)[:, None] + torch.arange(TARGETS, device=rows.device)
        there = following < len(rows)
        following = following.clamp(max=len(rows) - 1)
        there &= rows[following] == rows[:, None]
        wanted = torch.where(there, batch.tokens[rows[following], places[following]], 0)
        return tokens, marks, batch.owners[rows], wanted

    def _before(self, batch: Batch, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and marks int64 [M, length] of the events before some places, padded in front."""
        at = rows[:, None], places[:, None] + torch.arange(self.length, device=rows.device)
        return F.pad(batch.tokens, (self.length, 0))[at], F.pad(batch.marks, (self.length, 0))[at]

    def logits(self, batch: Batch) -> Tensor:
        lengths = (batch.tokens != 0).sum(1)
        tokens, marks = self._before(batch, torch.arange(len(lengths), device=lengths.device), lengths)
        states = self.network(tokens, marks, batch.owners)
        return (states @ self.network.output.weight.T + self.network.bias)[:, 1:]
