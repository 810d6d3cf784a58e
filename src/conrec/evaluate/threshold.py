"""The threshold that an operator's budget of lost likes allows."""

import numpy as np


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
