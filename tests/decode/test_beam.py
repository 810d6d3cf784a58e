"""Beam search against scoring every item, and against Hugging Face's generate."""

import numpy as np
import pytest
import torch

from benchmarks.setting import WholeVocabulary
from conrec.decode.beam import best_items, heaviest_items, search
from conrec.decode.trie import Trie
from conrec.lm.policy import pad_prompts
from tests import tiny
from tests.lm.test_policy import naive

WORDS = tiny.vocabulary()
PROMPTS = [WORDS.text("Disliked: ") + WORDS.sid(tiny.codes(3, 5)), WORDS.text("x"), WORDS.sid(tiny.codes(9, 2))]


def find(policy, ids, mask, rows, pool, **options):
    with torch.no_grad():
        return search(policy, policy.prefill(ids, mask), rows, pool, **options)


@pytest.fixture(scope="module")
def setting():
    codes = tiny.codes(60)
    weights = np.random.default_rng(1).random((2, 60)) * (np.random.default_rng(2).random((2, 60)) < 0.7)
    pool = Trie.of(codes, tiny.SIZES).weigh(weights)
    ids, mask = pad_prompts(PROMPTS, WORDS.pad)
    return codes, weights, pool, ids, mask, torch.tensor([0, 1, 1])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_enough_beams_equal_scoring_every_item(setting, temperature):
    codes, weights, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS)
    found = find(policy, ids, mask, rows, pool, beams=250, temperature=temperature)
    items, scores = best_items(found, pool, rows, [np.zeros(0, int)] * 3, 20)
    everything = torch.as_tensor(codes, dtype=torch.int64).expand(3, -1, -1)
    with torch.no_grad():
        plain = policy(ids, mask, everything, rows, pool, temperature).sum(-1)
        plain = plain.nan_to_num(-torch.inf).numpy()
    for n in range(3):
        plain[n, weights[rows[n]] == 0] = -np.inf
        order = np.argsort(-plain[n], kind="stable")[:20]
        assert items[n].tolist() == order.tolist()
        np.testing.assert_allclose(scores[n], plain[n, order], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_returned_scores_equal_plain_forwards(setting, kind):
    """Of a search with few beams: no shared prompt, no padding, no cache on the other side."""
    _, _, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS, kind=kind)
    found = find(policy, ids, mask, rows, pool, beams=12)
    plain = naive(policy, PROMPTS, found.codes, rows, pool).sum(-1)
    assert torch.isfinite(found.scores).all()
    torch.testing.assert_close(found.scores, plain, atol=1e-5, rtol=1e-5)


def test_trie_scores_are_a_distribution_and_equal_logits_give_the_prior(setting):
    _, weights, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS)
    found = find(policy, ids, mask, rows, pool, beams=250)
    np.testing.assert_allclose(found.scores.exp().sum(1), 1.0, atol=1e-5)
    for parameter in policy.parameters():
        parameter.data.zero_()
    found = find(policy, ids, mask, rows, pool, beams=250)
    items, scores = best_items(found, pool, rows, [np.zeros(0, int)] * 3, 60)
    for n in range(3):
        prior = weights[rows[n]] / weights[rows[n]].sum()
        valid = items[n] >= 0
        np.testing.assert_allclose(np.exp(scores[n][valid]), prior[items[n][valid]], atol=1e-5)


def test_a_high_temperature_leaves_the_prior_and_a_low_one_the_policy(setting):
    _, weights, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS)
    found = find(policy, ids, mask, rows, pool, beams=250, temperature=1e6)
    items, scores = best_items(found, pool, rows, [np.zeros(0, int)] * 3, 60)
    for n in range(3):
        valid = items[n] >= 0
        prior = weights[rows[n]] / weights[rows[n]].sum()
        np.testing.assert_allclose(np.exp(scores[n][valid]), prior[items[n][valid]], atol=1e-4)
    cold = find(policy, ids, mask, rows, pool, beams=250, temperature=0.01)
    assert (cold.scores[:, 0].exp() > found.scores[:, 0].exp()).all()


