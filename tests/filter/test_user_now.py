"""A user as of now: what is kept of an update, and what a dislike that came or went says of what was shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.filter import user_now as module
from conrec.filter.feedback import Feedback
from conrec.filter.filter import CoNRecFilter
from conrec.filter.publish import write_snapshot
from conrec.filter.user_now import _shown, user_now
from conrec.score.user_history import SHOWN
from tests.filter.published import some_items, some_users


@pytest.fixture
def loaded(tmp_path: Path) -> CoNRecFilter:
    write_snapshot(tmp_path, some_items(), some_users(12))
    return CoNRecFilter.load(tmp_path)


def test_one_update_a_user_is_kept_until_the_next_dislike(loaded: CoNRecFilter, tmp_path: Path) -> None:
    now, feedback = loaded.snapshot, Feedback(tmp_path)  # as of another process
    assert user_now(now, feedback, "u3")[0].history.rejected["item"].size == 3
    assert now.updated == {}  # who said nothing since is read from the store
    found = []
    for item in ("i1", "i2", "i3"):
        loaded.dislike("u3", item)
        first, again = (user_now(now, feedback, "u3")[0] for _ in range(2))
        assert first is again
        assert list(now.updated) == ["u3"]
        found.append(set(first.history.rejected["item"].tolist()))
    assert all(set(range(1, n + 2)) <= items for n, items in enumerate(found))
    loaded.undo_dislike("u3", "i2")
    assert 2 not in user_now(now, feedback, "u3")[0].history.rejected["item"]


def test_what_is_kept_is_bounded(loaded: CoNRecFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 4)
    for n in range(20):
        loaded.dislike(f"u{n % 12}", "i5")
        decision = loaded.filter(f"u{n % 12}", ["i4", "i5", "i6"])
        assert "i5" in decision.never_again
        assert 0 < len(loaded.snapshot.updated) <= 4


def one_by_one(shown: np.ndarray, come: list[int], gone: list[int]) -> np.ndarray:
    for row, change in [(row, -1) for row in come] + [(row, 1) for row in gone]:
        at = int(np.searchsorted(shown["item"], row))
        if at < len(shown) and shown["item"][at] == row:
            shown = shown.copy()
            shown["count"][at] += change if shown["count"][at] <= 0 else 0
        elif change < 0:
            shown = np.insert(shown, at, np.array((row, change), SHOWN))
    return shown


@given(
    st.dictionaries(st.integers(0, 9), st.integers(-2, 3), max_size=6),
    st.lists(st.integers(0, 11), max_size=8),
    st.sets(st.integers(0, 11), max_size=4),
)
def test_dislikes_say_what_was_shown(shown: dict[int, int], come: list[int], gone: set[int]) -> None:
    before = np.array(sorted(shown.items()), SHOWN)
    expected = one_by_one(before.copy(), come, sorted(gone))
    found = _shown(before, np.array(come, np.int32), np.array(sorted(gone), np.int32))
    np.testing.assert_array_equal(found, expected)
    assert before.tolist() == sorted(shown.items())
