"""The promise from end to end: a predicted set chosen and a threshold calibrated on one and the same log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from conrec.data.exposures import DISLIKED, LIKED
from conrec.evaluate.risk_control import divided, promise

DECODINGS = 4


@dataclass(frozen=True)
class Log:
    """Exposures of a validation period, with the paper's score for each way of decoding."""

    users: np.ndarray
    labels: np.ndarray
    cosines: np.ndarray
    """float [n, DECODINGS]."""


def sociable(rng: np.random.Generator, users: int) -> Log:
    """Few to many exposures a user; each score sees the dislikes, and is far off for some users with all they like."""
    owner = np.repeat(np.arange(users), 1 + rng.poisson(rng.gamma(1, 4, users)))
    disliked = rng.random(len(owner)) < 0.33

    def cosines() -> np.ndarray:
        return 0.5 * disliked + rng.standard_t(2.5, users)[owner] + 0.5 * rng.normal(size=len(owner))

    labels = np.where(disliked, DISLIKED, LIKED)
    return Log(owner, labels, np.stack([cosines() for _ in range(DECODINGS)], 1))


class Truth:
    """What a threshold costs the users that the logs are drawn from, by very many of them."""

    def __init__(self, users: int = 60_000) -> None:
        log = sociable(np.random.default_rng(99), users)
        liked = log.labels == LIKED
        self._cosines = log.cosines[liked]
        _, owner, counts = np.unique(log.users[liked], return_inverse=True, return_counts=True)
        self._weights = 1 / counts[owner] / len(counts)

    def lost(self, decoding: int, threshold: float) -> float:
        """Share of a user's likes that go, averaged over users."""
        return float(self._weights[self._cosines[:, decoding] > threshold].sum())


def test_the_promise_is_kept_although_one_log_chooses_set_and_threshold() -> None:
    calibrations, budget = 200, 0.05
    rng, truth = np.random.default_rng(1), Truth()
    lost = []
    for _ in range(calibrations):
        log = sociable(rng, 400)
        # The choice looks at dislikes, as decoding does.
        decoding = int(log.cosines[log.labels == DISLIKED].mean(axis=0).argmax())
        liked = log.labels == LIKED
        found = promise(log.cosines[liked, decoding], log.users[liked], budget, divided(0.95, DECODINGS))
        assert found.threshold is not None
        lost.append(truth.lost(decoding, found.threshold))
    assert np.sum(np.array(lost) > budget) <= binom.ppf(0.999, calibrations, 0.05)
    assert np.mean(lost) > 0.2 * budget  # and not by promising nothing
