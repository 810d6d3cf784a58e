"""S3-Rec (Zhou et al., CIKM 2020, arXiv 2008.07873): a Transformer that first learns how items, their attributes,
and segments of a history belong together, and only then what comes next.

Pretraining (both ways, no causal mask; F(.) are states, s(x) a logistic function, W one matrix an objective):

    AAP  an item's attributes from its embedding:          s(e_i^T W a + b_a)
    MIP  a masked item against a sampled one:              s(F_t^T W e_i)
    MAP  the attributes of a masked item from its context: s(F_t^T W a + b_a)
    SP   a masked segment against one of another history:  s(F_last^T W F(segment))

docs/baselines.md says what the attributes are, how it is trained, and how it departs from the paper.
"""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conrec.baselines.base import Settings, TrainingData, category_numbers
from conrec.baselines.sequence_model import NextItemRecommender, negatives
from conrec.features.attention import EventNetwork, causal
from conrec.features.sequences import Batch, Tokens, shuffled
from conrec.features.sizes import Inputs, Sizes
from conrec.progress import track
from conrec.sid.catalog import unit_rows
from conrec.sid.kmeans import nearest, residual_kmeans

CLUSTERS = 64
MASKED = 0.2
"""Share of the events masked in pretraining."""
WEIGHTS = {"AAP": 0.2, "MIP": 1.0, "MAP": 1.0, "SP": 0.5}


def attributes(known: TrainingData, seed: int) -> np.ndarray:
    """float32 [n_items, A]: 1 where an item has the attribute (its category, its cluster of content)."""
    assert known.embeddings is not None
    unit = unit_rows(known.embeddings)
    centres = residual_kmeans(unit, (min(CLUSTERS, len(unit)),), seed)[0]
    clusters = np.eye(len(centres), dtype=np.float32)[nearest(unit, centres)]
    categories = category_numbers(known)
    return np.hstack([np.eye(1 + categories.max(), dtype=np.float32)[categories][:, 1:], clusters])


class Pretrained(EventNetwork):
    """Tokens and marks int64 [B, L] -> states float [B, L, d]; causal unless `both_ways`."""

    def __init__(self, tokens: Tokens, attributes: np.ndarray, length: int, sizes: Sizes, signed: bool) -> None:
        super().__init__(len(tokens) + 1, length, sizes, signed)
        width, self.mask = sizes.width, len(tokens)
        self.attributes = nn.Parameter(torch.empty(attributes.shape[1], width))
        self.maps = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in WEIGHTS})
        rate = attributes[tokens.rows].mean(0).clip(1e-3, 1 - 1e-3)
        self.rates = nn.Parameter(torch.from_numpy(np.log(rate / (1 - rate)).astype(np.float32)))
        truth = np.concatenate([np.zeros((1, attributes.shape[1]), np.float32), attributes[tokens.rows]])
        self.register_buffer("truth", torch.from_numpy(truth), persistent=False)
        self.draw()
        nn.init.normal_(self.attributes, std=width**-0.5)

    def forward(self, tokens: Tensor, marks: Tensor, both_ways: bool = False) -> Tensor:
        x = self.embedded(tokens, marks, self.positions.weight[: tokens.shape[1]])
        x = self.dropout(self.norm(x))
        return self.both_ways(x, tokens) if both_ways else causal(self.layers, x)


class S3Rec(NextItemRecommender):
    """Defaults are the paper's, but for fewer epochs of pretraining."""

    name = "s3rec"
    requires = ("embeddings",)
    quick: ClassVar[Settings] = {"epochs": 1, "pretraining_epochs": 1}

    def __init__(self, inputs: Inputs = "dislikes", *, pretraining_epochs: int = 20, **options: Any) -> None:
        """Options as in `SequenceRecommender`."""
        super().__init__(inputs, **options)
        self.pretraining_epochs = pretraining_epochs

    def build(self) -> Pretrained:
        length = self.length + 1  # pretraining reads whole windows
        table = attributes(self.known, self.seed)
        return Pretrained(self.tokens, table, length, self.sizes, self.signed)

    def pretrain(self, windows: Batch, generator: torch.Generator) -> None:
        """The four objectives together, for a fixed number of epochs."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.sizes.learning_rate, betas=self.betas)
        for _ in track(range(self.pretraining_epochs), f"{self.name}: pretraining"):
            for batch in shuffled(windows, self.cells, generator):
                losses = self.objectives(batch.to(self.device), generator)
                optimizer.zero_grad(set_to_none=True)
                torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum().backward()
                optimizer.step()

    def objectives(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of pretraining by name, each a mean over what it asks."""
        network, real = self.network, batch.tokens != 0
        masked = real & (torch.rand(real.shape, generator=generator).to(real.device) < MASKED)
        chance = torch.rand(real.shape, generator=generator).to(real.device).masked_fill(~real, -1)
        masked |= real & ~masked.any(1, keepdim=True) & (chance == chance.amax(1, keepdim=True))  # one at least
        states = network(batch.tokens.masked_fill(masked, network.mask), batch.marks, both_ways=True)[masked]
        truth = batch.tokens[masked]
        drawn = negatives(batch.tokens[masked.nonzero()[:, 0]], truth, len(self.tokens) - 1, generator)
        asked = network.maps["MIP"](states)
        difference = (asked * (network.items(truth) - network.items(drawn))).sum(-1)
        items = network.items(batch.tokens[real])
        return {
            "AAP": self._attributes("AAP", items, batch.tokens[real]),
            "MIP": F.softplus(-difference).mean(),
            "MAP": self._attributes("MAP", states, truth),
            "SP": self._segments(batch, generator),
        }

    def _attributes(self, name: str, states: Tensor, tokens: Tensor) -> Tensor:
        """float [M, d] -> how badly they tell the attributes of items int64 [M]: summed over attributes."""
        logits = self.network.maps[name](states) @ self.network.attributes.T + self.network.rates
        return F.binary_cross_entropy_with_logits(logits, self.network.truth[tokens], reduction="sum") / len(tokens)

    def _segments(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """A context with a masked segment of up to half its events knows its own segment from that of the next one."""
        network, tokens = self.network, batch.tokens
        lengths = (tokens != 0).sum(1, keepdim=True)
        size = (1 + torch.rand(lengths.shape, generator=generator).to(tokens.device) * (lengths // 2)).long()
        size = size.clamp(max=(lengths - 1).clamp(min=1))
        first = (torch.rand(lengths.shape, generator=generator).to(tokens.device) * (lengths - size + 1)).long()
        places = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (places >= first) & (places < first + size)
        context = network(tokens.masked_fill(inside, network.mask), batch.marks, both_ways=True)
        context = context[torch.arange(len(tokens), device=tokens.device), lengths[:, 0] - 1]
        # The segment alone, moved to the front so that the padding stays at the end.
        at = (first + places).clamp(max=tokens.shape[1] - 1)
        kept = places < size
        segment = network(tokens.gather(1, at) * kept, batch.marks.gather(1, at) * kept, both_ways=True)
        segment = segment[torch.arange(len(tokens), device=tokens.device), size[:, 0] - 1]
        asked = network.maps["SP"](context)
        return F.softplus(-(asked * (segment - segment.roll(1, 0))).sum(-1)).mean()
