"""The polarity contrast: the model is asked for the next *disliked* and for the next *liked* item, and compared.

What both answers share (popularity, what is shown, what kind of item the user meets at all) cancels in

    log p(item | history, disliked) - log p(item | history, liked),

and only the reasons to reject remain. As it is, that ratio takes a pass for each candidate. To a sum over the item's
codes c_t of the difference of their logits behind the bare questions, however, it is a dot product,

    contrast(u, i) = <h_u(disliked) - h_u(liked), sum over t of e(c_t)>,

h the hidden state after the question, e the output embeddings of the codes: one pass of a history and two questions
serves all items, and nothing is left to do online but the dot product. This is what is trained here, with the labels
of the backtests (dislike against like). The difference is cut to DIMENSIONS directions in which the codes differ most.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from conrec.config import LmConfig
from conrec.data.instances import Instances, Ragged
from conrec.lm.model import build_policy, load_trained_policy, save_policy
from conrec.lm.policy import Policy, pad_prompts, prompt_positions
from conrec.lm.prompts import Context, HistoryPrompts, Question
from conrec.lm.training import Trainer
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import track

QUESTIONS: tuple[Question, Question] = ("next", "next_liked")
DIMENSIONS = 32
CONTEXT: Context = "full"
BATCH = 32
ITEMS = 48
"""At most so many items of a history are looked at in a step."""


class Polarity(nn.Module):
    """What is trained and what Accelerate wraps: histories in, contrasts of items out."""

    def __init__(self, policy: Policy, prompts: HistoryPrompts) -> None:
        super().__init__()
        self.policy = policy
        self._questions = [prompts.question(question) for question in QUESTIONS]

    def difference(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Histories [B, P], padded on the left -> h(disliked) - h(liked), float32 [B, H].

        Both questions follow the history in the same pass, and neither sees the other.
        """
        lengths = [len(question) for question in self._questions]
        suffix = torch.tensor([token for question in self._questions for token in question], device=ids.device)
        branch = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths)).to(ids.device)
        depth = torch.cat([torch.arange(n) for n in lengths]).to(ids.device)
        prompt, length = ids.shape[1], len(depth)
        causal = torch.ones(prompt, prompt, dtype=torch.bool, device=ids.device).tril()
        inside = ((branch[:, None] == branch) & (depth[:, None] >= depth)).expand(len(ids), length, length)
        above = torch.cat([causal & mask[:, None, :], causal.new_zeros(len(ids), prompt, length)], dim=-1)
        below = torch.cat([mask[:, None, :].expand(-1, length, -1), inside], dim=-1)
        positions = torch.cat([prompt_positions(mask), mask.sum(1, keepdim=True) + depth], dim=1)
        output = self.policy.body(
            input_ids=torch.cat([ids, suffix.expand(len(ids), -1)], dim=1),
            attention_mask=self.policy.attention_mask(torch.cat([above, below], dim=1), positions, positions),
            position_ids=positions,
            use_cache=False,
        )
        hidden = output.last_hidden_state.float()
        return hidden[:, prompt + lengths[0] - 1] - hidden[:, -1]

    def embeddings(self) -> list[Tensor]:
        """e of every code, [K, H] a level."""
        weight = self.policy.lm.get_output_embeddings().weight.float()
        return [weight[start : start + size] for start, size in zip(self.policy.starts, self.policy.sizes)]

    def forward(self, ids: Tensor, mask: Tensor, codes: Tensor) -> Tensor:
        """Histories [B, P] and the codes of items [B, C, T] -> contrasts [B, C]."""
        items = sum(level[codes[:, :, t]] for t, level in enumerate(self.embeddings()))
        return torch.einsum("bh,bch->bc", self.difference(ids, mask), items)