def test_without_a_policy_items_come_by_weight(setting):
    """As a search that is wide enough finds them under equal logits; what is banned or has no weight never comes."""
    _, weights, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS)
    for parameter in policy.parameters():
        parameter.data.zero_()
    banned = [np.array([3, 7]), np.zeros(0, int), np.flatnonzero(weights[1] > 0)[3:]]
    found = find(policy, ids, mask, rows, pool, beams=250)
    wanted, _ = best_items(found, pool, rows, banned, 20)
    items, scores = heaviest_items(pool, rows, banned, 20)
    np.testing.assert_array_equal(items, wanted)
    assert (items[2] >= 0).sum() == 3
    share = weights[rows[0]] / weights[rows[0]].sum()
    np.testing.assert_allclose(np.exp(scores[0]), share[items[0]], rtol=1e-5)
    assert np.isneginf(scores[2][3:]).all()


def test_the_same_items_as_hugging_face_generate(setting):
    codes, _, _, _, _, _ = setting
    policy = WholeVocabulary(tiny.language_model(len(WORDS)), WORDS)
    pool = Trie.of(codes, tiny.SIZES).weigh(np.ones((1, 60)), prior=False)
    starts = np.asarray(WORDS.starts)
    allowed: dict[tuple[int, ...], set[int]] = {}
    for row in codes:
        tokens = (row + starts).tolist()
        for t in range(3):
            allowed.setdefault(tuple(tokens[:t]), set()).add(tokens[t])
    for prompt in PROMPTS:
        ids, mask = pad_prompts([prompt], WORDS.pad)
        length = len(prompt)
        output = policy.lm.generate(
            ids,
            attention_mask=mask.long(),
            max_new_tokens=3,
            min_new_tokens=3,
            num_beams=20,
            num_return_sequences=20,
            do_sample=False,
            length_penalty=0.0,
            eos_token_id=None,
            prefix_allowed_tokens_fn=lambda _, s, p=length: list(allowed[tuple(s[p:].tolist())]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        ours = find(policy, ids, mask, torch.zeros(1, dtype=torch.int64), pool, beams=20)
        theirs = output.sequences[:, length:] - torch.tensor(WORDS.starts)
        assert ours.codes[0].tolist() == theirs.tolist()
        np.testing.assert_allclose(ours.scores[0], output.sequences_scores, atol=2e-5)


def test_fewer_items_than_beams_and_seen_items():
    codes = tiny.codes(6)
    pool = Trie.of(codes, tiny.SIZES).weigh(np.array([[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]]))
    ids, mask = pad_prompts(PROMPTS[:1], WORDS.pad)
    row = torch.zeros(1, dtype=torch.int64)
    found = find(tiny.policy(WORDS), ids, mask, row, pool, beams=50)
    items, scores = best_items(found, pool, row, [np.array([0, 4])], 20)
    assert sorted(items[0][:3].tolist()) == [1, 3, 5]
    assert (items[0][3:] == -1).all()
    assert np.isneginf(scores[0][3:]).all()


def test_items_of_one_id_take_a_place_each():
    codes = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]])
    pool = Trie.of(codes, tiny.SIZES).weigh(np.array([[1.0, 5.0, 1.0, 1.0]]))
    ids, mask = pad_prompts(PROMPTS[:1], WORDS.pad)
    row = torch.zeros(1, dtype=torch.int64)
    items, scores = best_items(find(tiny.policy(WORDS), ids, mask, row, pool, beams=4), pool, row, [np.array([2])], 20)
    assert sorted(items[0][:3].tolist()) == [0, 1, 3]
    place = items[0].tolist().index(1)
    assert items[0][place + 1] == 0
    assert scores[0][place] == scores[0][place + 1]


def test_one_prompt_pass_serves_several_searches(setting):
    _, _, pool, ids, mask, rows = setting
    policy = tiny.policy(WORDS)
    with torch.no_grad():
        state = policy.prefill(ids, mask)
    first = search(policy, state, rows, pool, beams=10)
    again = search(policy, state, rows, pool, beams=10)
    assert torch.equal(first.codes, again.codes)
    assert torch.equal(first.scores, again.scores)
