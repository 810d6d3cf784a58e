"""The filter replay: what a filter would have done to what the platform really showed (protocol)."""

import numpy as np

from conrec.data.exposures import DISLIKED, LIKED, NEUTRAL, Replay
from conrec.evaluate.results import AtThreshold, Curve, FilterFigures, HardestHit, Suppression

BUDGETS = (0.01, 0.02, 0.05, 0.10)
"""Shares of the likes that may be lost, at which the dislikes avoided are reported."""
HARD_HIT = 0.01
"""Share of the lists that counts as hardest hit."""
HARDEST = 5


def measure(scores: np.ndarray, labels: np.ndarray, threshold: float | None = None) -> FilterFigures:
    """Trade-off of a filter with these scores on these exposures.

    scores: float [n], higher = rather drop; labels: int [n]; threshold: chosen beforehand, for `chosen`. In the AUC a
    tie counts half. Without any dislike or any like there is nothing to trade: `auc`, `curve` and `chosen` are None
    and `avoided_at` is empty.
    """
    scores = np.asarray(scores, np.float64)
    disliked, liked = np.sort(scores[labels == DISLIKED]), np.sort(scores[labels == LIKED])
    everything = np.sort(scores)
    counts = len(everything), len(disliked), len(liked)
    if not len(disliked) or not len(liked):
        return FilterFigures(*counts, len(disliked) / len(everything) if len(everything) else None)
    rate_before = len(disliked) / len(everything)

    def at(value: float) -> AtThreshold:
        gone = [len(x) - int(np.searchsorted(x, value, side="right")) for x in (disliked, liked, everything)]
        left = len(everything) - gone[2]
        avoided, lost, dropped = (n / len(x) for n, x in zip(gone, (disliked, liked, everything)))
        rate_after = (len(disliked) - gone[0]) / left if left else None
        return AtThreshold(rate_before, float(value), avoided, lost, dropped, rate_after)

    # The whole range evenly, the first tenth of the likes finely: that is where a filter is used.
    shares = np.concatenate([np.linspace(0, 1, 61), np.linspace(0.9, 1, 51)])
    sweep = np.concatenate([np.quantile(liked, shares), np.quantile(everything, shares), [everything[0] - 1]])
    curve = [at(value) for value in np.unique(sweep)]
    from sklearn.metrics import roc_auc_score  # it takes a second to import, and the service reads replays, too

    signed = labels != NEUTRAL
    return FilterFigures(
        *counts,
        rate_before,
        auc=float(roc_auc_score(labels[signed] == DISLIKED, scores[signed])),
        avoided_at={f"{share:g}": at(choose_threshold(liked, share)).dislikes_avoided for share in BUDGETS},
        curve=Curve(*([getattr(point, name) for point in curve] for name in Curve.__struct_fields__)),
        chosen=None if threshold is None else at(threshold),
    )


def suppression(scores: np.ndarray, replay: Replay, threshold: float | None) -> Suppression | None:
    """Over-suppression: a filter that is cheap on average may empty a few people's lists.

    scores: float [n], of all exposures. The users named are those whose lists together lose the largest share. None
    without a threshold or without exposures.
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
    users = [
        HardestHit(str(names[n]), float(of_user[n]), **{name: int(column[n]) for name, column in counts.items()})
        for n in hardest
        if counts["dropped"][n]
    ]
    touched, halved, emptied = (int(which.sum()) for which in (lost > 0, share > 0.5, lost == lengths))
    return Suppression(len(replay), touched, halved, emptied, HARD_HIT, float(np.quantile(share, 1 - HARD_HIT)), users)


def choose_threshold(positive_scores: np.ndarray, likes_lost: float) -> float:
    """The lowest threshold that drops at most this share of the positives.

    positive_scores: float [n], scores of items that the users turned out to like (validation); likes_lost in [0, 1].
    Ties are dropped or kept together, so the share really lost may be below the budget, never above.
    With a budget of everything the answer is -inf. ValueError where there is no positive to judge by.
    """
    if not len(positive_scores):
        raise ValueError("no positive event to choose a threshold by")
    if not 0 <= likes_lost <= 1:
        raise ValueError(f"likes_lost must lie between 0 and 1, not {likes_lost}")
    descending = np.sort(np.asarray(positive_scores, np.float64))[::-1]
    may_go = int(np.floor(likes_lost * len(descending) + 1e-9))
    return float(descending[may_go]) if may_go < len(descending) else -np.inf