@dataclass
class Contrast:
    """A trained contrast in the form in which it is served."""

    lm: LmConfig
    seed: int
    projection: np.ndarray
    """float32 [H, d]."""
    codes: list[np.ndarray]
    """Per level float32 [K, d]: e of every code in these directions."""
    vocabulary: Vocabulary
    folder: Path
    """Holds the weights; they are loaded when the first user is asked for."""
    _policy: Policy | None = field(default=None, repr=False)

    @property
    def dimensions(self) -> int:
        """d."""
        return int(self.projection.shape[1])

    def item_vectors(self, codes: np.ndarray) -> np.ndarray:
        """float32 [n, d] of items with the semantic IDs `codes` [n, T]."""
        return sum((level[codes[:, t]] for t, level in enumerate(self.codes)), np.zeros((), np.float32))

    @torch.no_grad()
    def user_vectors(self, instances: Instances, codes: np.ndarray, codewords: list[np.ndarray]) -> np.ndarray:
        """float32 [B, d] of the instances' users; codes int [n_items, T] and codewords are the catalogue's."""
        if self._policy is None:
            self._policy = build_policy(self.lm, self.vocabulary, codewords, self.seed).eval()
            load_trained_policy(self._policy, self.folder)
            self._policy = self._policy.to("cuda" if torch.cuda.is_available() else "cpu")
        prompts = _prompts(self.lm, self.vocabulary, codes)
        model = Polarity(self._policy, prompts)
        length = instances.dislikes.lengths + instances.positives.lengths
        order = np.argsort(length, kind="stable")
        vectors = np.zeros((len(instances), self.dimensions), np.float32)
        for start in track(range(0, len(order), BATCH), f"contrast for {len(order):,} users"):
            part = order[start : start + BATCH]
            ids, mask = _histories(prompts, instances, part, self.vocabulary.pad, self._policy.device)
            vectors[part] = model.difference(ids, mask).cpu().numpy() @ self.projection
        return vectors

    def save(self) -> None:
        """Write all but the weights, which are there already, into the folder."""
        self.vocabulary.save(self.folder / "tokenizer")
        (self.folder / "lm.json").write_text(json.dumps({"lm": asdict(self.lm), "seed": self.seed}, indent=1) + "\n")
        arrays = {f"codes_{t}": np.ascontiguousarray(level) for t, level in enumerate(self.codes)}
        save_file(arrays | {"projection": np.ascontiguousarray(self.projection)}, self.folder / "vectors.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Contrast:
        """What `train_contrast` left in the folder."""
        table: dict[str, Any] = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "vectors.safetensors")
        codes = [arrays[f"codes_{t}"] for t in range(len(arrays) - 1)]
        vocabulary = Vocabulary.load(folder / "tokenizer")
        return cls(LmConfig(**table["lm"]), table["seed"], arrays["projection"], codes, vocabulary, folder)


@dataclass(frozen=True)
class Judged:
    """Histories and what became of the items shown after them."""

    instances: Instances
    shown: Ragged
    disliked: Ragged
    """bool, aligned with `shown`; the others were liked."""


def train_contrast(
    policy: Policy,
    vocabulary: Vocabulary,
    lm: LmConfig,
    codes: np.ndarray,
    data: Judged,
    folder: Path,
    *,
    epochs: float,
    learning_rate: float,
    checkpoint_every: int,
    seed: int,
) -> Contrast:
    """Fine-tune `policy` in place on the labels, and write everything into `folder`; continues what died there.

    codes: int [n_items, T]. The loss of a history is the mean over its items of the contrast's logistic loss.
    """
    prompts = _prompts(lm, vocabulary, codes)
    usable = np.flatnonzero(data.shown.lengths)
    size = min(BATCH, len(usable))
    steps = max(1, round(epochs * len(usable) / size))
    if (folder / "weights.safetensors").exists():
        load_trained_policy(policy, folder)
    else:
        trainer = Trainer(
            policy,
            folder,
            steps=steps,
            learning_rate=learning_rate,
            checkpoint_every=checkpoint_every,
            module=Polarity(policy, prompts),
        )
        policy.train()
        for step in track(range(trainer.step, steps), "contrast"):
            rng = np.random.default_rng([seed, step])
            index = rng.choice(usable, size, replace=False)
            lengths = np.minimum(data.shown.lengths[index], ITEMS)
            chosen = [rng.permutation(data.shown.lengths[n])[:ITEMS] for n in index]
            width = int(lengths.max())

            def padded(lists: Ragged, index: np.ndarray = index, chosen: Any = chosen, width: int = width) -> Tensor:
                return torch.as_tensor(np.stack([np.resize(lists[n][c], width) for n, c in zip(index, chosen)]))

            items = torch.as_tensor(codes.astype(np.int64))[padded(data.shown).long()].to(policy.device)
            ids, mask = _histories(prompts, data.instances, index, vocabulary.pad, policy.device)
            wanted = padded(data.disliked).float().to(policy.device)
            losses = F.binary_cross_entropy_with_logits(trainer.module(ids, mask, items), wanted, reduction="none")
            weight = torch.as_tensor((np.arange(width) < lengths[:, None]) / lengths[:, None]).to(losses)
            loss = (losses * weight).sum(1).mean()
            trainer.update(loss)
            trainer.log({"loss": float(loss.detach())})
            trainer.advance()
        trainer.finish()
        save_policy(policy, folder)
    with torch.no_grad():
        levels = [level.cpu().numpy() for level in Polarity(policy, prompts).embeddings()]
    items_of = sum(level[codes[:, t]] for t, level in enumerate(levels))
    directions = np.linalg.svd(items_of - items_of.mean(axis=0), full_matrices=False)[2][:DIMENSIONS].T
    directions = directions.astype(np.float32)
    contrast = Contrast(lm, seed, directions, [level @ directions for level in levels], vocabulary, folder, policy)
    policy.eval()
    contrast.save()
    return contrast


def _prompts(lm: LmConfig, vocabulary: Vocabulary, codes: np.ndarray) -> HistoryPrompts:
    return HistoryPrompts(
        vocabulary, codes, max_dislikes=lm.max_dislikes, max_positives=lm.max_positives, recent_days=0
    )


def _histories(
    prompts: HistoryPrompts, instances: Instances, index: np.ndarray, pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, P] of the histories at `index`, without a question."""
    ids, mask = pad_prompts([prompts.of(instances, int(n), CONTEXT, question=None) for n in index], pad)
    return ids.to(device), mask.to(device)
