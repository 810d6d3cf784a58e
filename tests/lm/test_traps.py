"""The silent traps of docs/engine.md, one test each: what goes wrong, and that ours does not.

The trap of an unwrapped model under DDP needs two processes: `tests/train/test_two_processes.py`.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from conrec.config import LmConfig
from conrec.decode.beam import search
from conrec.errors import ConrecError
from conrec.lm.model import build_policy, load_trained_policy, save_policy
from conrec.lm.packing import collate
from conrec.lm.policy import Policy, pad_prompts, prompt_positions
from conrec.lm.prompts import Sample
from conrec.train.sft import answer_logits
from tests import tiny
from tests.lm.test_policy import CODES, PROMPTS, WORDS, answers, grpo_gradients, lora_policy, naive, pool

ROWS = torch.tensor([0, 1, 1])
SLIDING = ("qwen3_sliding", "gemma3", "mistral")
CODEWORDS = [np.random.default_rng(t).normal(size=(s, 8)).astype(np.float32) for t, s in enumerate(tiny.SIZES)]


def shared(policy: Policy) -> torch.Tensor:
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    return policy(ids, mask, answers(), ROWS, pool())


def alone(policy: Policy) -> torch.Tensor:
    return naive(policy, PROMPTS, answers(), ROWS, pool())


def tree_inputs(codes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    """A prompt and its answers in one row: ids, tree positions, who may look at whom, and where answers begin."""
    prompt = PROMPTS[0]
    ids, positions, owner = list(prompt), list(range(len(prompt))), [-1] * len(prompt)
    begins = []
    for g, code in enumerate(codes):
        begins.append(len(ids))
        ids += WORDS.sid(code)
        positions += range(len(prompt), len(prompt) + 3)
        owner += [g] * 3
    who = torch.tensor(owner)
    allowed = ((who[:, None] == who) | (who == -1)) & torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    return torch.tensor([ids]), torch.tensor([positions]), allowed[None], begins


def last_logits(policy: Policy, ids, positions, mask, begins) -> torch.Tensor:
    """Logits behind each answer's second token, [G, V]."""
    output = policy.lm(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False)
    return output.logits[0, [b + 1 for b in begins]]


def plain_last_logits(policy: Policy, codes: np.ndarray) -> torch.Tensor:
    rows = [policy.lm(torch.tensor([PROMPTS[0] + WORDS.sid(c)[:2]]), use_cache=False).logits[0, -1] for c in codes]
    return torch.stack(rows)


