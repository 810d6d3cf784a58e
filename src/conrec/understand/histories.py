"""Reading histories: next-token prediction over what users liked and disliked (not in the paper).

A large checkpoint brings knowledge of what goes with what; a small model trained from scratch has none. It first
reads the training period's histories as running text, every semantic ID predicted from those before it, which gives
some fifty targets a pass where the warm-up gives one. Off for checkpoints (`understand.history_epochs = 0`).
"""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Events
from conrec.lm.prompts import HistoryPrompts, Sample


def history_samples(prompts: HistoryPrompts, events: Events, learn: np.ndarray, length: int) -> list[Sample]:
    """Each user's training dislikes and positives in the order of time, in pieces of at most `length` events.

    Args: `learn` bool per event. An item counts once as liked (at the first time) and once as disliked. Pieces overlap
    by half, so that every event is also read with a history before it. The loss is on everything behind the first
    token; users with a single event are left out.
    """
    wanted = np.flatnonzero(learn & (events.kinds != "exposure"))
    users = np.unique(events.users[wanted], return_inverse=True)[1]
    rows, disliked = events.items[wanted], events.kinds[wanted] == "dislike"
    first = np.unique(np.stack([users, rows, disliked]), axis=1, return_index=True)[1]
    first = first[np.lexsort((first, users[first]))]
    users, rows, disliked = users[first], rows[first], disliked[first]
    bounds = np.flatnonzero(np.diff(users)) + 1
    samples = []
    for begin, end in zip([0, *bounds], [*bounds, len(users)]):
        for at in range(begin, max(begin + 1, end - length // 2), max(1, length // 2)):
            piece = slice(at, min(at + length, end))
            if piece.stop - piece.start > 1:
                text = prompts.running(rows[piece], disliked[piece])
                samples.append(Sample(text[:1], text[1:]))
    return samples
