"""A recommender with the item prior added, its weight chosen on validation: open to every system alike (protocol)."""

import numpy as np

from conrec.baselines.base import Recommender, TrainingData
from conrec.data.instances import Instances
from conrec.data.knowledge import per_cutoff
from conrec.evaluate.metrics import candidate_accuracy, hit_any

WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class ItemPrior(Recommender):
    """The prior that decoding may use, on its own: what a model must add something to."""

    name = "popularity_decayed"

    def __init__(self, days: float, smoothing: float) -> None:
        self.days, self.smoothing = days, smoothing

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items] natural logarithms; items not on offer have that of the rarest on offer."""
        return per_cutoff(instances.cutoffs, self._log_prior)

    def _log_prior(self, cutoff: np.datetime64) -> np.ndarray:
        prior = self.known.knowledge.prior(cutoff, self.days, self.smoothing)
        # Candidates may include items first seen after the cutoff: they are worth the least, but not impossible.
        return np.log(np.maximum(prior, prior[prior > 0].min())).astype(np.float32)


class WithPrior(Recommender):
    """Score + weight * log prior; the weight with the best FHR@k on validation, the smaller of equals."""

    def __init__(self, inner: Recommender, days: float, smoothing: float, weights: tuple[float, ...] = WEIGHTS) -> None:
        self.inner, self.prior, self.weights = inner, ItemPrior(days, smoothing), weights
        self.name = f"{inner.name}+prior"
        self.weight = weights[0]
        self.candidate_weight: float | None = None

    @property
    def form(self) -> str:
        """That of the recommender within."""
        return self.inner.form

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        self.inner.fit(known)
        self.prior.fit(known)

    def tune(self, validation: Instances, k: int) -> dict[float, float]:
        """Set `weight`; returns FHR@k on `validation` per weight tried (of instances with a dislike before the cutoff).

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

    def tune_candidates(self, validation: Instances, candidates: np.ndarray) -> dict[float, float]:
        """A weight of its own for `score_candidates`, by CandAcc on int32 [B, c] (the true next first, rows of -1 for
        none); without it the lists' weight is used, too. Returns CandAcc per weight tried."""
        asked = (candidates >= 0).any(axis=1) & (validation.n_dislikes > 0)
        if not asked.any():
            return {}
        part, rows = validation.take(asked), candidates[asked]
        inner, prior = self._parts_of_candidates(part, rows)
        scores = {weight: inner + np.float32(weight) * prior for weight in self.weights}
        tried = {weight: float(candidate_accuracy(one, part)[1].mean()) for weight, one in scores.items()}
        self.candidate_weight = max(tried, key=lambda weight: (tried[weight], -weight))
        return tried

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """Scores of candidates, under their own weight where it was tuned (see `Recommender.score_candidates`)."""
        weight = self.weight if self.candidate_weight is None else self.candidate_weight
        inner, prior = self._parts_of_candidates(instances, candidates)
        return inner + np.float32(weight) * prior

    def scores(self, instances: Instances) -> np.ndarray:
        return self.inner.scores(instances) + np.float32(self.weight) * self.prior.scores(instances)

    def _parts_of_candidates(self, instances: Instances, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and log prior of candidates, float32 [B, c] each; where a row is -1, -inf and 0."""
        inner, prior = (system.score_candidates(instances, candidates) for system in (self.inner, self.prior))
        return inner, np.where(candidates < 0, np.float32(0), prior)
