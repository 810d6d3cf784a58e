"""Whether a probability means what it says: reliability diagram and expected calibration error."""

import numpy as np

from conrec.evaluate.bootstrap import bootstrap
from conrec.evaluate.results import Reliability

BINS = 10


def reliability(chances: np.ndarray, disliked: np.ndarray, users: np.ndarray) -> Reliability | None:
    """Exposures in BINS of one size, by their probability of a dislike.

    chances: float [n]; disliked: bool [n]; users: [n], who saw it. None without exposures.
    """
    if not len(chances):
        return None
    ranks = np.argsort(np.argsort(chances, kind="stable"))
    which = ranks * BINS // len(ranks)
    bins = np.arange(which.max() + 1)
    observed = bootstrap(users, np.where(which[:, None] == bins, disliked[:, None], np.nan))
    counts = np.bincount(which)
    predicted = np.bincount(which, chances) / np.maximum(counts, 1)
    off = np.abs(predicted - [one.mean or 0.0 for one in observed])
    return Reliability(
        float(off @ counts / counts.sum()),
        predicted.tolist(),
        *([getattr(one, name) or 0.0 for one in observed] for name in ("mean", "low", "high")),
    )
