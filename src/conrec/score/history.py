"""The history score: what the log alone says of how surely a user dislikes an item, learned on backtest windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from conrec.data.exposures import Replay
from conrec.data.instances import Instances, evenly
from conrec.features.log_view import LogView
from conrec.files import readable
from conrec.parallel import map_parts
from conrec.score.backtest import Backtest
from conrec.score.embedding import EmbeddingSpace
from conrec.score.factors import ItemFactors
from conrec.score.feature_snapshot import FeatureSnapshot, RateEmbeddings, landmarks_of
from conrec.score.regression import Regression, Rows, part_of

FILE = "history.safetensors"
DIMENSIONS, WIDE, MOST_ITEMS = 96, 384, 65_536
"""Dimensions of the embeddings, and of those before they are narrowed where dislike rates by attribute say how; items
that their space is learned from at most, evenly taken."""


@dataclass(frozen=True)
class HistoryScore:
    """Log-odds that a shown item is disliked rather than liked, from histories."""

    space: EmbeddingSpace
    rated: bool
    exposed: bool
    """Whether it has what was shown, and attributes to tell that by."""
    regression: Regression
    latent: np.ndarray
    """float32 [n, f]: the items' latent factors in the last backtest window; those of a day are turned towards them."""

    @classmethod
    def fit(cls, log_view: LogView, known_items: np.ndarray, windows: Sequence[Backtest], seed: int) -> HistoryScore:
        """Learn from backtest windows.

        known_items: int [k], rows of the items of the training period. ValueError where the windows do not hold both
        dislikes and likes.
        """
        known_items, rated = evenly(known_items, MOST_ITEMS), bool(log_view.events.rated.any())
        # Without an attribute there are no dislike rates by attribute, and directions in which they differ are noise.
        exposed = log_view.events.has_exposures and any(log_view.fields)
        dimensions = WIDE if exposed else DIMENSIONS
        space = EmbeddingSpace.fit(log_view.fields, log_view.content, known_items, dimensions, seed)
        numbers = range(len(windows))
        if exposed and windows:

            def of_items(rows: np.ndarray) -> np.ndarray:
                return space.of([log_view.fields[row] for row in rows], log_view.content[rows])

            landmarks = landmarks_of(len(log_view.items))
            embeddings = of_items(landmarks)

            def users(n: int) -> np.ndarray:
                one = windows[n]
                rates = RateEmbeddings.of(one.log_view.attribute_rates, one.cutoff, landmarks, embeddings)
                return rates.users(one.replay.instances)

            of_users = list(map_parts(users, numbers, "dislike rates of users"))
            space = space.narrowed(of_items(known_items), np.concatenate(of_users), DIMENSIONS)
        embeddings = space.of(log_view.fields, log_view.content)

        def features(n: int) -> Rows:
            one = windows[n]
            snapshot = FeatureSnapshot.of(one.log_view, one.cutoff, embeddings, rated, exposed)
            places = np.arange(len(one.replay.shown.values))
            return _rows(snapshot, one.replay, np.arange(len(one.replay)), places)

        rows = list(map_parts(features, numbers, "backtest windows"))
        return cls(space, rated, exposed, Regression.fit(rows), rows[-1].latent)

    def at(self, log_view: LogView, cutoff: np.datetime64, embeddings: np.ndarray | None = None) -> HistoryAtCutoff:
        """The score with all features of the day of the cutoff; in `users` mode that is the same on every day.

        embeddings: those of the items, where the caller has them.
        """
        if embeddings is None:
            embeddings = self.space.of(log_view.fields, log_view.content)
        snapshot = FeatureSnapshot.of(log_view, cutoff, embeddings, self.rated, self.exposed, self.latent)
        return HistoryAtCutoff(self, snapshot)

    def replay_scores(self, log_view: LogView, replay: Replay) -> np.ndarray:
        """Scores of everything shown, each at its own cutoff, float64 [m]."""
        embeddings, scores = self.space.of(log_view.fields, log_view.content), np.empty(len(replay.shown.values))
        parts, owners = days(log_view, replay.instances.cutoffs), replay.shown.owners

        def of_day(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            snapshot = self.at(log_view, replay.instances.cutoffs[part[0]], embeddings).snapshot
            places = np.flatnonzero(np.isin(owners, part))
            return places, self.regression.scores(_rows(snapshot, replay, part, places))

        for places, found in map_parts(of_day, parts, "days of the replay"):
            scores[places] = found
        return scores

    def state(self) -> dict[str, np.ndarray]:
        arrays = {f"space/{name}": value for name, value in self.space.state().items()}
        arrays |= {f"regression/{name}": value for name, value in self.regression.state().items()}
        return arrays | {"rated": np.array(self.rated), "exposed": np.array(self.exposed), "latent": self.latent}

    def save(self, folder: Path) -> None:
        save_file({name: np.ascontiguousarray(value) for name, value in self.state().items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> HistoryScore:
        """The score that `save` wrote into the folder; ConrecError where it is not there or not readable."""
        with readable(folder / FILE, "the score"):
            state = load_file(folder / FILE)
            space = EmbeddingSpace.restore(part_of(state, "space"))
            regression = Regression.restore(part_of(state, "regression"))
            rated, exposed = bool(state["rated"].item()), bool(state["exposed"].item())
            return cls(space, rated, exposed, regression, state["latent"])


@dataclass(frozen=True)
class HistoryAtCutoff:
    """The history score with the features of one day."""

    score: HistoryScore
    snapshot: FeatureSnapshot

    @property
    def widths(self) -> tuple[int, int]:
        """How many dimensions of the vectors are item features, and how many after them latent factors; the rest is the
        item embedding."""
        return self.snapshot.item_features.shape[1], self.snapshot.latent.shape[1]

    def item_factors(self) -> ItemFactors:
        day = self.snapshot
        return ItemFactors.of(*self.score.regression.item_factors(day.item_features, day.latent, day.item_embeddings))

    def user_factors(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [B, d] and biases float32 [B] of the instances' users, each with its own history."""
        vectors, biases = self.score.regression.user_factors(self.snapshot.users(instances))
        return vectors.astype(np.float32), biases.astype(np.float32)


def days(log_view: LogView, cutoffs: np.ndarray) -> list[np.ndarray]:
    """Places of the cutoffs that share a day; in `users` mode the day is always the same."""
    if log_view.train_users is not None:
        return [np.arange(len(cutoffs))] if len(cutoffs) else []
    return [np.flatnonzero(cutoffs == cutoff) for cutoff in np.unique(cutoffs)]


def _rows(snapshot: FeatureSnapshot, replay: Replay, part: np.ndarray, places: np.ndarray) -> Rows:
    """The exposures at `places` of a replay; all are of its instances at `part`, int [b], ascending."""
    return Rows(
        snapshot.users(replay.instances.take(part)),
        snapshot.item_features,
        snapshot.item_embeddings,
        snapshot.latent,
        np.searchsorted(part, replay.shown.owners[places]),
        replay.shown.values[places],
        replay.labels.values[places] > 0,
    )
