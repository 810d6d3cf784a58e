"""The history score as something that decoding can lean on: the odds that a user, shown an item, dislikes it.

What a user will dislike is what the user is shown (`decode.exposures`) and then dislikes. The second is the filter's
own question, and what answers it from the log (`filtering.history`) is known on the day of a prediction.
"""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Instances
from conrec.decode.leanings import Leaning
from conrec.filtering.history import HistoryScore
from conrec.filtering.past import Past


def aversion(history: HistoryScore, past: Past, instances: Instances) -> Leaning:
    """float32 [b, items] of instances at some numbers: log-odds of dislike against like.

    Worked out for all instances of a day when the first of them is asked for: a day costs more than a user.
    """
    day_of = np.zeros(len(instances), np.int64)
    days = history.by_day(past, instances.cuts)
    for number, part in enumerate(days):
        day_of[part] = number
    sides: dict[int, tuple[np.ndarray, ...]] = {}

    def side(number: int) -> tuple[np.ndarray, ...]:
        if number not in sides:
            part = days[number]
            # The taste space is the same on all days and shared; only the day's own numbers are kept for each.
            vectors, biases = history.item_side(past, instances.cuts[part[0]])
            own, of_users = history.user_sides(past, instances.take(part))
            split = vectors.shape[1] - history.space.dimensions
            numbers = np.hstack([vectors[:, :split], biases[:, None]]).astype(np.float32)
            users = np.hstack([own[:, :split], np.ones((len(part), 1))]).astype(np.float32)
            sides[number] = numbers, users, own[:, split:].astype(np.float32), of_users.astype(np.float32)
        return sides[number]

    features = history.space.of(past.fields, past.content).astype(np.float32)

    def leaning(index: np.ndarray) -> np.ndarray:
        out = np.empty((len(index), len(past.items)), np.float32)
        for number in np.unique(day_of[index]):
            here = np.flatnonzero(day_of[index] == number)
            numbers, users, tastes, biases = side(int(number))
            place = np.searchsorted(days[number], index[here])
            out[here] = users[place] @ numbers.T + tastes[place] @ features.T + biases[place, None]
        return out

    return leaning
