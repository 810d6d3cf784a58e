from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.baselines import base
from conrec.baselines.base import LikeCounts, Recommender, best
from conrec.baselines.trivial import Popularity
from conrec.data.instances import Instances
from tests.small_log import CUTS, all_instances, small_known, small_log


class Constant(Recommender):
    """Everything alike: what comes out is the tie rule."""

    name = "constant"

    def scores(self, instances: Instances) -> np.ndarray:
        return np.zeros((len(instances), len(self.known.items)), np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 15), st.integers(0, 10_000))
def test_best_is_a_full_sort(users: int, items: int, k: int, seed: int) -> None:
    scores = np.random.default_rng(seed).choice([-np.inf, 0, 1, 2, 3.5], (users, items))
    found = best(scores, k)
    assert found.shape == (users, k)
    for row, named in zip(scores, found):
        order = sorted((-value, n) for n, value in enumerate(row) if value > -np.inf)
        assert named.tolist() == [*(n for _, n in order), *[-1] * k][:k]


def test_only_items_on_offer_and_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    items, log = small_log(events=200)
    instances, known = all_instances(log), small_known(items, log)
    system = Constant()
    system.fit(known)
    lists = system.recommend(instances, 10)
    for n, named in enumerate(lists):
        allowed = [
            row
            for row in range(len(items))
            if items.first_seen[row] < instances.cutoffs[n] and row not in instances.seen[n]
        ]
        assert named.tolist() == [*allowed, *[-1] * 10][:10]
    monkeypatch.setattr(base, "CELLS_AT_ONCE", 3 * len(items))
    assert (system.recommend(instances, 10) == lists).all()


def test_candidates_are_scored_as_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    items, log = small_log()
    instances = all_instances(log)
    system = Popularity(14)
    system.fit(small_known(items, log))
    candidates = np.random.default_rng(0).integers(-1, len(items), (len(instances), 6)).astype(np.int32)
    monkeypatch.setattr(base, "CELLS_AT_ONCE", 5 * len(items))
    found = system.score_candidates(instances, candidates)
    whole = system.scores(instances)
    for n, row in enumerate(candidates):
        assert found[n].tolist() == [-np.inf if c < 0 else whole[n, c] for c in row]


def test_likes_are_counted_once_a_user_and_item() -> None:
    items, events = small_log()
    likes = LikeCounts(items, events)
    pairs = {
        (user, item)
        for user, item, time, kind in zip(events.users, events.items, events.times, events.kinds)
        if kind == "favorite" and time < CUTS[0]
    }
    expected = np.bincount([item for _, item in pairs], minlength=len(items))
    assert likes.before(CUTS[0]).tolist() == expected.tolist()
