"""The history score of a run: learned from the training period alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conrec.data.split import Split
from conrec.features.log_view import LogView
from conrec.score.backtest import Backtest
from conrec.score.history import HistoryScore

HISTORY = "history.safetensors"
"""As which predict leaves it in its folder, where decoding leans on it."""


def fit_history(log_view: LogView, split: Split, backtested: Sequence[Backtest], seed: int) -> HistoryScore:
    """ValueError where the backtests do not hold both signs."""
    if split.validation_start is None:
        known_items = np.arange(len(log_view.items))
    else:
        known_items = np.flatnonzero(log_view.items.first_seen < split.validation_start)
    return HistoryScore.fit(log_view, known_items, backtested, seed)
