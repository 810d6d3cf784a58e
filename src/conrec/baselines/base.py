"""What every system shares: scores over items in, lists of items and scores of candidates out.

A system says how likely each item is to be the user's next dislikes; which items may be named at all (on offer, not
judged before) is decided here, once, for every system alike (protocol).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from conrec.data.instances import Events, Instances, Items, read_events
from conrec.data.knowledge import Knowledge
from conrec.data.schema import POSITIVE_KINDS
from conrec.data.split import Split
from conrec.features.co_dislikes import CoDislikes
from conrec.sid.catalog import Catalog

CELLS_AT_ONCE = 2**23
"""Scores held at a time (instances x items): bounds the memory to some 300 MB."""


@dataclass(frozen=True)
class TrainingData:
    """What a baseline may see."""

    items: Items
    events: Events
    """To learn from: before validation begins (split by time), or of the training users."""
    train: Instances
    knowledge: Knowledge
    """Dislikes of the day of a prediction: asked with a cutoff, answers with what came before it."""
    likes: Knowledge
    """The same counts over positives (see `likes_of`)."""
    co_dislikes: CoDislikes | None = None
    """Who disliked the one disliked the other, as of the day of a prediction."""
    catalog: Catalog | None = None
    embeddings: np.ndarray | None = None
    """float32 [n_items, d]: what the quantiser was given."""
    validation: Instances | None = None
    """To choose on (when to stop, which setting), never to learn from."""


class Recommender(ABC):
    """One system to compare."""

    name: str
    known: TrainingData

    def fit(self, known: TrainingData) -> None:
        """Learn; the base class only keeps `known`."""
        self.known = known

    @abstractmethod
    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items], higher = rather disliked; only the history of the instances may be used."""

    def recommend(self, instances: Instances, k: int) -> np.ndarray:
        """The k items most likely to be disliked: int32 [B, k] rows, best first, -1 where there are no more.

        Only items on offer at the cutoff and not in `seen`; equal scores are ordered by item row. A score of -inf is
        never named.
        """
        result = np.full((len(instances), k), -1, np.int32)
        for start, part in self.parts(instances):
            result[start : start + len(part)] = self.lists(part, self.scores(part), k)
        return result

    def lists(self, instances: Instances, scores: np.ndarray, k: int) -> np.ndarray:
        """`recommend` for scores [B, n_items] that are there already."""
        scores = np.where(per_cutoff(instances.cutoffs, self.known.knowledge.on_offer), scores, -np.inf)
        scores[instances.seen.owners, instances.seen.values] = -np.inf
        return best(scores, k)

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """Scores of given items: float32 [B, c] for int32 [B, c] rows; -inf where a row is -1 (padding)."""
        result = np.full(candidates.shape, -np.inf, np.float32)
        for start, part in self.parts(instances):
            rows = candidates[start : start + len(part)]
            scores = np.take_along_axis(self.scores(part), np.maximum(rows, 0), axis=1)
            result[start : start + len(part)] = np.where(rows < 0, -np.inf, scores)
        return result

    def parts(self, instances: Instances) -> Iterator[tuple[int, Instances]]:
        """Consecutive instances in parts of bounded memory, each with the number of its first."""
        size = max(1, CELLS_AT_ONCE // max(1, len(self.known.items)))
        for start in range(0, len(instances), size):
            yield start, instances.take(np.arange(start, min(start + size, len(instances))))


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest of float [B, n] as int32 [B, k], best first, ties by row; -1 for -inf or too few."""
    k_there = min(k, scores.shape[1])
    result = np.full((len(scores), k), -1, np.int32)
    if not k_there:
        return result
    # torch's choice of the k highest takes a fifth to a third of the time of numpy's partition.
    found = torch.topk(torch.from_numpy(scores), k_there, dim=1, sorted=False)
    values, rows = found.values.numpy(), found.indices.numpy()
    last = values.min(axis=1, keepdims=True)
    # It leaves open which of those that share the last place it takes.
    shared = (scores == last).sum(axis=1) > (values == last).sum(axis=1)
    tied = np.flatnonzero(shared & (last[:, 0] > -np.inf))
    rows[tied] = _first_of_equals(scores[tied], last[tied], k_there)
    values = np.take_along_axis(scores, rows, axis=1)
    order = np.lexsort((rows, -values), axis=1)
    rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
    result[:, :k_there] = np.where(values == -np.inf, -1, rows)
    return result


def _first_of_equals(scores: np.ndarray, last: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest, int64 [B, k], whose lowest value is `last` [B, 1]: of those that have it the first."""
    above, level = scores > last, scores == last
    left = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= left))
    return np.nonzero(chosen)[1].reshape(len(scores), k)


def per_cutoff(cutoffs: np.ndarray, vector: Callable[[np.datetime64], np.ndarray]) -> np.ndarray:
    """[B, n]: for each instance the vector of its cutoff, computed once per distinct cut."""
    moments, which = np.unique(cutoffs, return_inverse=True)
    return np.stack([vector(moment) for moment in moments])[which]


def read_training_data(prepared: Path, compressed: Path | None, items: Items, instances: Instances) -> TrainingData:
    """`TrainingData` from the folders of a run; without `compressed` there is neither catalogue nor embeddings."""
    split = Split.read(prepared)
    log = read_events(prepared, items)
    return TrainingData(
        items=items,
        events=log.take(split.may_learn(log)),
        train=instances.of_split("train"),
        knowledge=split.knowledge(items, log),
        likes=likes_of(items, log, split.train_users),
        co_dislikes=CoDislikes(log, len(items), split.train_users),
        catalog=Catalog.load(compressed) if compressed else None,
        embeddings=np.load(compressed / "embeddings.npy", allow_pickle=False) if compressed else None,
        validation=instances.of_split("validation"),
    )


def likes_of(items: Items, events: Events, known_users: np.ndarray | None = None) -> Knowledge:
    """Knowledge that counts positives where the usual one counts dislikes: a user's first on each item."""
    liked = events.take(np.isin(events.kinds, POSITIVE_KINDS))
    first = np.sort(np.unique(liked.owners()[1] * len(items) + liked.items, return_index=True)[1])
    return Knowledge(items, replace(liked.take(first), kinds=np.full(len(first), "dislike")), known_users)
