"""Self-attention over the events of a sequence: the networks of SASRec, and the layers of others."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from conrec.features.sequences import Batch, Tokens
from conrec.features.sizes import Sizes


def transformer(
    sizes: Sizes, *, inner: int | None = None, activation: str = "gelu", norm_first: bool = False
) -> nn.ModuleList:
    """Layers of self-attention and a feed-forward network of `inner` units (without it four times the width), each with
    a residual and a LayerNorm (before it with `norm_first`, else after it)."""
    shape = (sizes.width, sizes.heads, inner or 4 * sizes.width, sizes.dropout)
    return nn.ModuleList(
        nn.TransformerEncoderLayer(*shape, activation=activation, batch_first=True, norm_first=norm_first)
        for _ in range(sizes.layers)
    )


def causal(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """x float [B, L, d] through layers in which no position sees a later one."""
    mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
    for layer in layers:
        x = layer(x, src_mask=mask)
    return x


class EventNetwork(nn.Module):
    """Embeddings of items, places, and signs of events, and layers of self-attention above them."""

    def __init__(self, items: int, length: int, sizes: Sizes, signed: bool, **layers: Any) -> None:
        """`items`: tokens; `signed`: whether events of both signs are read; `layers`: options of `transformer`."""
        super().__init__()
        self.items = nn.Embedding(items, sizes.width, padding_idx=0)
        self.positions = nn.Embedding(length, sizes.width)
        self.marks = nn.Embedding(3, sizes.width, padding_idx=0) if signed else None
        self.norm = nn.LayerNorm(sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)
        self.layers = transformer(sizes, **layers)

    def embedded(self, tokens: Tensor, marks: Tensor, positions: Tensor) -> Tensor:
        """Sum of the embeddings, float [B, L, d], of tokens and marks int64 [B, L] and positions float [..., L, d]."""
        x = self.items(tokens) + positions
        return x if self.marks is None else x + self.marks(marks)

    def both_ways(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x float [B, L, d] through layers in which every position sees all but the padding."""
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=tokens == 0)
        return x

    def draw(self) -> None:
        """Small first embeddings; called when all parameters are there."""
        small_embeddings(self.items, self.positions, self.marks)


def next_item_logits(network: Any, batch: Batch, targets: int) -> Tensor:
    """float [B, T]: the state after the last event (padding, if there is none) times the targets' embeddings."""
    states = network(batch.tokens, batch.marks)
    last = ((batch.tokens != 0).sum(1) - 1).clamp(min=0)
    return states[torch.arange(len(states), device=states.device), last] @ network.items.weight[1 : targets + 1].T


def small_embeddings(*tables: nn.Embedding | None, std: float = 0.02) -> None:
    """Draw the weights of the tables that are there anew."""
    for table in tables:
        if table is not None:
            nn.init.normal_(table.weight, std=std)


class SelfAttention(EventNetwork):
    """Tokens int64 [B, L] and marks int64 [B, L] -> states float [B, L, d] of a causal Transformer."""

    def __init__(self, tokens: Tokens, length: int, sizes: Sizes, signed: bool) -> None:
        super().__init__(len(tokens), length, sizes, signed, inner=sizes.width, activation="relu", norm_first=True)
        self.draw()

    def forward(self, tokens: Tensor, marks: Tensor) -> Tensor:
        x = self.embedded(tokens, marks, self.positions.weight[: tokens.shape[1]])
        return self.norm(causal(self.layers, self.dropout(x)))
