"""The dislike propensity: the history score as an item feature.

What a user will dislike is what the user is shown (`features.exposures`) and then dislikes. The second is the filter's
own question, and what answers it from the log (`score.history`) is known on the day of a prediction.
"""

import numpy as np

from conrec.data.instances import Instances
from conrec.features.item_features import ItemFeature
from conrec.features.log_view import LogView
from conrec.score.history import HistoryAtCutoff, HistoryScore, days


class Propensity(ItemFeature):
    """Log-odds that a user, shown the item, dislikes rather than likes it."""

    name = "propensity"

    def __init__(self, history: HistoryScore, log_view: LogView) -> None:
        self._history, self._log_view = history, log_view
        # The embeddings are the same on all days and shared; what is a day's own is kept for each.
        self._embeddings = history.space.of(log_view.fields, log_view.content)
        self._days: dict[np.datetime64 | None, tuple[HistoryAtCutoff, np.ndarray]] = {}

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: the log-odds, each user at its own cutoff."""
        out = np.empty((len(instances), len(self._log_view.items)), np.float32)
        for part in days(self._log_view, instances.cutoffs):
            at_cutoff, items = self._day(instances.cutoffs[part[0]])
            vectors, biases = at_cutoff.user_factors(instances.take(part))
            split = items.shape[1] - 1
            users = np.hstack([vectors[:, :split], np.ones((len(part), 1), np.float32)])
            out[part] = users @ items.T + vectors[:, split:] @ self._embeddings.T + biases[:, None]
        return out

    def _day(self, cutoff: np.datetime64) -> tuple[HistoryAtCutoff, np.ndarray]:
        """The score on that day, and the items' own (features, latent factors, bias), float32 [items, ki + f + 1]."""
        key = cutoff if self._log_view.train_users is None else None
        if key not in self._days:
            at_cutoff = self._history.at(self._log_view, cutoff, self._embeddings)
            own = [*range(sum(at_cutoff.widths)), -1]
            self._days[key] = at_cutoff, at_cutoff.item_factors().table.take(own, axis=1)
        return self._days[key]
