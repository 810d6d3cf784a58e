"""A snapshot that would hide far more than the one in use is not put into use unseen."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from conrec.deploy.change import hides_more
from conrec.deploy.refresh import accept, roll_back
from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.publish import SnapshotWriter
from conrec.score.factors import ItemFactors
from tests.filter.published import PREDICTED, some_items, some_users

ITEMS, USERS = some_items(), some_users(200)
LIMIT = 3.0
EVEN = np.array([category == "even" for category in ITEMS.categories])


def publish(
    snapshots: Path,
    raised: np.ndarray | float = 0.0,
    most: float | None = None,
    limit: float | None = LIMIT,
    home: float | None = None,
) -> str:
    """A version whose items score so much higher, held where it hides more than `most` times as much. limit, home: the
    thresholds everywhere, and on a surface of that name."""
    old = published.current(snapshots)
    factors = ItemFactors.of(ITEMS.factors.vectors, ITEMS.factors.biases + np.float32(raised))
    calibration, made_from = {"threshold": limit, "segments": None}, {"parent": old, "deltas": []}
    calibration |= {} if home is None else {"surfaces": {"home": {"threshold": home}}}
    items = replace(ITEMS, factors=factors)
    with SnapshotWriter(snapshots, items, PREDICTED, calibration, 0, made_from) as writer:
        writer.add(USERS)
        alarm = None
        if old is not None and most is not None:
            alarm = partial(
                hides_more, snapshots / old, most, True, users=np.array(USERS.ids), items=np.array(ITEMS.ids)
            )
        return writer.publish(alarm=alarm)


def hidden(raised: np.ndarray | float, some: np.ndarray, limit: float = LIMIT) -> float:
    """The share of these items over the threshold, worked out from the formula of the score."""
    factors = ITEMS.factors
    scores = USERS.biases[:, None] + (factors.biases + raised)[None] + USERS.vectors @ factors.vectors.T
    return float((scores[:, some] > limit).mean())


@pytest.mark.parametrize(("raised", "what"), [(1.0, "all items"), (2.5 * EVEN, "the category 'even'")])
def test_far_more_is_held_and_told(tmp_path: Path, raised: np.ndarray | float, what: str) -> None:
    groups = [np.ones(len(EVEN), bool), *(np.array([c == name for c in ITEMS.categories]) for name in (None, "odd"))]
    before, after = hidden(0.0, EVEN), hidden(raised, EVEN)
    assert before > 0.01
    factor = max(hidden(raised, some) / max(hidden(0.0, some), 0.01) for some in (EVEN, *groups))
    first = publish(tmp_path)
    assert publish(tmp_path, raised, factor + 0.5) == published.current(tmp_path)
    published.use(tmp_path, first)
    second = publish(tmp_path, raised, factor - 0.5)
    assert published.current(tmp_path) == first
    held = published.held(tmp_path)
    assert held is not None
    assert held[0] == second
    if "even" in what:
        assert held[1] == f"of {what} it would hide {after:.1%}, not {before:.1%}"
    (tmp_path / "live").mkdir()
    assert accept(tmp_path) == second == published.current(tmp_path)
    assert published.held(tmp_path) is None
    with pytest.raises(ConrecError, match="nothing is held"):
        accept(tmp_path)


def test_what_is_held_can_be_given_up_and_is_kept_until_then(tmp_path: Path) -> None:
    first = publish(tmp_path)
    held = publish(tmp_path, 2.0, 1.1)
    for _ in range(5):  # neither goes when old versions do
        held = publish(tmp_path, 2.0, 1.1)
    assert {first, held} <= set(published.versions(tmp_path))
    (tmp_path / "live").mkdir()
    assert roll_back(tmp_path) == first == published.current(tmp_path)
    assert published.held(tmp_path) is None
    assert held not in published.versions(tmp_path)
    assert publish(tmp_path, 0.01, 2.0) == published.current(tmp_path)


def test_a_budget_that_was_raised_on_purpose_is_no_alarm(tmp_path: Path) -> None:
    publish(tmp_path)
    everything = np.ones(len(EVEN), bool)
    assert hidden(0.0, everything, 1.0) > 2 * hidden(0.0, everything)
    assert publish(tmp_path, 0.0, 2.0, limit=1.0) == published.current(tmp_path)


def test_a_surface_that_would_hide_far_more_is_held_too(tmp_path: Path) -> None:
    everything = np.ones(len(EVEN), bool)
    shares = [hidden(raised, everything) for raised in (0.0, 1.0)]
    publish(tmp_path, limit=None, home=LIMIT)
    assert publish(tmp_path, 0.01, 2.0, limit=None, home=LIMIT) == published.current(tmp_path)
    publish(tmp_path, 1.0, shares[1] / shares[0] / 2, limit=None, home=LIMIT)
    held = published.held(tmp_path)
    assert held is not None
    assert re.fullmatch(r"of .* it would hide [0-9.]+% on home, not [0-9.]+%", held[1])


def test_next_to_nothing_is_no_alarm(tmp_path: Path) -> None:
    everything = np.ones(len(EVEN), bool)
    shares = [hidden(raised, everything, 6.0) for raised in (0.0, 1.0)]
    assert 0 < 2 * shares[0] < shares[1] < 0.01
    publish(tmp_path, limit=6.0)
    assert publish(tmp_path, 1.0, 2.0, limit=6.0) == published.current(tmp_path)
