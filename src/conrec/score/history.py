"""What the log alone says of a user and an item: signals of the day, tastes, and the combination of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.progress import track
from conrec.score.backtest import Backtest
from conrec.score.embedding import TasteSpace
from conrec.score.regression import Combination, Rows
from conrec.score.user_features import Day, RateTastes

DIMENSIONS, WIDE = 96, 384
"""Of the taste space, and before it is narrowed where rates by attribute say how."""


@dataclass
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
    _last: tuple[LogView, np.datetime64 | None, Day] | None = None
    """The day that was asked for last: a job asks for one day many times, a replay for one after the other."""

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
        for one in track(backtested, "rehearsals"):
            day = Day.of(one.log_view, one.cutoff, features, rated, exposed)
            shown = one.replay.shown
            users = day.users(one.replay.instances)
            disliked = one.replay.labels.values > 0
            rows.append(Rows(users, day.numbers, features, shown.owners, shown.values, disliked))
        combination = Combination.fit(rows)
        plain = Combination.fit([one.without_tastes() for one in rows])
        return cls(space, rated, exposed, combination, plain)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return len(self.combination.item_mean) + self.space.dimensions

    def item_factors(self, log_view: LogView, cutoff: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [n, d] and biases [n] of all items on the day of the cutoff."""
        day = self.day(log_view, cutoff)
        return self.combination.item_factors(day.numbers, day.features)

    def user_factors(self, log_view: LogView, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [B, d] and biases [B] of the instances' users."""
        vectors, biases = np.zeros((len(instances), self.dimensions)), np.zeros(len(instances))
        for part in self.by_day(log_view, instances.cutoffs):
            signals = self.day(log_view, instances.cutoffs[part[0]]).users(instances.take(part))
            vectors[part], biases[part] = self.combination.user_factors(signals)
        return vectors, biases

    def by_day(self, log_view: LogView, cutoffs: np.ndarray) -> list[np.ndarray]:
        """Places of the instances that share a day, by their cuts; in `users` mode the day is always the same."""
        if log_view.train_users is not None:
            return [np.arange(len(cutoffs))] if len(cutoffs) else []
        return [np.flatnonzero(cutoffs == cutoff) for cutoff in np.unique(cutoffs)]

    def day(self, log_view: LogView, cutoff: np.datetime64) -> Day:
        """All that concerns items on that day."""
        key = None if log_view.train_users is not None else cutoff
        if self._last is None or self._last[0] is not log_view or self._last[1] != key:
            features = self.space.of(log_view.fields, log_view.content)
            self._last = log_view, key, Day.of(log_view, cutoff, features, self.rated, self.exposed)
        return self._last[2]

    def state(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        arrays = {f"space/{name}": value for name, value in self.space.state().items()}
        for part in ("combination", "plain"):
            arrays |= {f"{part}/{name}": value for name, value in getattr(self, part).state().items()}
        return arrays | {"rated": np.array(self.rated), "exposed": np.array(self.exposed)}

    def save(self, path: Path) -> None:
        """As one safetensors file."""
        save_file({name: np.ascontiguousarray(value) for name, value in self.state().items()}, path)

    @classmethod
    def load(cls, path: Path) -> HistoryScore:
        """What `save` wrote; ConrecError where it is not there or not readable."""
        try:
            return cls.restore(load_file(path))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise ConrecError(f"{path}: not readable ({error}); run the stage that wrote it again") from error

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> HistoryScore:
        """From `state`."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        space = TasteSpace.restore(part("space/"))
        combination, plain = (Combination.restore(part(f"{name}/")) for name in ("combination", "plain"))
        return cls(space, bool(state["rated"].item()), bool(state["exposed"].item()), combination, plain)