@torch.no_grad()
def test_trap_tree_positions_without_a_mask_are_taken_for_packed_samples():
    policy = tiny.policy(WORDS)
    ids, positions, allowed, begins = tree_inputs(CODES[:4])
    right = plain_last_logits(policy, CODES[:4])
    wrong = last_logits(policy, ids, positions, None, begins)
    assert (wrong - right).abs().max() > 0.5
    ours = last_logits(policy, ids, positions, policy.attention_mask(allowed, positions, positions), begins)
    torch.testing.assert_close(ours, right, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_trap_bool_mask_under_eager_attention():
    policy = tiny.policy(WORDS, attention="eager")
    ids, positions, allowed, begins = tree_inputs(CODES[:4])
    right = plain_last_logits(policy, CODES[:4])
    wrong = last_logits(policy, ids, positions, allowed[:, None], begins)
    assert (wrong - right).abs().max() > 0.5
    mask = policy.attention_mask(allowed, positions, positions)
    assert mask.dtype == torch.float32
    torch.testing.assert_close(last_logits(policy, ids, positions, mask, begins), right, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("wrong_way", ["all-ones 2D mask", "use_cache=True"])
def test_trap_packed_rows_leak(wrong_way):
    policy = tiny.policy(WORDS)
    samples = [Sample(WORDS.sid(CODES[n : n + 2]), WORDS.sid(CODES[n + 2])) for n in (0, 5, 9)]
    row = collate(samples, [[0, 1, 2]], WORDS.pad)
    ours, _ = answer_logits(policy, row)
    right = torch.cat([answer_logits(policy, collate(samples, [[n]], WORDS.pad))[0] for n in range(3)])
    mask = torch.ones_like(row.ids) if wrong_way.startswith("all-ones") else None
    body = policy.body(
        input_ids=row.ids, position_ids=row.positions, attention_mask=mask, use_cache=wrong_way == "use_cache=True"
    )
    leaking = policy.head(body.last_hidden_state[row.targets >= 0])
    assert (leaking - right).abs().max() > 0.1
    torch.testing.assert_close(ours, right, atol=1e-5, rtol=1e-5)


def test_trap_prefix_under_gradient_checkpointing(told):
    """Checkpointing throws the cache away: the prefix cannot be used, and the tree is taken instead."""
    policy = lora_policy("prefix", checkpointing=True).train()
    policy.lm.enable_input_require_grads()
    assert policy.checkpointing
    seen = []
    body = policy.body
    policy.body = lambda **inputs: seen.append(inputs.get("cache")) or body(**inputs)
    ours = grpo_gradients(policy, lambda: shared(policy))
    assert seen == [None]
    policy.body = body
    right = grpo_gradients(policy, lambda: alone(policy))
    scale = float(max(g.abs().max() for g in right.values()))
    for name in right:
        torch.testing.assert_close(ours[name], right[name], atol=1e-5 * scale, rtol=1e-4)
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    with pytest.raises((RuntimeError, AttributeError, IndexError, ValueError)):
        policy.prefill(ids, mask).cache.layers[0].keys.sum().backward()
    told.clear()  # transformers warns of it


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trap_bfloat16_old_log_probs_come_from_the_same_path(checkpointing):
    """In bfloat16 the paths may differ; with and without gradient it is the same one, so the first ratio is 1."""
    config = LmConfig(
        hidden=32, layers=2, heads=4, kv_heads=2, ffn=48, dtype="bfloat16", gradient_checkpointing=checkpointing
    )
    policy = build_policy(config, WORDS, CODEWORDS, seed=0)
    assert all(p.dtype == torch.float32 for p in policy.parameters())
    for path in ("tree", "prefix"):
        policy.path = path
        policy.train(checkpointing)
        new = shared(policy)
        with torch.no_grad():
            assert torch.equal(shared(policy), new)
            assert policy._takes_the_prefix() == (path == "prefix" and not checkpointing)
            error = (alone(policy) - new).abs().max()  # the plain forward is not under autocast
        assert 1e-4 < error < 0.1
        assert new.dtype == torch.float32
    shared(policy).sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in policy.parameters() if p.grad is not None)


@torch.no_grad()
@pytest.mark.parametrize("kind", SLIDING)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("path", ["tree", "prefix"])
def test_trap_sliding_window_layers_take_a_mask_as_it_is(kind, attention, path):
    policy = tiny.policy(WORDS, kind=kind, attention=attention)
    policy.path = path
    right = alone(policy)
    torch.testing.assert_close(shared(policy), right, atol=1e-5, rtol=1e-5)
    policy._window = None
    assert (shared(policy) - right).abs().max() > 0.05


@torch.no_grad()
@pytest.mark.parametrize("kind", SLIDING)
def test_trap_sliding_window_layers_in_decoding_and_packing(kind):
    policy = tiny.policy(WORDS, kind=kind)
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    found = search(policy, policy.prefill(ids, mask), ROWS, pool(), beams=40)
    right = naive(policy, PROMPTS, found.codes, ROWS, pool()).sum(-1)
    alive = torch.isfinite(found.scores)
    torch.testing.assert_close(found.scores[alive], right[alive], atol=1e-5, rtol=1e-5)
    samples = [Sample(WORDS.sid(CODES[n : n + 3]), WORDS.sid(CODES[n + 3])) for n in (0, 5, 9)]
    packed, _ = answer_logits(policy, collate(samples, [[0, 1, 2]], WORDS.pad))
    for n, sample in enumerate(samples):
        plain = policy.lm(torch.tensor([sample.prompt + sample.answer])).logits[0, -4:-1]
        torch.testing.assert_close(packed[3 * n : 3 * n + 3], plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_trap_generation_config_of_the_checkpoint_is_never_inherited(monkeypatch):
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    policy = tiny.policy(WORDS)
    before = search(policy, policy.prefill(ids, mask), ROWS, pool(), beams=20)
    for name, value in {"do_sample": True, "top_k": 1, "top_p": 0.01, "temperature": 9.0, "max_length": 1}.items():
        setattr(policy.lm.generation_config, name, value)
    monkeypatch.setattr(policy.lm, "generate", None)
    after = search(policy, policy.prefill(ids, mask), ROWS, pool(), beams=20)
    assert torch.equal(before.codes, after.codes)
    assert torch.equal(before.scores, after.scores)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_trap_lora_alone_never_trains_the_new_tokens(kind, tmp_path):
    """New rows learn, in the head too whether it is tied or not, old rows do not; save, load and merge keep logits."""
    words = tiny.vocabulary(())
    words.tokenizer.save_pretrained(tmp_path / "checkpoint")
    tiny.language_model(len(words), kind).save_pretrained(tmp_path / "checkpoint")
    config = LmConfig(checkpoint=str(tmp_path / "checkpoint"), lora_rank=4)
    policy = build_policy(config, WORDS, CODEWORDS, seed=0)

    def rows(model: torch.nn.Module) -> list[torch.Tensor]:
        """Input and output embeddings as the model uses them."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        width = base.config.hidden_size
        outputs = base.get_output_embeddings()(torch.eye(width)).T
        return [base.get_input_embeddings()(torch.arange(len(WORDS))).detach(), outputs.detach()]

    before = rows(policy.lm)
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (-shared(policy).mean()).backward()
        optimizer.step()
    new = slice(WORDS.starts[0], WORDS.starts[-1] + tiny.SIZES[-1])
    for old, now in zip(before, rows(policy.lm)):
        moved = (old - now).abs().amax(1) > 1e-6
        assert moved[new].float().mean() > 0.5
        assert not moved[: new.start].any()
    save_policy(policy, tmp_path / "saved")
    again = build_policy(config, WORDS, CODEWORDS, seed=0)
    load_trained_policy(again, tmp_path / "saved")
    merged = again.lm.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    with torch.no_grad():
        logits = [
            model(ids, attention_mask=mask.long(), position_ids=prompt_positions(mask)).logits[mask]
            for model in (policy.lm.eval(), merged.eval(), reloaded.eval())
        ]
    torch.testing.assert_close(logits[1], logits[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[2], logits[0], atol=1e-5, rtol=1e-5)
    tied = reloaded.get_input_embeddings().weight is reloaded.get_output_embeddings().weight
    assert tied == (kind == "qwen3")


@torch.no_grad()
def test_a_prompt_pass_without_a_mask_equals_the_masked_one(monkeypatch):
    """What a GPU takes: padding turned to the right, plain causal attention."""
    policy = tiny.policy(WORDS)
    policy.path = "prefix"
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    outcomes = []
    for causal in (False, True):
        if causal:
            monkeypatch.setattr(policy, "prefill", lambda *given: policy._prefill_without_mask(*given, DynamicCache()))
        found = search(policy, policy.prefill(ids, mask), ROWS, pool(), beams=20)
        outcomes.append((found.codes, found.scores, policy(ids, mask, answers(), ROWS, pool())))
    for masked, turned in zip(*outcomes):
        torch.testing.assert_close(turned, masked, atol=1e-5, rtol=1e-5)


def test_layers_that_cannot_share_a_prompt_are_refused():
    lm = tiny.language_model(len(WORDS))
    lm.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ConrecError, match="linear_attention"):
        Policy(lm, WORDS)
