"""The history score of a run: learned from the training period alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conrec.data.split import Split
from conrec.filtering.history import HistoryScore
from conrec.filtering.past import Past
from conrec.filtering.rehearsal import Rehearsal

HISTORY = "history.safetensors"
"""As which predict leaves it in its folder, where decoding leans on it."""


def fit_history(past: Past, split: Split, rehearsed: Sequence[Rehearsal], seed: int) -> HistoryScore:
    """ValueError where the rehearsals do not hold both signs."""
    if split.validation_start is None:
        known_items = np.arange(len(past.items))
    else:
        known_items = np.flatnonzero(past.items.first_seen < split.validation_start)
    return HistoryScore.fit(past, known_items, rehearsed, seed)
