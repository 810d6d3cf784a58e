"""Leanings are their formulas, know nothing of the day itself, and count by their exponents."""

from dataclasses import replace

import numpy as np
import pytest

from conrec.data.instances import Instances
from conrec.decode.exposures import ITEM_DAYS, ITEM_SMOOTHING, LEAST_DAYS, OWN_DAYS, OWN_SMOOTHING, Exposures
from conrec.decode.leanings import CoDislikes, Setting, follow, leaned, of_some, pull, remembered
from conrec.items.codislikes import co_dislikes
from tests.small_log import CUTS, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
DAY = np.timedelta64(1, "D")
CONTENT = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def instances() -> Instances:
    found = all_instances(LOG)
    return found.take(np.flatnonzero(np.isin(found.cuts, CUTS)))


def test_pull_is_the_cosine_to_the_nearest_past_dislike(instances: Instances) -> None:
    some = np.array([5, 0, 9])
    found = pull(instances, CONTENT)(some)
    for row, n in enumerate(some):
        for item in range(N):
            past = instances.dislikes[n]
            nearest = max((float(CONTENT[item] @ CONTENT[j]) for j in past), default=0.0)
            assert found[row, item] == pytest.approx(nearest, abs=1e-5)


def test_follow_sums_what_was_known_at_midnight(instances: Instances) -> None:
    found = follow(instances, CoDislikes(LOG, N))(np.arange(len(instances)))
    for n in range(0, len(instances), 7):
        known = co_dislikes(LOG.take(LOG.times < instances.cuts[n]), N).toarray()
        expected = np.log1p(10 * known[instances.dislikes[n]].sum(axis=0))
        np.testing.assert_allclose(found[n], expected, atol=1e-5)


def test_a_cut_within_a_day_knows_nothing_of_that_day(instances: Instances) -> None:
    late = Instances(**{**instances.__dict__, "cuts": instances.cuts + np.timedelta64(17, "h")})
    every = np.arange(len(instances))
    np.testing.assert_array_equal(follow(late, CoDislikes(LOG, N))(every), follow(instances, CoDislikes(LOG, N))(every))


