"""Rollouts are drawn from the policy, and stay in the candidate pool."""

import numpy as np
import torch

from conrec.decode.beam import search
from conrec.decode.prompt_dataset import Batch
from conrec.decode.trie import Trie
from conrec.lm.policy import pad_prompts
from conrec.train.grpo import rollout
from tests import tiny

WORDS = tiny.vocabulary()
CODES = tiny.codes(25)
POOL = Trie.of(CODES, tiny.SIZES).weigh((np.arange(25) % 4 > 0)[None].astype(float))


def batch(n: int) -> Batch:
    ids, mask = pad_prompts([WORDS.text("Disliked: ") + WORDS.sid(CODES[:3])] * n, WORDS.pad)
    return Batch(np.arange(n), ids, mask, torch.zeros(n, dtype=torch.int64))


def test_frequencies_follow_the_policy():
    policy = tiny.policy(WORDS)
    codes, leaves = rollout(policy, batch(100), POOL, 60, torch.Generator().manual_seed(0))
    with torch.no_grad():
        one = batch(1)
        exact = search(policy, policy.prefill(one.prompt_ids, one.prompt_mask), one.rows, POOL, beams=250)
    truth = np.zeros(25)
    finite = torch.isfinite(exact.scores[0])
    truth[exact.leaves[0][finite].numpy()] = exact.scores[0][finite].exp().numpy()
    drawn = np.bincount(leaves.flatten().numpy(), minlength=25) / 6000
    assert np.abs(drawn - truth).max() < 4 * np.sqrt(0.25 / 6000)
    for code, leaf in zip(codes.reshape(-1, 3)[:50].tolist(), leaves.flatten()[:50].tolist()):
        assert (CODES[(POOL.trie.leaf_of_item == leaf).numpy()] == code).all()


def test_the_same_generator_gives_the_same_answers():
    policy = tiny.policy(WORDS)
    draws = [rollout(policy, batch(2), POOL, 8, torch.Generator().manual_seed(7))[0] for _ in range(2)]
    assert torch.equal(*draws)
