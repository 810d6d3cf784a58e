"""The history score as something that decoding can lean on: the odds that a user, shown an item, dislikes it.

What a user will dislike is what the user is shown (`features.exposures`) and then dislikes. The second is the filter's
own question, and what answers it from the log (`score.history`) is known on the day of a prediction.
"""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Instances
from conrec.features.item_features import ItemFeature
from conrec.features.log_view import LogView
from conrec.score.history import HistoryScore, days


def propensity(history: HistoryScore, log_view: LogView, instances: Instances) -> ItemFeature:
    """float32 [b, items] of instances at some numbers: log-odds of dislike against like.

    Worked out for all instances of a day when the first of them is asked for: a day costs more than a user.
    """
    day_of = np.zeros(len(instances), np.int64)
    parts = days(log_view, instances.cutoffs)
    for number, part in enumerate(parts):
        day_of[part] = number
    sides: dict[int, tuple[np.ndarray, ...]] = {}

    def side(number: int) -> tuple[np.ndarray, ...]:
        if number not in sides:
            part = parts[number]
            # The taste space is the same on all days and shared; only the day's own numbers are kept for each.
            at_cutoff = history.at(log_view, instances.cutoffs[part[0]])
            vectors, biases = at_cutoff.item_factors()
            own, of_users = at_cutoff.user_factors(instances.take(part))
            split = vectors.shape[1] - history.space.dimensions
            numbers = np.hstack([vectors[:, :split], biases[:, None]]).astype(np.float32)
            users = np.hstack([own[:, :split], np.ones((len(part), 1))]).astype(np.float32)
            sides[number] = numbers, users, own[:, split:].astype(np.float32), of_users.astype(np.float32)
        return sides[number]

    features = history.space.of(log_view.fields, log_view.content).astype(np.float32)

    def item_feature(index: np.ndarray) -> np.ndarray:
        out = np.empty((len(index), len(log_view.items)), np.float32)
        for number in np.unique(day_of[index]):
            here = np.flatnonzero(day_of[index] == number)
            numbers, users, tastes, biases = side(int(number))
            place = np.searchsorted(parts[number], index[here])
            out[here] = users[place] @ numbers.T + tastes[place] @ features.T + biases[place, None]
        return out

    return item_feature
