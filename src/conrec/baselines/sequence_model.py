"""Neural models of sequences: one way of training, of stopping, and of turning answers into scores (docs/baselines.md).

The items that were disliked in training are a model's targets. All others are cold to it and get the mean of its
scores: it says nothing for or against them. With the item prior it is better used as a lift (`baselines.lift`).

Shapes: B sequences, L events, T targets, M predictions of a batch, d features.
"""

from abc import abstractmethod
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import logsumexp
from torch import Tensor, nn

from conrec.baselines.base import SUFFIX, Recommender, Settings, TrainingData
from conrec.data.instances import Instances
from conrec.evaluate.metrics import future_hit_rate, hit_rate
from conrec.features.attention import next_item_logits
from conrec.features.sequences import PREDICTED, Batch, Tokens, UserEvents, histories, shuffled, training_windows
from conrec.features.sizes import Inputs, Sizes
from conrec.progress import say

Loss = Literal["binary", "softmax"]
K = 20
"""Length of the lists on which early stopping looks."""
EPOCH = 20_000
"""Windows that an epoch shows at most, if it shows any twice: early stopping would look too seldom."""


class SequenceRecommender(Recommender):
    """A neural model of sequences; subclasses say what network, what loss, and what it answers for a history.

    Trained with Adam. After each epoch the lists for the validation instances (`TrainingData.validation`) are measured
    by the mean of HR@20 and FHR@20, and the weights of the best epoch are kept. Without validation instances all
    epochs are used. The same seed on the same machine gives the same weights.
    """

    sizes = Sizes()
    quick: ClassVar[Settings] = {"epochs": 1}
    patience = 10
    """Epochs without a new best before training ends."""
    cells = 1024
    """Places of a training batch (see `shuffled`)."""
    repeats = 1
    """Times that an epoch shows each window; fewer where that would be more than `EPOCH` windows."""
    weight_decay = 0.0
    betas = (0.9, 0.98)
    network: Any
    lift = False
    """Scores are log p(i | history) - log q(i): p a softmax over the targets, q their shares of what training asked."""

    def __init__(
        self, inputs: Inputs = "dislikes", *, loss: Loss = "binary", length: int = 50, seed: int = 0, **sizes: Any
    ) -> None:
        """`length`: events of a history that are read; `sizes`: fields of `Sizes` other than the class's own."""
        self.name += SUFFIX[inputs]
        self.inputs, self.loss_name, self.length, self.seed = inputs, loss, length, seed
        self.signed, self.sizes = inputs == "dislikes+likes", replace(self.sizes, **sizes)

    @property
    def form(self) -> str:
        """`sasrec`, or `sasrec_lift`."""
        return f"{self.name}_lift" if self.lift else self.name

    @abstractmethod
    def build(self) -> nn.Module:
        """A network for `self.tokens`, freshly drawn from torch's generator (seeded by the caller)."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Training loss of some windows."""

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """float [B, T]: a score for each target, for histories without anything wanted."""

    def pretrain(self, windows: Batch, generator: torch.Generator) -> None:
        """Training before that on the next item; most models have none."""

    def fit(self, known: TrainingData) -> None:
        """Train; ValueError where no user has two dislikes."""
        super().fit(known)
        events, self.users = UserEvents.of_log(known.events, self.inputs)
        self.tokens = Tokens.of(events, len(known.items))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        windows = training_windows(events, self.tokens, self.length)
        counts = np.bincount(self.tokens.of_row[events.rows[events.marks == PREDICTED]], minlength=len(self.tokens))
        self.log_popularity = np.log(counts[1 : self.tokens.targets + 1] / counts.sum())
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network = self.build().to(self.device)
            generator = torch.Generator().manual_seed(self.seed)
            self.pretrain(windows, generator)
            self._train(windows, generator)
        self.network.eval()

    def _train(self, windows: Batch, generator: torch.Generator) -> None:
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.sizes.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )
        validation = self.known.validation
        if validation is not None:
            validation = validation.take(validation.n_dislikes > 0)
        rounds = max(1, min(self.repeats, EPOCH // len(windows)))
        best, chosen, self.epoch = -1.0, None, 0
        for epoch in range(1, int(self.sizes.epochs) + 1):
            self.network.train()
            losses = []
            for batch in chain.from_iterable(shuffled(windows, self.cells, generator) for _ in range(rounds)):
                optimizer.zero_grad(set_to_none=True)
                loss = self.loss(batch.to(self.device), generator)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            self.network.eval()
            if validation is None or not len(validation):
                self.epoch = epoch
                continue
            value = self.validate(validation)
            if value > best:
                best, self.epoch = value, epoch
                chosen = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
            if epoch % 10 == 0:
                mean = float(torch.stack(losses).mean())
                say(f"{self.name}: epoch {epoch}, loss {mean:.3f}, validation {value:.4f}, best {best:.4f}")
            if epoch - self.epoch >= self.patience:
                break
        if chosen is not None:
            self.network.load_state_dict(chosen)

    def validate(self, validation: Instances) -> float:
        """Mean of HR@20 and FHR@20."""
        lists = self.recommend(validation, K)
        both = hit_rate(lists, validation), future_hit_rate(lists, validation)
        return float(np.mean([value[mask].mean() for mask, value in both]))

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]; items not met in training get the mean of the others, as a lift 0."""
        events = UserEvents.of_instances(instances, self.inputs)
        place = np.searchsorted(self.users, instances.users)
        known = self.users[np.minimum(place, len(self.users) - 1)] == instances.users
        owners = np.where(known, place, len(self.users))
        batch = histories(events, len(instances), self.tokens, self.length, owners)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(instances), 512):
                index = torch.arange(start, min(start + 512, len(instances)))
                parts.append(self.logits(batch.take(index).to(self.device)).float().cpu().numpy())
        logits = np.concatenate(parts)
        cold = logits.mean(axis=1, keepdims=True)
        if self.lift:
            logits, cold = logits - logsumexp(logits, axis=1, keepdims=True) - self.log_popularity, np.zeros_like(cold)
        result = np.repeat(cold, len(self.known.items), axis=1)
        result[:, self.tokens.rows[: self.tokens.targets]] = logits
        return result


class NextItemRecommender(SequenceRecommender):
    """A causal model of sequences, trained to predict the next item.

    Its network turns tokens and marks int64 [B, L] into states float [B, L, d], each of the events up to it.
    """

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """See `next_item_loss`."""
        states = self.network(batch.tokens[:, :-1], batch.marks[:, :-1])
        asked = batch.wanted[:, 1:]
        wanted, own = batch.tokens[:, 1:][asked], batch.tokens[asked.nonzero()[:, 0]]
        embeddings = self.network.items.weight[: self.tokens.targets + 1]
        return next_item_loss(self.loss_name, states[asked], embeddings, wanted, own, generator)

    def logits(self, batch: Batch) -> Tensor:
        """See `next_item_logits`."""
        return next_item_logits(self.network, batch, self.tokens.targets)


def negatives(own: Tensor, wanted: Tensor, targets: int, generator: torch.Generator) -> Tensor:
    """One target for each wanted token [M], drawn evenly from those that are not in its sequence `own` [M, L].

    After ten draws that all hit the user's own items the last one stays: there are hardly others.
    """
    drawn = torch.randint(1, targets + 1, wanted.shape, generator=generator).to(wanted.device)
    for _ in range(10):
        clash = (drawn[:, None] == own).any(1) | (drawn == wanted)
        again = torch.randint(1, targets + 1, wanted.shape, generator=generator).to(wanted.device)
        drawn = torch.where(clash, again, drawn)
    return drawn


def next_item_loss(
    loss: Loss, states: Tensor, embeddings: Tensor, wanted: Tensor, own: Tensor, generator: torch.Generator
) -> Tensor:
    """Loss of states float [M, d] after which `wanted` int64 [M] came, in sequences `own` int64 [M, L]; mean over M.

    `binary`: -log sigmoid(s . e_wanted) - log(1 - sigmoid(s . e_drawn)) with one drawn target each;
    `softmax`: cross-entropy over all targets. embeddings float [1 + T, d].
    """
    if loss == "softmax":
        return F.cross_entropy(states @ embeddings[1:].T, wanted - 1)
    drawn = negatives(own, wanted, len(embeddings) - 1, generator)
    positive = (states * embeddings[wanted]).sum(-1)
    negative = (states * embeddings[drawn]).sum(-1)
    return (F.softplus(-positive) + F.softplus(negative)).mean()
