"""Checkpoints from a folder: the same code path as the embedded model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conrec.config import LmConfig
from conrec.decode.trie import Trie
from conrec.errors import ConrecError
from conrec.lm.model import Frozen, build_policy, build_vocabulary, load_trained_policy, save_policy, trained_state
from conrec.lm.policy import pad_prompts
from tests import tiny

CODEWORDS = [np.random.default_rng(t).normal(size=(s, 8)).astype(np.float32) / 2**t for t, s in enumerate(tiny.SIZES)]


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def checkpoint(request, tmp_path_factory):
    """A folder as Hugging Face saves it: a model without any of our tokens, and its tokenizer."""
    folder = tmp_path_factory.mktemp(request.param)
    words = tiny.vocabulary(())
    words.tokenizer.save_pretrained(folder)
    tiny.language_model(len(words), request.param).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_checkpoint_learns_the_new_tokens(checkpoint, rank, tmp_path):
    config = LmConfig(checkpoint=checkpoint, lora_rank=rank)
    words = build_vocabulary(config, ["never used"], tiny.SIZES)
    policy = build_policy(config, words, CODEWORDS, seed=0)
    assert policy.lm.get_input_embeddings().weight.shape[0] == len(words)
    trainable = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in policy.parameters())
    assert (trainable < everything / 2) == (rank > 0)

    from conrec.decode.trie import Trie

    codes = tiny.codes(20)
    pool = Trie.of(codes, tiny.SIZES).weigh(np.ones((1, 20)))
    ids, mask = pad_prompts([words.text("Disliked: ") + words.sid(codes[:2])], words.pad)
    inputs = (ids, mask, torch.as_tensor(codes[None, :4], dtype=torch.int64), torch.tensor([0]), pool)
    optimizer = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    before = policy(*inputs).sum().item()
    for _ in range(10):
        optimizer.zero_grad()
        (-policy(*inputs).sum()).backward()
        optimizer.step()
    assert policy(*inputs).sum().item() > before + 1

    save_policy(policy, tmp_path)
    again = build_policy(config, words, CODEWORDS, seed=0)
    load_trained_policy(again, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(*inputs), policy.eval()(*inputs))


def test_an_item_is_the_sum_of_its_tokens():
    """Embeddings of codes keep the lengths and angles of their codewords, over all levels."""
    config = LmConfig(hidden=64, layers=1, heads=2, kv_heads=1, ffn=64)
    words = tiny.vocabulary()
    policy = build_policy(config, words, CODEWORDS, seed=0)
    rows = policy.lm.get_input_embeddings().weight.detach().numpy()
    text_mean = rows[: words.starts[0]].mean(0)
    tokens = np.concatenate([rows[s : s + n] - text_mean for s, n in zip(words.starts, tiny.SIZES)])
    wanted = np.concatenate(CODEWORDS)
    scale = (tokens * tokens).sum() / (wanted * wanted).sum()
    correlation = np.corrcoef((tokens @ tokens.T).ravel() / scale, (wanted @ wanted.T).ravel())[0, 1]
    assert correlation > 0.97


@pytest.mark.parametrize("rank", [0, 4])
def test_what_is_frozen_answers_as_before_and_leaves_the_policy_alone(rank):
    config = LmConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=64, lora_rank=rank)
    words, codes = tiny.vocabulary(), tiny.codes(3)
    policy = build_policy(config, words, CODEWORDS, seed=0).eval()
    ids, mask = pad_prompts([words.sid(codes[0])], words.pad)
    pool = Trie.of(codes, tiny.SIZES).weigh(np.ones((1, 3)))
    asked = ids, mask, torch.as_tensor(codes[1:], dtype=torch.int64)[None], torch.zeros(1, dtype=torch.int64), pool
    frozen = Frozen(policy)
    before = policy(*asked)
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.5)
    before.sum().backward()
    optimizer.step()
    after = policy(*asked).detach()
    assert not torch.allclose(after, before)
    answer = frozen(*asked)
    assert torch.equal(answer, before)
    assert not answer.requires_grad
    assert torch.equal(policy(*asked), after)


def test_weights_of_another_shape_are_refused(tmp_path):
    words = tiny.vocabulary()
    small = LmConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=64)
    save_policy(build_policy(small, words, CODEWORDS, seed=0), tmp_path)
    other = build_policy(LmConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=64), words, CODEWORDS, seed=0)
    with pytest.raises(ConrecError, match=r"\[lm\]"):
        load_trained_policy(other, tmp_path)
    assert len(trained_state(other)) > 0


def test_a_missing_checkpoint_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConrecError, match=r"lm\.checkpoint = '/nowhere'"):
        build_policy(LmConfig(checkpoint="/nowhere"), tiny.vocabulary(), CODEWORDS, seed=0)


class Opened:
    """What runs code where a pickle is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_no_pickle_is_read(tmp_path):
    words = tiny.vocabulary(())
    words.tokenizer.save_pretrained(tmp_path)
    lm = tiny.language_model(len(words), "llama")
    lm.save_pretrained(tmp_path)
    config = LmConfig(checkpoint=str(tmp_path))
    build_policy(config, build_vocabulary(config, [], tiny.SIZES), CODEWORDS, seed=0)  # as safetensors it is read
    (tmp_path / "model.safetensors").unlink()
    torch.save(lm.state_dict() | {"evil": Opened(str(tmp_path / "run"))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConrecError, match=r"lm\.checkpoint = .*safetensors"):
        build_policy(config, build_vocabulary(config, [], tiny.SIZES), CODEWORDS, seed=0)
    assert not (tmp_path / "run").exists()
    torch.save(lm.state_dict(), tmp_path / "pytorch_model.bin")  # nor a harmless one
    with pytest.raises(ConrecError, match="safetensors"):
        build_policy(config, build_vocabulary(config, [], tiny.SIZES), CODEWORDS, seed=0)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_first_layers_alone(kind, tmp_path):
    words, one = tiny.vocabulary(()), LmConfig(checkpoint=str(tmp_path), first_layers=1)
    words.tokenizer.save_pretrained(tmp_path)
    whole = tiny.language_model(len(words), kind)
    whole.save_pretrained(tmp_path)
    policy = build_policy(one, build_vocabulary(one, [], tiny.SIZES), CODEWORDS, seed=0).eval()
    ids = torch.randint(0, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = whole.model.norm(whole.model(ids, output_hidden_states=True).hidden_states[1])
        torch.testing.assert_close(policy.body(input_ids=ids).last_hidden_state, first)
    with pytest.raises(ConrecError, match=r"it has 2 layers, lm\.first_layers = 3"):
        build_policy(replace(one, first_layers=3), words, CODEWORDS, seed=0)
    with pytest.raises(ValueError, match="first_layers = 2 is of a checkpoint"):
        LmConfig(first_layers=2)
