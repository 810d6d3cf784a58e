"""The filter replay: what a filter would have done to what the platform really showed (protocol).

A filter scores the items shown (`data.exposures`; higher = more surely disliked) and drops what exceeds a threshold.
What counts is how many dislikes that avoids and how many likes it costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conrec.data.exposures import DISLIKED, LIKED, NEUTRAL, Replay
from conrec.evaluate.threshold import choose_threshold

BUDGETS = (0.01, 0.02, 0.05, 0.10)
"""Shares of the likes that may be lost, at which the dislikes avoided are reported."""
HARD_HIT = 0.01
"""So large a share of the lists is asked for the least that they lose."""
HARDEST = 5
"""So many users are named."""


def measure(scores: np.ndarray, labels: np.ndarray, threshold: float | None = None) -> dict[str, Any]:
    """What a filter with these scores does to these exposures.

    scores: float [n], higher = rather drop; labels: int [n]. Returns, ready for JSON:

    - `events`, `dislikes`, `likes`, `rate_before` (negative-feedback rate: dislikes / everything shown),
    - `auc`: dislikes against likes, a tie counts half,
    - `at`: for each share of likes lost the share of dislikes avoided, threshold set on these very events,
    - `curve`: lists `threshold`, `dislikes_avoided`, `likes_lost`, `dropped` (share of everything), `rate_after`,
    - `chosen`: the same at a threshold that was chosen beforehand, with `rate_before`.

    Without any dislike or any like there is nothing to trade: `auc`, `curve` and `chosen` are None and `at` is empty.
    """
    scores = np.asarray(scores, np.float64)
    disliked, liked = np.sort(scores[labels == DISLIKED]), np.sort(scores[labels == LIKED])
    everything = np.sort(scores)
    result: dict[str, Any] = {
        "events": len(everything),
        "dislikes": len(disliked),
        "likes": len(liked),
        "rate_before": len(disliked) / len(everything) if len(everything) else None,
        "auc": None,
        "at": {},
        "curve": None,
        "chosen": None,
    }
    if not len(disliked) or not len(liked):
        return result

    def at(value: float) -> dict[str, float | None]:
        gone = [len(x) - int(np.searchsorted(x, value, side="right")) for x in (disliked, liked, everything)]
        left = len(everything) - gone[2]
        return {
            "threshold": float(value),
            "dislikes_avoided": gone[0] / len(disliked),
            "likes_lost": gone[1] / len(liked),
            "dropped": gone[2] / len(everything),
            "rate_after": (len(disliked) - gone[0]) / left if left else None,
        }

    # The whole range evenly, the first tenth of the likes finely: that is where a filter is used.
    shares = np.concatenate([np.linspace(0, 1, 61), np.linspace(0.9, 1, 51)])
    sweep = np.concatenate([np.quantile(liked, shares), np.quantile(everything, shares), [everything[0] - 1]])
    curve = [at(value) for value in np.unique(sweep)]
    from sklearn.metrics import roc_auc_score  # it takes a second to import, and the service reads replays, too

    signed = labels != NEUTRAL
    result["auc"] = float(roc_auc_score(labels[signed] == DISLIKED, scores[signed]))
    result["at"] = {f"{share:g}": at(choose_threshold(liked, share))["dislikes_avoided"] for share in BUDGETS}
    result["curve"] = {key: [point[key] for point in curve] for key in curve[0]}
    if threshold is not None:
        result["chosen"] = {"rate_before": result["rate_before"], **at(threshold)}
    return result


def suppression(scores: np.ndarray, replay: Replay, threshold: float | None) -> dict[str, Any] | None:
    """Who loses most: a filter that is cheap on average may empty a few people's lists.

    scores: float [n], of everything shown. Of the lists (a user's exposures after one cutoff): how many lose anything,
    more than half, and everything; the largest share of `HARD_HIT` of the lists; and the `HARDEST` users, whose lists
    together lose the largest share. None without a threshold or without exposures.
    """
    if threshold is None or not len(scores):
        return None
    gone = scores > threshold
    owner = replay.shown.owners
    lengths, lost = replay.shown.lengths, np.bincount(owner, gone, len(replay))
    share = lost / np.maximum(lengths, 1)
    names, user = np.unique(replay.instances.users, return_inverse=True)
    liked = replay.labels.values == LIKED
    counts = {
        "shown": np.bincount(user, lengths),
        "dropped": np.bincount(user, lost),
        "likes": np.bincount(user[owner], liked, len(names)),
        "likes_lost": np.bincount(user[owner], liked & gone, len(names)),
    }
    of_user = counts["dropped"] / np.maximum(counts["shown"], 1)
    hardest = np.lexsort((names, -counts["dropped"], -of_user))[:HARDEST]
    return {
        "lists": len(replay),
        "lists_touched": int((lost > 0).sum()),
        "lists_halved": int((share > 0.5).sum()),
        "lists_emptied": int((lost == lengths).sum()),
        "hard_hit": HARD_HIT,
        "hard_hit_lose": float(np.quantile(share, 1 - HARD_HIT)),
        "users": [
            {
                "user": str(names[n]),
                "share": float(of_user[n]),
                **{name: int(column[n]) for name, column in counts.items()},
            }
            for n in hardest
            if counts["dropped"][n]
        ],
    }
