"""Item features: reasons why a user may dislike an item next, each a log-weight of every item (docs/decoding.md).

Decoding adds them to the log-weights of the items, each times a weight that is learned on backtest windows
(`score.list_weights`).
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from conrec.data.instances import Instances, cut
from conrec.data.knowledge import DAY, Knowledge, per_cutoff
from conrec.features.co_dislikes import CoDislikes

NOT_ADDED = ("prior", "temperature")
"""What is no weight of a feature to add: the prior is in the day's candidate pool, the temperature in the policy."""
AT_ONCE = 32
"""Instances whose log-weights of all items are held at once where candidates are asked for."""
CO_DISLIKE_SCALE = 10.0
"""Brings the sum of similarities to the order of 1."""


class ItemFeature(Protocol):
    """One reason why a user may dislike an item next."""

    name: str

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: what is added to the log-weight of every item for each user at its own cutoff."""

    def of_candidates(self, instances: Instances, rows: np.ndarray) -> np.ndarray:
        """float [B, c]: the same of given items alone, rows int [B, c]."""
        parts = cut(len(instances), AT_ONCE)
        return np.concatenate([np.take_along_axis(self.log_weight(instances.take(p)), rows[p], 1) for p in parts])


class FeatureWeights(NamedTuple):
    """How much each feature counts beside the policy in lists; 0 for not at all. Each is a class of its name."""

    prior: float = 1.0
    """Dislikes of everybody lately (`data.knowledge`): the power to which the prior is raised."""
    content_similarity: float = 0.0
    co_dislike_score: float = 0.0
    ease: float = 0.0
    sequence: float = 0.0
    exposure: float = 0.0
    attribute: float = 0.0
    propensity: float = 0.0
    temperature: float = 1.0
    """What divides the policy's log-likelihood: above 1 the policy counts less, at infinity not at all."""
    long_tail: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self._asdict().items())

    def of(self, features: Mapping[str, ItemFeature]) -> list[tuple[float, ItemFeature]]:
        """The features that count, each with its weight. KeyError for one that is wanted and not there."""
        wanted = {name: value for name, value in self._asdict().items() if name not in NOT_ADDED and value}
        return [(value, features[name]) for name, value in wanted.items()]


class Prior(ItemFeature):
    """The log of the day's prior; an item that the log has not met yet has that of the least popular one."""

    name = "prior"

    def __init__(self, knowledge: Knowledge, days: float, smoothing: float) -> None:
        """days, smoothing: as in `Knowledge.prior`."""
        self._knowledge, self._days, self._smoothing = knowledge, days, smoothing

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: log priors at the midnight before each cutoff; by category that day's items have one."""
        return per_cutoff(instances.cutoffs.astype("datetime64[D]").astype("datetime64[us]"), self._log_prior)

    def _log_prior(self, midnight: np.datetime64) -> np.ndarray:
        until = midnight + DAY if self._knowledge.by_category else None
        prior = self._knowledge.prior(midnight, self._days, self._smoothing, until)
        # Before the log's first item none is likelier than another.
        return np.log(np.where(prior > 0, prior, prior.min(initial=1.0, where=prior > 0))).astype(np.float32)


class ContentSimilarity(ItemFeature):
    """The largest cosine of an item's content to that of the user's past dislikes."""

    name = "content_similarity"

    def __init__(self, content: np.ndarray) -> None:
        """content: float32 [items, d], rows of length 1."""
        self._content = content

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: the cosines; 0 for a user without a past dislike."""
        out = np.zeros((len(instances), len(self._content)), np.float32)
        for row in range(len(instances)):
            if len(instances.dislikes[row]):
                out[row] = (self._content[instances.dislikes[row]] @ self._content.T).max(axis=0)
        return out


class LongTail(ItemFeature):
    """1 for long-tail items, 0 for others: whatever makes a list hit most often fills it with what many dislike."""

    name = "long_tail"

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def log_weight(self, instances: Instances) -> np.ndarray:
        return per_cutoff(instances.cutoffs, self._knowledge.long_tail).astype(np.float32)


class CoDislikeScore(ItemFeature):
    """log(1 + 10 s), s the sum of an item's similarities to the user's past dislikes by who disliked both."""

    name = "co_dislike_score"

    def __init__(self, neighbours: CoDislikes) -> None:
        self._neighbours = neighbours

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: the scores; 0 for a user without a past dislike."""
        out = np.zeros((len(instances), self._neighbours.items), np.float32)
        for row in range(len(instances)):
            if len(instances.dislikes[row]):
                similar = self._neighbours.of_day(instances.cutoffs[row])[instances.dislikes[row]]
                out[row] = np.log1p(CO_DISLIKE_SCALE * np.asarray(similar.sum(axis=0)).ravel())
        return out
