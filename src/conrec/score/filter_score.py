"""The filter's score: how surely a user dislikes a candidate.

There are two. `history`, the default, is a regression on what the log says of user and item (`score.history`). It is
learned on backtest windows of the training period, so validation has no part in it. `paper` is the paper's score, the
largest cosine to a predicted dislike. Both are served in one form (`score.factors`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.files import readable
from conrec.score.factors import ItemFactors
from conrec.score.history import HistoryAtCutoff, HistoryScore
from conrec.score.item_values import ItemValues
from conrec.score.user_side import user_side

Name = Literal["history", "paper"]


@dataclass(frozen=True)
class FilterScore:
    """The score that a filter serves."""

    history: HistoryScore | None = None
    """The learned history score; None for the paper's score."""

    @property
    def name(self) -> Name:
        return "paper" if self.history is None else "history"

    @property
    def cosine_weight(self) -> float:
        """w of `score.factors`: 1 for the paper's score, 0 for the history score."""
        return 1.0 if self.history is None else 0.0

    def at(self, log_view: LogView, cutoff: np.datetime64) -> ScoreAtCutoff:
        """The score as it is served on the day of the cutoff."""
        history = None if self.history is None else self.history.at(log_view, cutoff)
        return ScoreAtCutoff(log_view, history, cutoff)


@dataclass(frozen=True)
class ScoreAtCutoff:
    """A filter score with the log of one day, from which the served factors are made."""

    log_view: LogView
    history: HistoryAtCutoff | None
    cutoff: np.datetime64

    def user_side(self) -> dict[str, np.ndarray] | None:
        """What a user's factors are made from beside the own history; None for the paper's score."""
        history = self.history
        return None if history is None else user_side(history.snapshot, history.score.regression, self.cutoff)

    def item_factors(self) -> ItemFactors:
        """Vectors and biases of all items; for the paper's score the vectors are empty and the biases 0."""
        unit = self.log_view.catalog.unit
        if self.history is None:
            return ItemFactors(unit, np.zeros((len(unit), 0)), np.zeros(len(unit)))
        vectors, biases = self.history.item_factors()
        return ItemFactors(unit, vectors.astype(np.float32), biases.astype(np.float32))

    def parts(self) -> tuple[tuple[int, int], ItemValues | None]:
        """How many dimensions of the vectors are item features and how many after them latent factors, all behind them
        being the embedding's; and what each value of an item adds to that, None where there are no fields."""
        if self.history is None:
            return (0, 0), None
        day, view = self.history.snapshot, self.log_view
        values = ItemValues(self.history.score.space, view.fields, view.content) if any(view.fields) else None
        return (day.item_features.shape[1], day.latent.shape[1]), values

    def user_factors(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [B, d] and biases float32 [B] of the instances' users."""
        if self.history is None:
            return np.zeros((len(instances), 0), np.float32), np.zeros(len(instances), np.float32)
        vectors, biases = self.history.user_factors(instances)
        return vectors.astype(np.float32), biases.astype(np.float32)


def score_name(folder: Path) -> Name:
    """The name of the score that a run's filter stage used, from its folder `filter/seedN`.

    ConrecError where the stage did not write there, or wrote nothing that can be read.
    """
    if not (folder / "replay.json").exists():
        raise ConrecError(f"{folder}: not there or not complete; bring the run as far as filter first")
    with readable(folder, "the filter"):
        name = json.loads((folder / "replay.json").read_text(encoding="utf-8"))["score"]
    if name not in ("history", "paper"):
        raise ConrecError(f"{folder}: its replay.json names no score that is known here; run the filter stage again")
    return "history" if name == "history" else "paper"


def run_score(run: Path, seed: int) -> FilterScore:
    """The score that a run's filter stage used; ConrecError as `score_name`, and where it cannot be read."""
    if score_name(run / "filter" / f"seed{seed}") == "paper":
        return FilterScore()
    return FilterScore(HistoryScore.load(run / "score" / f"seed{seed}"))
