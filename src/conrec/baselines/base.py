"""The base class of every recommender: scores of items in, lists of items and scores of candidates out.

A recommender says how likely each item is to be among the user's next dislikes. Which items may be named at all (on
offer, not consumed before) is decided here, once, for all of them alike (protocol).
"""

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from conrec.data.instances import Events, Instances, Items
from conrec.data.knowledge import Knowledge, per_cutoff
from conrec.features.co_dislikes import CoDislikes
from conrec.features.prepared_log import PreparedLog
from conrec.features.sizes import Inputs
from conrec.sid.catalog import Catalog

CELLS_AT_ONCE = 2**23
"""Scores held at a time (instances x items): bounds the memory to some 300 MB."""
Settings = dict[str, Any]
"""Options of a recommender's constructor."""
SUFFIX: dict[Inputs, str] = {"dislikes": "", "dislikes+likes": "+positives"}
"""What a recommender's name ends with, by its inputs."""


class LikeCounts:
    """Number of users who gave each item a positive event before a cutoff.

    In `users` mode the log is that of the training users, whose whole history is known (see `Knowledge`).
    """

    def __init__(self, items: Items, events: Events, known_users: np.ndarray | None = None) -> None:
        mask = events.is_positive
        if known_users is not None:
            mask &= events.of_users(known_users)
        liked = events.take(mask)
        first = liked.first_of_item()
        self._items, self._rows, self._times = len(items), liked.items[first], liked.times[first]
        self._all_known = known_users is not None

    def before(self, cutoff: np.datetime64) -> np.ndarray:
        """int64 [items]: users with a positive event on the item, each counted once."""
        stop = len(self._rows) if self._all_known else np.searchsorted(self._times, cutoff)
        return np.bincount(self._rows[:stop], minlength=self._items)


@dataclass(frozen=True)
class TrainingData:
    """All that a recommender may learn from."""

    items: Items
    events: Events
    """Events to learn from: before validation begins (split by time), or of the training users."""
    train: Instances
    knowledge: Knowledge
    """Dislikes of the day of a prediction: asked with a cutoff, answers with what came before it."""
    likes: LikeCounts
    co_dislikes: CoDislikes | None = None
    """Who disliked the one disliked the other, as of the day of a prediction."""
    catalog: Catalog | None = None
    embeddings: np.ndarray | None = None
    """float32 [n_items, d]: what the quantiser was given."""
    validation: Instances | None = None
    """Instances to choose on (when to stop, which setting), never to learn from."""


class Recommender(ABC):
    """A system that ranks items for the protocol."""

    name: str
    known: TrainingData
    needs: ClassVar[tuple[str, ...]] = ()
    """Options of the constructor that come from the run, not from a grid: `prior_days`, `lm`, `understood`, ..."""
    quick: ClassVar[Settings] = {}
    """Settings under which it hardly trains, to see that everything works."""
    requires: Sequence[Literal["catalog", "embeddings"]] = ()
    """Optional parts of `TrainingData` that it cannot do without."""
    adds_prior: ClassVar[bool] = True
    """May be used with the item prior added to its scores; False where the prior is part of the model."""
    candidates_only: ClassVar[bool] = False
    """Only `score_candidates` means anything; lists of items stay empty."""

    @property
    def form(self) -> str:
        """Name of the model that was chosen, where there are several forms of it."""
        return self.name

    def fit(self, known: TrainingData) -> None:
        """Learn; the base class only keeps `known`. ValueError where a part that it requires is missing."""
        for part in self.requires:
            if getattr(known, part) is None:
                raise ValueError(f"{self.name} needs the {'catalogue' if part == 'catalog' else part}")
        self.known = known

    def tune(self, validation: Instances, k: int) -> dict[float, float]:
        """Choose after training what is left to choose for lists of `k`; returns FHR@k by weight tried.

        Most recommenders have nothing to choose.
        """
        return {}

    def tune_candidates(self, validation: Instances, candidates: np.ndarray) -> dict[float, float]:
        """Choose what is left to choose for `score_candidates`; returns CandAcc by weight tried.

        candidates: int32 [B, c], the true next first, rows of -1 for instances without candidates.
        """
        return {}

    def validation_figures(self, k: int) -> Mapping[Any, float]:
        """Figures by which settings of the grid are compared; the highest value counts."""
        assert self.known.validation is not None
        return self.tune(self.known.validation, k)

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items], higher = rather disliked; only the history of the instances may be used.

        NotImplementedError where whole catalogues are searched, not scored, or candidates alone are.
        """
        raise NotImplementedError(f"{self.name} does not score whole catalogues")

    def recommend(self, instances: Instances, k: int) -> np.ndarray:
        """The k items most likely to be disliked: int32 [B, k] rows, best first, -1 where there are no more.

        Only items on offer at the cutoff and not excluded for the user (`data.knowledge`); equal scores are ordered by
        item row. A score of -inf is never named.
        """
        lists = [self.lists(part, self.scores(part), k) for _, part in self.parts(instances)]
        return np.concatenate([np.zeros((0, k), np.int32), *lists])

    def lists(self, instances: Instances, scores: np.ndarray, k: int) -> np.ndarray:
        """`recommend` for scores [B, n_items] that are there already."""
        scores = np.where(per_cutoff(instances.cutoffs, self.known.knowledge.on_offer), scores, -np.inf)
        excluded = self.known.knowledge.excluded(instances)
        scores[excluded.owners, excluded.values] = -np.inf
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


class CandidateScorer(Recommender):
    """One for what is shown, that scores all items as so many candidates; slow."""

    def scores(self, instances: Instances) -> np.ndarray:
        everything = np.arange(len(self.known.items))
        return self.score_candidates(instances, np.broadcast_to(everything, (len(instances), len(everything))))


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest of float32 [B, n] as int32 [B, k], best first, ties by row; -1 for -inf or too few."""
    import torch  # here, so that the filter's baselines go without

    # The bits of a float, those below the sign turned round where it is negative, are a whole number in the same order
    # (0 is added so that -0 is 0). Behind them the row makes every key another one, so that ties are none.
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)
    ordered = (bits ^ (bits >> 31 & np.int32(0x7FFFFFFF))).astype(np.int64)
    keys = torch.from_numpy((ordered << 32) - np.arange(scores.shape[1]))
    rows = torch.topk(keys, min(k, scores.shape[1]), dim=1).indices.numpy()
    result = np.full((len(scores), k), -1, np.int32)
    result[:, : rows.shape[1]] = np.where(np.take_along_axis(scores, rows, axis=1) == -np.inf, -1, rows)
    return result


def category_numbers(known: TrainingData) -> np.ndarray:
    """int64 [n_items]: category of each item by a number from 1 on; 0 for none."""
    return np.unique(["", *(name or "" for name in known.items.categories)], return_inverse=True)[1][1:]


def training_data(log: PreparedLog) -> TrainingData:
    """All of a run that baselines may see."""
    items, events, known_users = log.items, log.events, log.split.train_users
    likes, co_dislikes = LikeCounts(items, events, known_users), CoDislikes(events, len(items), known_users)
    learned = events.take(log.split.may_learn(events))
    train, validation = (log.instances.of_split(name) for name in ("train", "validation"))
    return TrainingData(
        items, learned, train, log.knowledge, likes, co_dislikes, log.catalog, log.embeddings, validation
    )
