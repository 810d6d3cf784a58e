"""FDSA (Zhang et al., IJCAI 2019): one self-attention over the items of a history, one over their features.

    f_t = sum_k a_k v_k,  a = softmax over k of (W v_k + b)      vanilla attention over an item's features v_k
    O_s = SelfAttention(e(item_t) + p_t),   O_f = SelfAttention(f_t + p'_t)              both causal, `layers` blocks
    r(i | history) = (W' [O_s; O_f]_last + b') . e(i)

docs/baselines.md says what the features are, how it is trained, and how it departs from the paper.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from conrec.baselines.base import category_numbers
from conrec.baselines.sequence_model import NextItemRecommender
from conrec.features.attention import causal, small_embeddings, transformer
from conrec.features.sequences import Tokens
from conrec.features.sizes import Sizes
from conrec.sid.catalog import unit_rows


class Features(nn.Module):
    """Tokens int64 [...] -> one vector float [..., d] of the item's category and content, by vanilla attention."""

    category: Tensor
    content: Tensor

    def __init__(self, tokens: Tokens, categories: np.ndarray, content: np.ndarray, width: int) -> None:
        super().__init__()
        padded = np.concatenate([[0], categories[tokens.rows]])
        vectors = np.concatenate([np.zeros((1, content.shape[1]), np.float32), unit_rows(content)[tokens.rows]])
        self.register_buffer("category", torch.from_numpy(padded), persistent=False)
        self.register_buffer("content", torch.from_numpy(vectors.astype(np.float32)), persistent=False)
        self.categories = nn.Embedding(int(categories.max()) + 1, width, padding_idx=0)
        self.project = nn.Linear(content.shape[1], width)
        self.attention = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        values = torch.stack([self.categories(self.category[tokens]), self.project(self.content[tokens])], dim=-2)
        return (torch.softmax(self.attention(values), dim=-2) * values).sum(-2)


class TwoStreams(nn.Module):
    """Tokens and marks int64 [B, L] -> states float [B, L, d]."""

    def __init__(self, tokens: Tokens, features: Features, length: int, sizes: Sizes, signed: bool) -> None:
        super().__init__()
        width = sizes.width
        self.items = nn.Embedding(len(tokens), width, padding_idx=0)
        self.features = features
        self.positions = nn.ModuleList(nn.Embedding(length, width) for _ in range(2))
        self.marks = nn.Embedding(3, width, padding_idx=0) if signed else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(sizes.dropout)
        self.streams = nn.ModuleList(transformer(sizes) for _ in range(2))
        self.join = nn.Sequential(nn.Linear(2 * width, width), nn.LayerNorm(width), nn.Dropout(sizes.dropout))
        small_embeddings(self.items, *self.positions, self.marks)

    def forward(self, tokens: Tensor, marks: Tensor) -> Tensor:
        outputs = []
        places = torch.arange(tokens.shape[1], device=tokens.device)
        sides = (self.items(tokens), self.features(tokens))
        for x, positions, norm, layers in zip(sides, self.positions, self.norms, self.streams):
            x = x + positions(places)
            if self.marks is not None:
                x = x + self.marks(marks)
            outputs.append(causal(cast(nn.ModuleList, layers), self.dropout(norm(x))))
        return self.join(torch.cat(outputs, dim=-1))


class FDSA(NextItemRecommender):
    """Defaults are as published, but for the width."""

    name = "fdsa"
    sizes = Sizes(layers=1)
    requires = ("embeddings",)

    def build(self) -> TwoStreams:
        assert self.known.embeddings is not None
        features = Features(self.tokens, category_numbers(self.known), self.known.embeddings, self.sizes.width)
        return TwoStreams(self.tokens, features, self.length, self.sizes, self.signed)
