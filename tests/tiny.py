"""A tiny random language model and catalogue, shared by the tests of the engine."""

from __future__ import annotations

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from conrec.lm.policy import Policy
from conrec.lm.vocabulary import Vocabulary

SIZES = (5, 6, 7)


def vocabulary(sizes: tuple[int, ...] = SIZES) -> Vocabulary:
    return Vocabulary.train(["red boots with a bulky sole", "wired headphones <a_1>", "free shipping!!"], 300, sizes)


def codes(n: int, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """n distinct random semantic IDs, int32 [n, T]."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(int(np.prod(sizes)), n, replace=False)
    return np.stack(np.unravel_index(flat, sizes), 1).astype(np.int32)


def language_model(words: int, kind: str = "qwen3", attention: str = "sdpa", seed: int = 0) -> torch.nn.Module:
    shape = {
        "vocab_size": words,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
    }
    torch.manual_seed(seed)
    if kind == "qwen3":
        config = Qwen3Config(**shape, head_dim=8, tie_word_embeddings=True, attn_implementation=attention)
        return Qwen3ForCausalLM(config).eval()
    config = LlamaConfig(**shape, tie_word_embeddings=False, attn_implementation=attention)
    return LlamaForCausalLM(config).eval()


def policy(words: Vocabulary, **kinds: str) -> Policy:
    return Policy(language_model(len(words), **kinds), words)
