"""Places of a list that are kept for long-tail items.

Whatever makes a list hit most often fills it with what many dislike. How many of its places go to long-tail items
(`data.knowledge`) is learned beside the weights of the features (`score.list_weights`): as many as cost next to none
of the hits.
"""

from __future__ import annotations

import numpy as np


def with_long_tail(
    lists: tuple[np.ndarray, np.ndarray], weight: np.ndarray, tail: np.ndarray, places: int
) -> tuple[np.ndarray, np.ndarray]:
    """The lists with at least `places` long-tail items each, as far as there are so many.

    lists: items int32 [B, k], -1 for none, and their scores float32 [B, k], best first. weight: float [B, items], 0 for
    what may not be listed; the heaviest long-tail items take the places of the last others, and come last themselves.
    tail: bool [B, items].
    """
    items, scores = lists[0].copy(), lists[1].copy()
    for row in range(len(items)):
        listed, own = items[row][items[row] >= 0], scores[row][items[row] >= 0]
        missing = min(places, items.shape[1]) - int(tail[row, listed].sum())
        if missing <= 0:
            continue
        possible = np.where(tail[row], weight[row], 0.0)
        possible[listed] = 0
        added = np.argsort(-possible, kind="stable")[:missing]
        added = added[possible[added] > 0]
        too_many = len(listed) + len(added) - items.shape[1]
        stays = np.ones(len(listed), bool)
        stays[np.flatnonzero(~tail[row, listed])[::-1][: max(0, too_many)]] = False
        # Shares of a search and of the whole pool are different things: no later item has the larger score.
        of_added = np.minimum(np.log(possible[added] / weight[row].sum()), own[stays].min(initial=np.inf))
        n = int(stays.sum()) + len(added)
        items[row], scores[row] = -1, -np.inf
        items[row, :n] = np.append(listed[stays], added)
        scores[row, :n] = np.append(own[stays], of_added)
    return items, scores
