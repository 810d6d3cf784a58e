"""The segments that thresholds may be calibrated for: an item's category, or how active a user was."""

from typing import Any

import numpy as np
import pyarrow as pa

ACTIVITY = ("low", "middle", "high")
NO_CATEGORY = ""
"""The segment of items without a category."""


def activity_segments(counts: np.ndarray, edges: list[float]) -> np.ndarray:
    """str [n]: low up to the first edge, middle up to the second, high beyond."""
    return np.array(ACTIVITY)[np.searchsorted(edges, counts, side="left")]


class Thresholds:
    """What a calibration (`calibration.json`) says of one user's candidates. Drop what scores *above* a threshold.

    A segment without a threshold, or one that the calibration never met, was promised nothing: nothing of it goes.
    """

    def __init__(self, calibration: dict[str, Any] | None, categories: pa.Array | None = None) -> None:
        """categories: of the items, string [n]; only thresholds by category need them.

        KeyError, TypeError or ValueError for what is no calibration.
        """
        self.calibration = calibration = calibration or {"threshold": None}
        segments = calibration.get("segments")
        self._everything = _limit(calibration["threshold"])
        self._of_item: np.ndarray | None = None
        self._of_activity: np.ndarray | None = None
        if segments is None:
            return
        limits = {str(name): _limit(value) for name, value in segments["thresholds"].items()}
        if segments["by"] == "category" and categories is not None:
            # Through the dictionary: a catalogue has many items and few categories.
            encoded = categories.fill_null(NO_CATEGORY).dictionary_encode()
            of_category = np.array([limits.get(name, np.inf) for name in encoded.dictionary.to_pylist()], np.float64)
            self._of_item = of_category[np.from_dlpack(encoded.indices)]
        elif segments["by"] == "activity":
            self._edges = np.array(segments["edges"], np.float64)
            self._of_activity = np.array([limits.get(name, np.inf) for name in ACTIVITY])
        else:
            raise ValueError(f"segments by {segments['by']}")

    def of(self, activity: int, rows: np.ndarray) -> float | np.ndarray:
        """For all candidates (int [c], rows of the items; -1 is unknown) or one each, float64 [c]; inf: none goes."""
        if self._of_item is not None:
            return self._of_item.take(rows, mode="clip")
        if self._of_activity is not None:
            return float(self._of_activity[np.searchsorted(self._edges, activity, side="left")])
        return self._everything


def _limit(threshold: float | None) -> float:
    return np.inf if threshold is None else float(threshold)
