"""Expected calibration error and the reliability diagram against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.evaluate.reliability import reliability


def test_bins_by_hand() -> None:
    rng = np.random.default_rng(0)
    chances, users = rng.random(205), rng.integers(0, 30, 205)
    disliked = rng.random(205) < chances**2
    found = reliability(chances, disliked, users)
    assert found is not None
    parts = [np.argsort(chances)[np.arange(205) * 10 // 205 == n] for n in range(10)]
    assert found.predicted == pytest.approx([chances[part].mean() for part in parts])
    assert found.observed == pytest.approx([disliked[part].mean() for part in parts])
    expected = sum(len(part) * abs(chances[part].mean() - disliked[part].mean()) for part in parts) / 205
    assert found.ece == pytest.approx(expected)
    assert all(low <= mean <= high for low, mean, high in zip(found.low, found.observed, found.high))


def test_it_tells_what_is_calibrated_from_what_is_not() -> None:
    rng = np.random.default_rng(1)
    chances, users = rng.beta(1, 9, 40_000), rng.integers(0, 900, 40_000)
    disliked = rng.random(40_000) < chances
    calibrated, twice = (reliability(one, disliked, users) for one in (chances, np.minimum(1, 2 * chances)))
    assert calibrated is not None
    assert twice is not None
    assert calibrated.ece < 0.006
    assert twice.ece == pytest.approx(0.1, abs=0.01)
    inside = [low <= p <= high for p, low, high in zip(calibrated.predicted, calibrated.low, calibrated.high)]
    assert sum(inside) >= 8


def test_few_exposures_and_none() -> None:
    assert reliability(np.zeros(0), np.zeros(0, bool), np.zeros(0)) is None
    found = reliability(np.array([0.5, 0.25]), np.array([True, False]), np.array(["a", "b"]))
    assert found is not None
    assert found.ece == pytest.approx((0.25 + 0.5) / 2)
