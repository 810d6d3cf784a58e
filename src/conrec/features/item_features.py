"""Item features: reasons why a user may dislike an item next, each a log-weight of every item (not in the paper).

What the log says on the day of a prediction a trained model cannot know: what is disliked lately and by whom, what the
user will be shown. Decoding adds these features to the log-weights of the items, each times a weight that is chosen on
validation (`features.weight_search`). The model then only has to know better than neighbours and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from conrec.data.instances import Instances
from conrec.features.co_dislikes import CoDislikes

NOT_ADDED = ("prior", "temperature")
"""Weights of what is no feature to add: the prior is in the day's candidate pool, the temperature in the policy."""
AT_ONCE = 32
"""Instances whose log-weights of all items are held at once where candidates are asked for."""
REMEMBERED = 128_000_000
"""Bytes of answers that a remembered feature keeps."""
CO_DISLIKE_SCALE = 10.0
"""Brings the sum of similarities to the order of 1."""


class ItemFeature(Protocol):
    """One reason why a user may dislike an item next."""

    name: str

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: what is added to the log-weight of every item for each user at its own cutoff."""

    def of_candidates(self, instances: Instances, rows: np.ndarray) -> np.ndarray:
        """float [B, c]: the same of given items alone, rows int [B, c]."""
        parts = np.array_split(np.arange(len(instances)), max(1, -(-len(instances) // AT_ONCE)))
        return np.concatenate([np.take_along_axis(self.log_weight(instances.take(p)), rows[p], 1) for p in parts])


class FeatureWeights(NamedTuple):
    """How much each feature counts beside the policy; 0 for not at all."""

    prior: float = 1.0
    """Dislikes of everybody lately (`data.knowledge`): the power to which the prior is raised."""
    content_similarity: float = 0.0
    """Closeness of content to the user's own past dislikes."""
    co_dislike_score: float = 0.0
    """Dislikes of the users who disliked the same."""
    exposure: float = 0.0
    """How likely the user is to be shown the item (`features.exposures`)."""
    attribute: float = 0.0
    """How often the user, shown such items, disliked them (`features.attribute_rates`)."""
    propensity: float = 0.0
    """The odds that the user, shown the item, dislikes it (`score.propensity`)."""
    temperature: float = 1.0
    """What divides the policy's log-likelihood: above 1 the policy counts less, at infinity not at all."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self._asdict().items())

    def of(self, features: Mapping[str, ItemFeature]) -> list[tuple[float, ItemFeature]]:
        """The features that count, each with its weight. KeyError for one that is wanted and not there."""
        wanted = {name: value for name, value in self._asdict().items() if name not in NOT_ADDED and value}
        return [(value, features[name]) for name, value in wanted.items()]


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


class Remembered(ItemFeature):
    """A feature that does not work out again what it was asked for before.

    A search tries weights after weights on the same instances, and candidates are ranked for those that lists were
    made for. The last answer is always kept, and of those before it the first `REMEMBERED` bytes.
    """

    def __init__(self, feature: ItemFeature) -> None:
        self.name = feature.name
        self._feature = feature
        self._last: dict[tuple[str, int], np.ndarray] = {}
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: those of the feature; a user at one cutoff always has the same."""
        keys = list(zip(instances.users.tolist(), instances.cutoffs.astype(np.int64).tolist()))
        if not keys or not all(key in self._last or key in self._kept for key in keys):
            answer = self._feature.log_weight(instances)
            self._last = dict(zip(keys, answer))
            for key, row in self._last.items():
                if key not in self._kept and row.nbytes * (1 + len(self._kept)) <= REMEMBERED:
                    self._kept[key] = row
            return answer
        return np.stack([self._last[key] if key in self._last else self._kept[key] for key in keys])
