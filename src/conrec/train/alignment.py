"""Item-level alignment: which of four items is the one that this user disliked (paper, section 3 and appendix).

A sample has no history: four semantic IDs, one disliked by the user, three that the same user responded to
positively. Only *sure* dislikes ask the question: the user disliked `alignment_min_repeats` items or more under the
same ID prefix (docs/paper_map.md).
"""

import numpy as np

from conrec.config import UnderstandConfig
from conrec.data.instances import Events
from conrec.lm.prompts import ItemTokens, Sample, alignment

SURE_PREFIX = 1
"""Codes that two dislikes must share to count as a repeated one."""


def ask(events: Events, learn: np.ndarray, codes: np.ndarray, config: UnderstandConfig, seed: int) -> list[np.ndarray]:
    """Draw four-way questions from the training events, for training and held out, no user in both.

    Each is int32 [n, 4]: rows of the disliked item, then of three positives. Args: `learn` bool per event; `codes` int
    [items, T]. The held-out ones are of a share of the users, and at most as many as its share of the samples.
    """
    samples, held_out = config.alignment_samples, config.alignment_held_out
    rng = np.random.default_rng(seed)
    prefixes = np.unique(codes[:, :SURE_PREFIX], axis=0, return_inverse=True)[1].reshape(-1)
    known = events.take(learn)
    (users, user), items = known.owners(), known.items
    disliked, positive = known.is_dislike, known.is_positive
    pairs = np.unique(np.stack([user[disliked], items[disliked]], 1), axis=0)
    key = pairs[:, 0].astype(np.int64) * (prefixes.max() + 1) + prefixes[pairs[:, 1]]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    sure = pairs[count[inverse.reshape(-1)] >= config.alignment_min_repeats]
    liked = np.unique(np.stack([user[positive], items[positive]], 1), axis=0)
    size = np.int64(len(codes))
    both = np.isin(liked[:, 0] * size + liked[:, 1], pairs[:, 0] * size + pairs[:, 1])
    liked = liked[~both]
    start = np.searchsorted(liked[:, 0], np.arange(len(users) + 1))
    n_liked = np.diff(start)
    sure = sure[n_liked[sure[:, 0]] >= 3]
    held_users = rng.random(len(users)) < held_out
    parts = []
    for mask, limit in ((~held_users, samples), (held_users, max(200, round(samples * held_out)))):
        chosen = sure[mask[sure[:, 0]]]
        if len(chosen) > limit:
            chosen = chosen[rng.choice(len(chosen), limit, replace=False)]
        # Three distinct positions among the user's positives, without a Python loop over users.
        n = n_liked[chosen[:, 0]]
        first = rng.integers(0, n)
        second = (first + 1 + rng.integers(0, n - 1)) % n
        low, high = np.minimum(first, second), np.maximum(first, second)
        third = rng.integers(0, n - 2)
        third += third >= low
        third += third >= high
        others = liked[start[chosen[:, 0]][:, None] + np.stack([first, second, third], 1), 1]
        parts.append(np.concatenate([chosen[:, 1:], others], 1).astype(np.int32))
    return parts


def alignment_samples(items: ItemTokens, questions: np.ndarray, seed: int) -> list[Sample]:
    """Questions int [n, 4] -> samples, the answer at a random one of the four places."""
    rng = np.random.default_rng(seed)
    samples = []
    for row in questions:
        order = rng.permutation(4)
        samples.append(alignment(items, row[order], int(np.flatnonzero(order == 0)[0])))
    return samples
