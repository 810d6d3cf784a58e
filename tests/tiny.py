"""A tiny random language model and catalogue, shared by the tests of the engine."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from conrec.lm.policy import Policy
from conrec.lm.vocabulary import Vocabulary

SIZES = (5, 6, 7)
WINDOW = 6
"""Tokens that a sliding-window layer sees: more than an answer has, fewer than a prompt."""


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
    tied = {**shape, "head_dim": 8, "tie_word_embeddings": True, "attn_implementation": attention}
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**tied)).eval()
    if kind == "qwen3_sliding":  # the first layer sees everything, the second WINDOW tokens
        window = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
        return Qwen3ForCausalLM(Qwen3Config(**tied, **window)).eval()
    if kind == "gemma3":
        layers = ["sliding_attention", "full_attention"]
        return Gemma3ForCausalLM(Gemma3TextConfig(**tied, sliding_window=WINDOW, layer_types=layers)).eval()
    untied = {**shape, "tie_word_embeddings": False, "attn_implementation": attention}
    if kind == "mistral":  # every layer sees WINDOW tokens
        return MistralForCausalLM(MistralConfig(**untied, sliding_window=WINDOW)).eval()
    return LlamaForCausalLM(LlamaConfig(**untied)).eval()


def policy(words: Vocabulary, **kinds: str) -> Policy:
    return Policy(language_model(len(words), **kinds), words)
