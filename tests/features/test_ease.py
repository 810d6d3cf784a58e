"""EASE as an item feature, by least squares target by target."""

from dataclasses import replace

import numpy as np
import pytest

from conrec.features import ease
from conrec.features.ease import FEWEST, L2, Ease, ease_weights
from conrec.features.log_view import LogView
from tests.features.log_view_for_tests import cut_short, small_log_view
from tests.small_log import CUTS, all_instances

VIEW = small_log_view()
INSTANCES = all_instances(VIEW.events)


def by_hand(view: LogView, users: np.ndarray, moment: np.datetime64 | None) -> dict[tuple[str, int], dict]:
    """The weights of each target from everything that these users did before the moment."""
    kept = np.isin(view.events.users, users)
    if moment is not None:
        kept &= view.events.times < moment
    log = view.events.take(kept)
    pairs = {(user, kind, item) for user, kind, item in zip(log.users, log.kinds, log.items.tolist())}
    columns = []
    for kind in ("dislike", "favorite"):
        counts = np.bincount([item for _, own, item in pairs if own == kind], minlength=len(view.items))
        columns += [(kind, int(item)) for item in np.flatnonzero(counts >= FEWEST)]
    x = np.array([[(user, kind, item) in pairs for kind, item in columns] for user in users], float)
    found = {}
    for place, (kind, target) in enumerate(columns):
        if kind == "dislike":
            others = np.delete(np.arange(len(columns)), place)
            own = x[:, others]
            weights = np.linalg.solve(own.T @ own + L2 * np.eye(len(others)), own.T @ x[:, place])
            found[target] = {columns[other]: weight for other, weight in zip(others, weights)}
    return found


def expected(view: LogView, weights: dict, user: str, cutoff: np.datetime64) -> np.ndarray:
    own = view.events.take((view.events.users == user) & (view.events.times < cutoff))
    history = {(kind, item) for kind, item in zip(own.kinds, own.items.tolist())}
    out = np.zeros(len(view.items))
    for target, of_target in weights.items():
        out[target] = sum(of_target.get(event, 0.0) for event in history)
    return out / max(out.std(), 1e-30)


def distinct(view: LogView) -> LogView:
    """Each pair of user and item once: a like counts at its first."""
    events = view.events
    _, first = np.unique(np.stack([events.numbers, events.items]), axis=1, return_index=True)
    return replace(view, events=events.take(np.sort(first)))


def test_the_score_is_that_of_least_squares_for_each_target_on_the_log_before_the_week() -> None:
    view = distinct(VIEW)
    instances = all_instances(view.events)
    found = Ease(view).log_weight(instances)
    everybody = np.unique(view.events.users)
    for week in np.unique(instances.cutoffs.astype("datetime64[W]")):
        weights = by_hand(view, everybody, week.astype("datetime64[us]"))
        for n in np.flatnonzero(instances.cutoffs.astype("datetime64[W]") == week)[::11]:
            wanted = expected(view, weights, instances.users[n], instances.cutoffs[n])
            np.testing.assert_allclose(found[n], wanted, atol=1e-4)
    assert np.abs(found).max() > 1


def test_by_users_only_the_known_ones_are_learned_from_and_at_all_times() -> None:
    view = distinct(VIEW)
    known = np.unique(view.events.users)[::2]
    instances = all_instances(view.events)
    found = Ease(replace(view, train_users=known)).log_weight(instances)
    weights = by_hand(view, known, None)
    for n in range(0, len(instances), 13):
        wanted = expected(view, weights, instances.users[n], instances.cutoffs[n])
        np.testing.assert_allclose(found[n], wanted, atol=1e-4)


def test_nothing_after_the_cutoff_is_looked_at() -> None:
    some = INSTANCES.take(INSTANCES.cutoffs == CUTS[1])
    whole, part = (Ease(view).log_weight(some) for view in (VIEW, cut_short(VIEW, CUTS[1])))
    np.testing.assert_array_equal(whole, part)


def test_before_the_first_event_all_items_are_alike() -> None:
    early = replace(INSTANCES.take(np.arange(2)), cutoffs=np.full(2, VIEW.events.times[0] - np.timedelta64(9, "D")))
    assert not Ease(VIEW).log_weight(early).any()


def test_only_the_largest_weights_of_a_target_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ease(VIEW)
    monkeypatch.setattr(ease, "WEIGHTS", 5)
    part = Ease(VIEW)
    week = CUTS[0].astype("datetime64[W]")
    (_, all_of_them), (_, kept) = whole._fitted(week), part._fitted(week)
    for column, few in zip(all_of_them.toarray().T, kept.toarray().T):
        assert np.count_nonzero(few) == 5
        np.testing.assert_array_equal(np.sort(np.abs(few))[-5:], np.sort(np.abs(column))[-5:])


def test_no_item_speaks_for_itself() -> None:
    x = np.random.default_rng(0).random((50, 8)) < 0.3
    weights = ease_weights((x.T @ x).astype(float), 5, 3.0)
    assert weights.shape == (8, 5)
    assert not np.diag(weights).any()