def test_by_users_only_the_known_ones_count_and_at_all_times(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    found = follow(instances, CoDislikes(LOG, N, known))(np.arange(len(instances)))
    matrix = co_dislikes(LOG.take(np.isin(LOG.users, known)), N).toarray()
    for n in range(0, len(instances), 9):
        np.testing.assert_allclose(found[n], np.log1p(10 * matrix[instances.dislikes[n]].sum(axis=0)), atol=1e-5)


def log_shown(user: str, cut: np.datetime64) -> np.ndarray:
    """The two shares of `decode.exposures`, counted event by event."""
    category = [name or "" for name in ITEMS.categories]
    own = dict.fromkeys(category, OWN_SMOOTHING)
    met = np.full(N, ITEM_SMOOTHING)
    for name, item, time in zip(LOG.users, LOG.items, LOG.times):
        if time < cut:
            met[item] += np.exp(-((cut - time) / DAY) / ITEM_DAYS)
            if name == user:
                own[category[item]] += np.exp(-((cut - time) / DAY) / OWN_DAYS)
    for item, first in enumerate(ITEMS.first_seen):
        if first < cut:
            met[item] /= 1 - np.exp(-max((cut - first) / DAY, LEAST_DAYS) / ITEM_DAYS)
    of_category = {name: sum(met[i] for i in range(N) if category[i] == name) for name in own}
    return np.array(
        [np.log(own[c] / sum(own.values())) + np.log(met[i] / of_category[c]) for i, c in enumerate(category)]
    )


def test_exposures_are_the_shares_counted_event_by_event(instances: Instances) -> None:
    some = np.arange(0, len(instances), 11)
    found = Exposures(ITEMS, LOG).of(instances)(some)
    for row, n in enumerate(some):
        np.testing.assert_allclose(found[row], log_shown(instances.users[n], instances.cuts[n]), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-4)


def test_a_stranger_is_shown_what_is_shown(instances: Instances) -> None:
    stranger = Instances(**{**instances.__dict__, "users": np.full(len(instances), "zz")})
    found = Exposures(ITEMS, LOG).of(stranger)(np.array([0]))[0]
    np.testing.assert_allclose(found, log_shown("zz", instances.cuts[0]), rtol=1e-4)


def test_what_is_new_counts_as_if_it_had_always_been_there(instances: Instances) -> None:
    """Met every six hours since it came three days ago, it is as likely as what was met so all the time."""
    cut = np.datetime64("2026-03-01", "us")
    hours = np.timedelta64(6, "h")
    old, new = (np.arange(cut - days * DAY, cut, hours) for days in (100, 3))
    items = replace(
        ITEMS,
        categories=["c"] * N,
        first_seen=np.array([old[0], new[0], *[cut + DAY] * (N - 2)], "datetime64[us]"),
    )
    times = np.concatenate([old, new])
    rows = np.repeat([0, 1], [len(old), len(new)])
    order = np.argsort(times, kind="stable")
    log = replace(LOG.take(np.arange(len(times)) % len(LOG)), items=rows[order].astype(np.int32), times=times[order])
    one = instances.take(np.array([0]))
    one.cuts[:] = cut
    found = np.exp(Exposures(items, log).of(one)(np.array([0]))[0])
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert found[2:].max() < 0.01 * found[0]


def test_nothing_after_the_cut_is_looked_at(instances: Instances) -> None:
    cut = CUTS[1]
    some = np.flatnonzero(instances.cuts == cut)
    before = LOG.take(LOG.times < cut)
    for whole, part in (
        (Exposures(ITEMS, LOG).of(instances), Exposures(ITEMS, before).of(instances)),
        (follow(instances, CoDislikes(LOG, N)), follow(instances, CoDislikes(before, N))),
    ):
        np.testing.assert_array_equal(whole(some), part(some))


def test_by_users_items_are_counted_in_the_known_users_whole_log(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    found = Exposures(ITEMS, LOG, known).of(instances)(np.arange(len(instances)))
    counts = np.bincount(LOG.items[np.isin(LOG.users, known)], minlength=N) + ITEM_SMOOTHING
    one = [i for i, c in enumerate(ITEMS.categories) if c == "c1"]
    shares = np.exp(found[:, one])
    np.testing.assert_allclose(
        shares / shares.sum(axis=1, keepdims=True), [counts[one] / counts[one].sum()] * len(found), rtol=1e-4
    )


def test_a_setting_names_what_counts() -> None:
    leanings = {"follow": lambda index: np.ones((len(index), 3)), "pull": lambda index: np.zeros((len(index), 3))}
    assert leaned(Setting(prior=2.0), {}) == []
    ((exponent, leaning),) = leaned(Setting(follow=0.5), leanings)
    assert exponent == 0.5
    assert leaning is leanings["follow"]
    with pytest.raises(KeyError):
        leaned(Setting(aversion=1.0), leanings)


def test_some_of_the_instances_and_a_remembered_answer() -> None:
    asked: list[list[int]] = []

    def leaning(index: np.ndarray) -> np.ndarray:
        asked.append(index.tolist())
        return index[:, None] * 1.0

    found = of_some({"pull": remembered(leaning)}, np.array([7, 3, 5]))["pull"]
    for index in ([2, 0], [2, 0], [1], [1, 2], []):
        assert found(np.array(index, int)).ravel().tolist() == [[7.0, 3.0, 5.0][n] for n in index]
    assert asked == [[5, 7], [3], []]


def test_what_is_remembered_has_a_limit_but_for_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.decode.leanings.KEPT", 16)  # two answers of one number
    asked: list[int] = []

    def leaning(index: np.ndarray) -> np.ndarray:
        asked.append(int(index[0]))
        return index[:, None] * 1.0

    one = remembered(leaning)
    for n in (0, 1, 2, 2, 0, 1, 3, 2):
        assert one(np.array([n])).tolist() == [[n]]
    assert asked == [0, 1, 2, 3, 2]
