"""Any system plus the item prior, its weight chosen on validation: open to every system alike (protocol)."""

from __future__ import annotations

import numpy as np

from conrec.baselines.base import Known, System
from conrec.baselines.popularity import ItemPrior
from conrec.data.instances import Instances
from conrec.evaluate.metrics import hit_any

WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class WithPrior(System):
    """Score + weight * log prior; the weight with the best FHR@k on validation, the smaller of equals."""

    def __init__(self, inner: System, days: float, smoothing: float, weights: tuple[float, ...] = WEIGHTS) -> None:
        self.inner, self.prior, self.weights = inner, ItemPrior(days, smoothing), weights
        self.name = f"{inner.name}+prior"
        self.weight = weights[0]

    def fit(self, known: Known) -> None:
        """Fit the system within."""
        super().fit(known)
        self.inner.fit(known)
        self.prior.fit(known)

    def tune(self, validation: Instances, k: int) -> dict[float, float]:
        """Set `weight`; returns FHR@k on `validation` per weight tried (of instances with a dislike before the cut).

        Without such an instance the weight stays as it is and nothing is returned.
        """
        validation = validation.take(validation.n_dislikes > 0)
        if not len(validation):
            return {}
        hits = dict.fromkeys(self.weights, 0.0)
        for _, part in self.parts(validation):
            inner, prior = self.inner.scores(part), self.prior.scores(part)
            for weight in self.weights:
                lists = self.lists(part, inner + np.float32(weight) * prior, k)
                hits[weight] += float(hit_any(lists, part.future).sum())
        tried = {weight: count / len(validation) for weight, count in hits.items()}
        self.weight = max(tried, key=lambda weight: (tried[weight], -weight))
        return tried

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        return self.inner.scores(instances) + np.float32(self.weight) * self.prior.scores(instances)
