"""One pass for many answers equals one pass for each answer, in values and in gradients."""

import copy

import numpy as np
import pytest
import torch

from conrec.config import LmConfig
from conrec.decode.trie import Trie
from conrec.lm.model import build_policy, load_trained_policy, save_policy
from conrec.lm.policy import Policy, pad_prompts
from conrec.train.grpo import advantages, grpo_loss
from tests import tiny

WORDS = tiny.vocabulary()
CODES = tiny.codes(40)
PROMPTS = [WORDS.text("Disliked: ") + WORDS.sid(CODES[:4]), WORDS.sid(CODES[7:9]), WORDS.text("hm")]


def pool():
    return Trie.of(CODES, tiny.SIZES).weigh(np.random.default_rng(0).random((2, 40)) + 0.1)


def answers(group: int = 4) -> torch.Tensor:
    rng = np.random.default_rng(3)
    return torch.as_tensor(CODES[rng.integers(0, 40, (len(PROMPTS), group))], dtype=torch.int64)


def naive(policy: Policy, prompts, codes, rows, constraint):
    """One answer at a time, no padding, no sharing, plain forward of the whole model."""
    out = torch.zeros(codes.shape)
    pieces = []
    for b, prompt in enumerate(prompts):
        for g in range(codes.shape[1]):
            tokens = prompt + WORDS.sid(codes[b, g].numpy())
            output = policy.lm(torch.tensor([tokens]), use_cache=False).logits[0].float()
            node = torch.zeros(1, dtype=torch.int64)
            for t in range(3):
                logits = output[len(prompt) - 1 + t]
                start = WORDS.starts[t]
                prior = constraint.log_prior_of(t, node, rows[b : b + 1])[0]
                scores = (logits[start : start + tiny.SIZES[t]] + prior).log_softmax(-1)
                pieces.append(scores[codes[b, g, t]])
                node = constraint.child(t, node, codes[b, g, t : t + 1])
    return torch.stack(pieces).view(out.shape)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("path", ["tree", "prefix"])
def test_shared_prompt_equals_repeated_prompt(kind, attention, path):
    policy = tiny.policy(WORDS, kind=kind, attention=attention)
    policy.path = path
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    rows = torch.tensor([0, 1, 1])
    constraint = pool()
    shared = policy(ids, mask, answers(), rows, constraint)
    alone = naive(policy, PROMPTS, answers(), rows, constraint)
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=1e-5)


def grpo_gradients(policy, logprobs_of) -> dict[str, torch.Tensor]:
    """Gradients of a GRPO loss in which clip and KL are both active."""
    generator = torch.Generator().manual_seed(0)
    new = logprobs_of()
    noise = 0.4 * torch.randn(new.shape, generator=generator)
    old, reference = new.detach() + noise, new.detach() - 0.5 * noise
    advantage, useful = advantages(torch.randn(new.shape[:2], generator=generator))
    loss = grpo_loss(new, old, reference, advantage, useful, epsilon=0.2, beta=0.1)
    assert loss.clip_share > 0
    assert loss.kl > 0
    policy.zero_grad()
    loss.value.backward()
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}


def lora_policy(path: str, checkpointing: bool = False, attention: str = "sdpa") -> Policy:
    config = LmConfig(
        hidden=32, layers=2, heads=4, kv_heads=2, ffn=48, lora_rank=4, gradient_checkpointing=checkpointing
    )
    rng = np.random.default_rng(0)
    policy = build_policy(config, WORDS, [rng.normal(size=(s, 8)).astype(np.float32) for s in tiny.SIZES], seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.2, generator=generator)
    policy.lm.get_base_model().set_attn_implementation(attention)
    policy.path = path
    return policy.eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("path", ["tree", "prefix"])
@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen3_sliding", "lora"])
def test_gradients_equal_the_naive_loop(path, kind, attention):
    """Clip and KL active, prompts of different length (padded on the left)."""
    lora = kind == "lora"
    policy = lora_policy(path, attention=attention) if lora else tiny.policy(WORDS, kind=kind, attention=attention)
    policy.path = path
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    rows = torch.tensor([0, 1, 1])
    constraint = pool()
    shared = grpo_gradients(policy, lambda: policy(ids, mask, answers(), rows, constraint))
    alone = grpo_gradients(policy, lambda: naive(policy, PROMPTS, answers(), rows, constraint))
    assert shared.keys() == alone.keys()
    scale = max(g.abs().max() for g in alone.values())
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], atol=1e-5 * float(scale), rtol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_gradient_checkpointing_changes_nothing(attention):
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    rows, constraint = torch.tensor([0, 1, 1]), pool()
    gradients = []
    for checkpointing in (False, True):
        policy = lora_policy("auto", checkpointing, attention)
        policy.train()
        policy.lm.enable_input_require_grads()
        recomputed = []
        hook = policy._causal.model.layers[0].self_attn.register_forward_pre_hook(
            lambda *_, seen=recomputed: seen.append(1)
        )
        gradients.append(grpo_gradients(policy, lambda p=policy: p(ids, mask, answers(), rows, constraint)))
        hook.remove()
        assert len(recomputed) == 1 + checkpointing
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], atol=1e-6, rtol=1e-5)


def test_padding_on_the_left_changes_nothing():
    policy = tiny.policy(WORDS)
    rows, constraint = torch.tensor([1]), pool()
    ids, mask = pad_prompts(PROMPTS[:1], WORDS.pad)
    wide_ids = torch.cat([torch.full((1, 9), WORDS.pad), ids], 1)
    wide_mask = torch.cat([torch.zeros(1, 9, dtype=torch.bool), mask], 1)
    plain = policy(ids, mask, answers()[:1], rows, constraint)
    torch.testing.assert_close(
        policy(wide_ids, wide_mask, answers()[:1], rows, constraint), plain, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("rank", [0, 4])
def test_saved_and_loaded_weights_give_equal_logits(tmp_path, rank):
    config = LmConfig(hidden=32, layers=2, heads=4, kv_heads=2, ffn=48, lora_rank=rank)
    words = [np.random.default_rng(0).normal(size=(s, 8)).astype(np.float32) for s in tiny.SIZES]
    policy = build_policy(config, WORDS, words, seed=3)
    untouched = copy.deepcopy(policy)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))
    save_policy(policy, tmp_path)
    again = build_policy(config, WORDS, words, seed=3)
    load_trained_policy(again, tmp_path)
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    inputs = (ids, mask, answers(), torch.tensor([0, 1, 1]), pool())
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(*inputs), policy.eval()(*inputs))
        assert not torch.allclose(untouched.eval()(*inputs), policy(*inputs))


def test_lora_trains_the_new_token_rows_and_merging_keeps_the_logits():
    policy = lora_policy("tree")
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    inputs = (ids, mask, answers(), torch.tensor([0, 1, 1]), pool())
    before = {n: p.detach().clone() for n, p in policy.named_parameters() if p.requires_grad}
    assert any("token" in n for n in before)
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.5)
    (-policy(*inputs).sum()).backward()
    optimizer.step()
    moved = {n for n, p in policy.named_parameters() if p.requires_grad and not torch.equal(p, before[n])}
    assert any("token" in n for n in moved)
    with torch.no_grad():
        trained = policy(*inputs)
        merged = Policy(policy.lm.merge_and_unload(), WORDS).eval()
        torch.testing.assert_close(merged(*inputs), trained, atol=1e-4, rtol=1e-4)
