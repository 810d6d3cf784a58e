"""Decoder-only families: ours are the plain model's logits, and who cannot be asked is refused before a run begins."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

from conrec.config import LmConfig, PredictConfig, Recipe
from conrec.decode.beam import search
from conrec.decode.trie import Trie
from conrec.errors import ConrecError
from conrec.lm.model import (
    build_policy,
    build_vocabulary,
    check_checkpoint,
    load_trained_policy,
    save_policy,
    trained_state,
)
from conrec.lm.policy import pad_prompts
from conrec.run import run_stages, stages_of
from tests import tiny

CODEWORDS = [np.random.default_rng(t).normal(size=(s, 8)).astype(np.float32) / 2**t for t, s in enumerate(tiny.SIZES)]
CODES = tiny.codes(20)
PADDING = 40
"""Rows of the checkpoints beyond their tokenizer's: enough for our tokens."""
LARGE = {"initializer_range": 0.3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
FAMILIES: dict[str, dict] = {
    "gpt2": {"n_head": 4},
    "gpt_neox": {"num_attention_heads": 4, "tie_word_embeddings": False},
    "llama": HEADS | {"tie_word_embeddings": False},
    "smollm2": HEADS | {"tie_word_embeddings": True},
    "qwen2": HEADS | {"tie_word_embeddings": True},
    "qwen3": HEADS | {"tie_word_embeddings": False},
    "gemma2": HEADS | {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 5.0, "sliding_window": 6},
    "gemma3_text": HEADS | {"final_logit_softcapping": 5.0, "sliding_window": 6},
    "granite": HEADS | {"logits_scaling": 8.0, "embedding_multiplier": 2.0, "tie_word_embeddings": True},
    "phi": {"num_attention_heads": 4, "tie_word_embeddings": False},
    "falcon": {"num_attention_heads": 4, "alibi": False, "tie_word_embeddings": True},
    "olmo": HEADS | {"clip_qkv": 0.5, "tie_word_embeddings": False},
    "cohere": HEADS | {"logit_scale": 0.0625, "tie_word_embeddings": True},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer as a checkpoint keeps it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.vocabulary(()).tokenizer.save_pretrained(folder)
    return folder


def checkpoint(folder: Path, tokenizer: Path, family: str, **options: object) -> LmConfig:
    """A random checkpoint of two layers with `PADDING` rows more than its tokenizer has."""
    words = hf.AutoTokenizer.from_pretrained(tokenizer)
    words.save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": len(words) + PADDING}
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))  # a family's own are beyond these words
    config = hf.AutoConfig.for_model({"smollm2": "llama"}.get(family, family), **shape | LARGE | special | options)
    torch.manual_seed(0)
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return LmConfig(checkpoint=str(folder))


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_the_plain_models(family: str, rank: int, tokenizer: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(checkpoint(tmp_path, tokenizer, family, **FAMILIES[family]), lora_rank=rank)
    if not rank:
        check_checkpoint(config)
    words = build_vocabulary(config, [], tiny.SIZES)
    policy = build_policy(config, words, CODEWORDS, seed=0)
    rows_of_model = len(hf.AutoTokenizer.from_pretrained(tokenizer)) + PADDING
    assert len(policy.lm.get_input_embeddings().weight) == rows_of_model  # a padded vocabulary is never shrunk
    prompts = [words.text("Disliked: ") + words.sid(CODES[:4]), words.sid(CODES[7:9]), words.text("hm")]
    ids, mask = pad_prompts(prompts, words.pad)
    pool, rows = Trie.of(CODES, tiny.SIZES).weigh(np.ones((1, 20))), torch.zeros(3, dtype=torch.int64)
    codes = torch.as_tensor(CODES[None, :5].repeat(3, 0), dtype=torch.int64)

    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    before = policy(ids, mask, codes, rows, pool).sum()
    for _ in range(3):
        optimizer.zero_grad()
        (-policy(ids, mask, codes, rows, pool).sum()).backward()
        optimizer.step()
    policy.eval()
    with torch.no_grad():
        assert policy(ids, mask, codes, rows, pool).sum() > before
        for policy.path in ("tree", "prefix"):
            first, rest = policy.hidden_of_answers(ids, mask, codes)
            for b, prompt in enumerate(prompts):
                for g in range(5):
                    whole = torch.tensor([prompt + words.sid(CODES[g])])
                    plain = policy.lm(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 : -1]
                    ours = [policy.head(first[b]), *policy.head(rest[b, g])]
                    torch.testing.assert_close(torch.stack(ours), plain, atol=1e-5 * max(1, plain.abs().max()), rtol=0)
                    level = policy.level_logits(rest[b, g, 0], 1)
                    start = words.starts[1]
                    torch.testing.assert_close(level, ours[1][start : start + tiny.SIZES[1]], atol=1e-4, rtol=0)
        # A beam as wide as the catalogue finds all of it, each item as likely as it is by itself.
        found = search(policy, policy.prefill(ids, mask), rows, pool, beams=40)
        every = policy(ids, mask, torch.as_tensor(CODES[None].repeat(3, 0), dtype=torch.int64), rows, pool).sum(-1)
        torch.testing.assert_close(found.scores[:, :20], every.sort(1, descending=True).values, atol=1e-3, rtol=0)

        save_policy(policy, tmp_path / "trained")
        again = build_policy(config, words, CODEWORDS, seed=0).eval()
        load_trained_policy(again, tmp_path / "trained")
        assert all(torch.equal(one, trained_state(again)[name]) for name, one in trained_state(policy).items())
        again.path = policy.path
        assert torch.equal(again(ids, mask, codes, rows, pool), policy(ids, mask, codes, rows, pool))


@pytest.mark.parametrize(
    ("family", "options"),
    [("bloom", {"n_head": 4}), ("falcon", {"num_attention_heads": 4, "alibi": True}), ("mamba", {"state_size": 4})],
)
def test_who_cannot_be_asked_is_refused_before_anything_is_paid(
    family: str, options: dict, tokenizer: Path, tmp_path: Path
) -> None:
    config = checkpoint(tmp_path / "model", tokenizer, family, **options)
    recipe = Recipe(lm=config, predict=PredictConfig(temperatures=(1.0,)))
    with pytest.raises(ConrecError, match=r"cannot (be asked behind a shared|share a) prompt") as caught:
        run_stages(stages_of(recipe), recipe, tmp_path / "run", begin=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_gguf_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for named in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(ConrecError, match="GGUF cannot be trained; name the checkpoint that it was made from"):
            check_checkpoint(LmConfig(checkpoint=str(named)))


def test_a_gap_in_the_ids_is_no_room_for_ours(tokenizer: Path, tmp_path: Path) -> None:
    """Neither the id of a text token nor that of a special one is given to a semantic ID, and all have a row."""
    config = checkpoint(tmp_path, tokenizer, "llama", **HEADS)
    path = tmp_path / "tokenizer.json"
    saved = json.loads(path.read_text())
    last = max(saved["model"]["vocab"], key=saved["model"]["vocab"].get)
    saved["model"]["vocab"][last] = taken = len(saved["model"]["vocab"]) + 5
    path.write_text(json.dumps(saved))
    words = build_vocabulary(config, [], tiny.SIZES)
    assert words.starts[0] > taken
    assert len(words) == words.starts[-1] + tiny.SIZES[-1]
    assert build_policy(config, words, CODEWORDS, seed=0).lm.get_input_embeddings().num_embeddings >= len(words)
