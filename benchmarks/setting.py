"""The model, the catalogue and the prompts that the language-model benches share: random, the same for a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.config import LmConfig
from conrec.decode.prompt_dataset import Batch
from conrec.decode.trie import CandidatePool, Trie
from conrec.lm.model import build_policy
from conrec.lm.policy import Constraint, Policy
from conrec.lm.vocabulary import Vocabulary

LEVELS = 3
SMALL = LmConfig(hidden=256, layers=3, heads=4, kv_heads=2, ffn=768, vocabulary=2000, dtype="float32")
"""About three million weights."""
TINY = LmConfig(hidden=32, layers=2, heads=4, kv_heads=2, ffn=48, vocabulary=400, dtype="float32")


class WholeVocabulary(Policy):
    """The policy under the scores of Hugging Face and TRL: log-softmax over the whole vocabulary, then the mask."""

    def level_logprobs(
        self,
        hidden: Tensor,
        level: int,
        nodes: Tensor,
        rows: Tensor,
        constraint: Constraint,
        temperature: float = 1.0,
    ) -> Tensor:
        """Log-probability of each code, [N, H] -> [N, K]; -inf where the constraint forbids it."""
        start, size = self.starts[level], self.sizes[level]
        logprobs = self.head(hidden).log_softmax(-1)[..., start : start + size] / temperature
        return logprobs + constraint.log_prior_of(level, nodes, rows)


@dataclass(frozen=True)
class Setting:
    """Something to ask, and something to ask it about."""

    policy: Policy
    vocabulary: Vocabulary
    codes: np.ndarray
    """int32 [items, 3], all distinct."""
    pool: CandidatePool
    """All items, without a prior."""

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        return sum(p.numel() for p in self.policy.parameters())

    @property
    def whole_vocabulary(self) -> WholeVocabulary:
        """The same model under the scores of Hugging Face and TRL."""
        return WholeVocabulary(self.policy.lm, self.vocabulary, self.policy.compute)

    def prompts(self, count: int, length: int, seed: int = 0) -> Batch:
        """Histories of random items, each of `length` tokens, on the model's device."""
        rng = np.random.default_rng([seed, length])
        rows = rng.integers(0, len(self.codes), (count, -(-length // LEVELS)))
        ids = torch.tensor([self.vocabulary.sid(self.codes[row])[-length:] for row in rows])
        ids = ids.to(self.policy.device)
        return Batch(np.arange(count), ids, torch.ones_like(ids, dtype=torch.bool), ids.new_zeros(count))


def setting(quick: bool, items: int = 10_000, seed: int = 0) -> Setting:
    """The small model and `items` random semantic IDs of 3 x 256; with `quick` a tiny one and 200 of 3 x 16."""
    config, codes_a_level, items = (TINY, 16, min(items, 200)) if quick else (SMALL, 256, items)
    rng = np.random.default_rng(seed)
    sizes = (codes_a_level,) * LEVELS
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(3000)]
    vocabulary = Vocabulary.train([" ".join(rng.choice(words, 8)) for _ in range(1000)], config.vocabulary, sizes)
    codewords = [rng.standard_normal((size, 64)).astype(np.float32) for size in sizes]
    policy = build_policy(config, vocabulary, codewords, seed).eval()
    codes = random_codes(items, sizes, rng)
    return Setting(policy, vocabulary, codes, everything(codes, sizes))


def random_codes(items: int, sizes: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """int32 [items, levels], all distinct."""
    flat = rng.choice(int(np.prod(sizes)), items, replace=False)
    return np.stack(np.unravel_index(flat, sizes), 1).astype(np.int32)


def everything(codes: np.ndarray, sizes: tuple[int, ...], device: torch.device | str = "cpu") -> CandidatePool:
    """All items in the candidate pool, none preferred."""
    return Trie.of(codes, sizes, device).weigh(np.ones((1, len(codes))), prior=False)


def relative_error(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Length of the difference of two gradients over the length of theirs; every parameter must have one in both."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"gradients of other parameters: {sorted(ours.keys() ^ theirs.keys())[:3]}")
    difference = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in theirs)
    return (difference / sum(float(g.double().square().sum()) for g in theirs.values())) ** 0.5


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """Name -> gradient, of every parameter that has one; they are taken off the module."""
    found = {name: p.grad.detach().clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return found
