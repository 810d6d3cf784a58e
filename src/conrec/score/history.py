"""The history score: what the log alone says of how surely a user dislikes an item, learned on backtest windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from conrec.data.exposures import Replay
from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.progress import track
from conrec.score.backtest import Backtest
from conrec.score.embedding import TasteSpace
from conrec.score.regression import Combination, Rows
from conrec.score.user_features import Day, RateTastes

FILE = "history.safetensors"
DIMENSIONS, WIDE = 96, 384
"""Of the taste space, and before it is narrowed where rates by attribute say how."""


@dataclass(frozen=True)
class HistoryScore:
    """Log-odds that a shown item is disliked rather than liked, from histories."""

    space: TasteSpace
    rated: bool
    """Whether the log has ratings."""
    exposed: bool
    """Whether it has what was shown."""
    combination: Combination
    plain: Combination
    """The same without tastes, for the ablation."""

    @classmethod
    def fit(cls, log_view: LogView, known_items: np.ndarray, backtested: Sequence[Backtest], seed: int) -> HistoryScore:
        """Learn from backtests.

        known_items: int [k], rows of the items of the training period. ValueError where the backtests do not hold
        both signs.
        """
        rated, exposed = bool(log_view.events.rated.any()), log_view.events.has_exposures
        space = TasteSpace.fit(log_view.fields, log_view.content, known_items, WIDE if exposed else DIMENSIONS, seed)
        features = space.of(log_view.fields, log_view.content)
        if exposed and backtested:
            tastes = [
                RateTastes.of(one.log_view.attribute_rates, one.cutoff, features).users(one.replay.instances)
                for one in backtested
            ]
            space = space.narrowed(features[known_items], np.concatenate(tastes), DIMENSIONS)
            features = space.of(log_view.fields, log_view.content)
        rows = []
        for one in track(backtested, "backtest windows"):
            day = Day.of(one.log_view, one.cutoff, features, rated, exposed)
            shown = one.replay.shown
            users = day.users(one.replay.instances)
            disliked = one.replay.labels.values > 0
            rows.append(Rows(users, day.numbers, features, shown.owners, shown.values, disliked))
        combination = Combination.fit(rows)
        plain = Combination.fit([one.without_tastes() for one in rows])
        return cls(space, rated, exposed, combination, plain)

    def at(self, log_view: LogView, cutoff: np.datetime64, features: np.ndarray | None = None) -> HistoryAtCutoff:
        """The score with all features of the day of the cutoff; in `users` mode that is the same on every day.

        features: the items in the space, where the caller has them.
        """
        if features is None:
            features = self.space.of(log_view.fields, log_view.content)
        return HistoryAtCutoff(self, Day.of(log_view, cutoff, features, self.rated, self.exposed))

    def replay_scores(self, log_view: LogView, replay: Replay) -> tuple[np.ndarray, np.ndarray]:
        """Scores of everything shown, each at its own cutoff, and what they would be without tastes; float64 twice."""
        owners, shown = replay.shown.owners, replay.shown.values
        whole, plain = np.empty(len(shown)), np.empty(len(shown))
        for part in days(log_view, replay.instances.cutoffs):
            day = self.at(log_view, replay.instances.cutoffs[part[0]]).day
            some = np.flatnonzero(np.isin(owners, part))
            rows = Rows(
                day.users(replay.instances.take(part)),
                day.numbers,
                day.features,
                np.searchsorted(part, owners[some]),
                shown[some],
                replay.labels.values[some] > 0,
            )
            whole[some], plain[some] = self.combination.scores(rows), self.plain.scores(rows)
        return whole, plain

    def state(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        arrays = {f"space/{name}": value for name, value in self.space.state().items()}
        for part in ("combination", "plain"):
            arrays |= {f"{part}/{name}": value for name, value in getattr(self, part).state().items()}
        return arrays | {"rated": np.array(self.rated), "exposed": np.array(self.exposed)}

    def save(self, folder: Path) -> None:
        """Write it into a folder as one safetensors file."""
        save_file({name: np.ascontiguousarray(value) for name, value in self.state().items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> HistoryScore:
        """What `save` wrote into the folder; ConrecError where it is not there or not readable."""
        try:
            return cls.restore(load_file(folder / FILE))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise ConrecError(f"{folder / FILE}: not readable ({error}); run the score stage again") from error

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> HistoryScore:
        """From `state`."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        space = TasteSpace.restore(part("space/"))
        combination, plain = (Combination.restore(part(f"{name}/")) for name in ("combination", "plain"))
        return cls(space, bool(state["rated"].item()), bool(state["exposed"].item()), combination, plain)


@dataclass(frozen=True)
class HistoryAtCutoff:
    """The history score with the features of one day."""

    score: HistoryScore
    day: Day

    def item_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [n, d] and biases [n] of all items."""
        return self.score.combination.item_factors(self.day.numbers, self.day.features)

    def user_factors(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [B, d] and biases [B] of the instances' users, each with its own history."""
        return self.score.combination.user_factors(self.day.users(instances))


def days(log_view: LogView, cutoffs: np.ndarray) -> list[np.ndarray]:
    """Places of the cutoffs that share a day; in `users` mode the day is always the same."""
    if log_view.train_users is not None:
        return [np.arange(len(cutoffs))] if len(cutoffs) else []
    return [np.flatnonzero(cutoffs == cutoff) for cutoff in np.unique(cutoffs)]
