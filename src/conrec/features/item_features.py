"""What decoding leans on beside the policy: knowledge of the day that a trained model cannot have (not in the paper).

A leaning says of some instances by how much the log-weight of every item rises; how much of it counts is an exponent
that is chosen on validation. The model then only has to know better than neighbours and counts, not to learn them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from conrec.data.instances import Events, Instances
from conrec.features.co_dislikes import co_dislikes

ItemFeature = Callable[[np.ndarray], np.ndarray]
"""Numbers of instances, int64 [b], to what is added to the log-weights of all items, float [b, items]."""

NO_FEATURES = ("prior", "temperature")
"""Parts of a setting that are dealt with elsewhere: in the day's offer, and in the policy."""
KEPT = 128_000_000
"""Bytes of answers that a leaning remembers."""
REACH = 10.0
"""Brings the sum of similarities to the order of 1 (see `co_dislike_score`)."""


class Setting(NamedTuple):
    """How much counts beside the policy: exponents, 0 for not at all."""

    prior: float = 1.0
    """Of the day's prior (`data.knowledge`)."""
    content_similarity: float = 0.0
    """Of the closeness to the user's own past dislikes."""
    co_dislike_score: float = 0.0
    """Of what was disliked by those who disliked the same."""
    exposure: float = 0.0
    """Of how likely the user is to be shown the item (`features.exposures`)."""
    attribute: float = 0.0
    """Of how often the user, shown such items, disliked them for what they are like (`features.attribute_rates`)."""
    propensity: float = 0.0
    """Of the odds that the user, shown the item, dislikes it (`filtering.propensity`)."""
    temperature: float = 1.0
    """Of the policy, no exponent: above 1 it counts less beside all of these, at infinity not at all."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self._asdict().items())


def combine_features(setting: Setting, item_features: Mapping[str, ItemFeature]) -> list[tuple[float, ItemFeature]]:
    """The features that count under a setting, each with its exponent."""
    wanted = {name: value for name, value in setting._asdict().items() if name not in NO_FEATURES and value}
    return [(value, item_features[name]) for name, value in wanted.items()]


def content_similarity(instances: Instances, content: np.ndarray) -> ItemFeature:
    """The largest cosine of an item's content (float32 [items, d], length 1) to that of the user's past dislikes."""

    def of(index: np.ndarray) -> np.ndarray:
        out = np.zeros((len(index), len(content)), np.float32)
        for row, n in enumerate(index):
            if len(instances.dislikes[n]):
                out[row] = (content[instances.dislikes[n]] @ content.T).max(axis=0)
        return out

    return of


def co_dislike_score(instances: Instances, neighbours: CoDislikes) -> ItemFeature:
    """log(1 + 10 s), s the sum of an item's similarities to the user's past dislikes by who disliked them."""

    def of(index: np.ndarray) -> np.ndarray:
        out = np.zeros((len(index), neighbours.items), np.float32)
        for row, n in enumerate(index):
            if len(instances.dislikes[n]):
                similar = neighbours.of_day(instances.cutoffs[n])[instances.dislikes[n]]
                out[row] = np.log1p(REACH * np.asarray(similar.sum(axis=0)).ravel())
        return out

    return of


class CoDislikes:
    """`features.co_dislikes` of what is known on a day, kept for every day that was asked for."""

    def __init__(self, events: Events, items: int, known_users: np.ndarray | None = None) -> None:
        """`known_users`, str [n], in `users` mode: their whole log is known, and of nobody else anything."""
        disliked = events.kinds == "dislike"
        if known_users is not None:
            disliked &= events.of_users(known_users)
        self.items = items
        self._dislikes = events.take(disliked)
        self._always = known_users is not None
        self._days: dict[np.datetime64, csr_matrix] = {}

    def of_day(self, cutoff: np.datetime64) -> csr_matrix:
        """float [items, items]: the neighbours of each item by the dislikes before the midnight before the cutoff."""
        day = np.datetime64(0, "us") if self._always else cutoff.astype("datetime64[D]").astype("datetime64[us]")
        if day not in self._days:
            known = self._dislikes
            if not self._always:
                known = known.take(np.arange(np.searchsorted(known.times, day)))
            self._days[day] = co_dislikes(known, self.items)
        return self._days[day]


def of_some(item_features: Mapping[str, ItemFeature], index: np.ndarray) -> dict[str, ItemFeature]:
    """The features of instances that were taken at `index` from those that they were made for."""

    def one(item_feature: ItemFeature) -> ItemFeature:
        return lambda some: item_feature(index[some])

    return {name: one(item_feature) for name, item_feature in item_features.items()}


def remembered(item_feature: ItemFeature) -> ItemFeature:
    """The same, but not worked out again for instances that were asked for before: setting after setting is tried on
    the same ones, and candidates are ranked for those that lists were made for.

    The last answer is always kept, and of those before it the first `KEPT` bytes: as much as a choice on validation
    asks for again and again, whatever comes later.
    """
    last: dict[int, np.ndarray] = {}
    kept: dict[int, np.ndarray] = {}

    def of(index: np.ndarray) -> np.ndarray:
        numbers = index.tolist()
        if not numbers or not all(n in last or n in kept for n in numbers):
            answer = item_feature(index)
            last.clear()
            last.update(zip(numbers, answer))
            for n, row in last.items():
                if n not in kept and row.nbytes * (1 + len(kept)) <= KEPT:
                    kept[n] = row
            return answer
        return np.stack([last[n] if n in last else kept[n] for n in numbers])

    return of
