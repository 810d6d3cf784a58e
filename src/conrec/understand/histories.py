"""Reading histories: next-token prediction over what users liked and disliked (not in the paper).

A large checkpoint brings knowledge of what goes with what; a small model trained from scratch has none. It first
reads the training period's histories as running text, every semantic ID predicted from those before it, which gives
some fifty targets a pass where the warm-up gives one. Off for checkpoints (`understand.history_epochs = 0`).
"""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Instances
from conrec.lm.prompts import HistoryPrompts, Sample


def history_samples(prompts: HistoryPrompts, train: Instances, limit: int, seed: int) -> list[Sample]:
    """At most `limit` training histories in full context; the loss is on everything behind the first token.

    Drawn evenly over users: a user's k-th newest history is taken before anybody's (k + 1)-th newest, because the
    histories of one user repeat each other.
    """
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(train)), -train.cuts.astype(np.int64)))
    users = np.unique(train.users, return_inverse=True)[1][order]
    by_user = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[by_user], users[by_user])
    rank = np.empty(len(train), dtype=np.int64)
    rank[by_user] = np.arange(len(train)) - starts
    chosen = order[np.argsort(rank, kind="stable")][:limit]
    texts = [prompts.of(train, int(n), "full") for n in chosen]
    return [Sample(text[:1], text[1:]) for text in texts]
