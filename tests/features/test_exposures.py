"""What users will be shown: the shares are their formulas, and the weights the likeliest ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from conrec.data.instances import Events, Instances
from conrec.features.exposures import (
    ITEM_DAYS,
    ITEM_SMOOTHING,
    LEAST_DAYS,
    NAMES,
    TRACES,
    USUAL,
    ExposureLikelihood,
    most_likely,
)
from tests.data.events import events_of
from tests.small_log import CUTS, START, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
WEIGHTS = dict(zip(NAMES, (0.3, 0.0, 0.02, 0.5, 0.1, 0.0)))
CATEGORIES = [name or "" for name in ITEMS.categories]


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG)


def log_shown(user: str, cutoff: np.datetime64) -> np.ndarray:
    """The two shares of `features.exposures`, counted event by event."""
    own = dict.fromkeys(CATEGORIES, 0.0)
    met = np.full(N, ITEM_SMOOTHING)
    for name, item, time, kind in zip(LOG.users, LOG.items, LOG.times, LOG.kinds):
        if time < cutoff:
            met[item] += np.exp(-((cutoff - time) / DAY) / ITEM_DAYS)
            for (liked, days), weight in zip(TRACES, WEIGHTS.values()):
                if name == user and (kind == "favorite" or not liked):
                    own[CATEGORIES[item]] += weight * np.exp(-((cutoff - time) / DAY) / days)
    for item, first in enumerate(ITEMS.first_seen):
        if first < cutoff:
            met[item] /= 1 - np.exp(-max((cutoff - first) / DAY, LEAST_DAYS) / ITEM_DAYS)
    of_category = {name: sum(met[i] for i in range(N) if CATEGORIES[i] == name) for name in own}
    share = {name: of_category[name] / met.sum() + own[name] for name in own}
    total = sum(share.values())
    return np.array([np.log(share[c] / total) + np.log(met[i] / of_category[c]) for i, c in enumerate(CATEGORIES)])


def test_exposures_are_the_shares_counted_event_by_event(instances: Instances) -> None:
    some = np.arange(0, len(instances), 11)
    found = ExposureLikelihood(ITEMS, LOG, weights=WEIGHTS).log_weight(instances.take(some))
    for row, n in enumerate(some):
        np.testing.assert_allclose(found[row], log_shown(instances.users[n], instances.cutoffs[n]), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-4)


def test_a_stranger_is_shown_what_everybody_is_shown(instances: Instances) -> None:
    stranger = replace(instances, users=np.full(len(instances), "zz"))
    found = ExposureLikelihood(ITEMS, LOG, weights=WEIGHTS).log_weight(stranger)[0]
    np.testing.assert_allclose(found, log_shown("zz", instances.cutoffs[0]), rtol=1e-4)


def test_what_is_new_counts_as_if_it_had_always_been_there(instances: Instances) -> None:
    """Met every six hours since it came three days ago, it is as likely as what was met so all the time."""
    cutoff = np.datetime64("2026-03-01", "us")
    hours = np.timedelta64(6, "h")
    old, new = (np.arange(cutoff - days * DAY, cutoff, hours) for days in (100, 3))
    items = replace(
        ITEMS,
        categories=["c"] * N,
        first_seen=np.array([old[0], new[0], *[cutoff + DAY] * (N - 2)], "datetime64[us]"),
    )
    times = np.concatenate([old, new])
    rows = np.repeat([0, 1], [len(old), len(new)])
    order = np.argsort(times, kind="stable")
    log = replace(LOG.take(np.arange(len(times)) % len(LOG)), items=rows[order].astype(np.int32), times=times[order])
    one = instances.take(np.array([0]))
    one.cutoffs[:] = cutoff
    found = np.exp(ExposureLikelihood(items, log, weights=WEIGHTS).log_weight(one)[0])
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert found[2:].max() < 0.01 * found[0]


def test_nothing_after_the_cut_is_looked_at(instances: Instances) -> None:
    cutoff = CUTS[1]
    some = instances.take(instances.cutoffs == cutoff)
    before = LOG.take(LOG.times < cutoff)
    whole, part = (ExposureLikelihood(ITEMS, log, weights=WEIGHTS).log_weight(some) for log in (LOG, before))
    np.testing.assert_array_equal(whole, part)


def test_by_users_items_are_counted_in_the_known_users_whole_log(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    found = np.exp(ExposureLikelihood(ITEMS, LOG, known, WEIGHTS).log_weight(instances))
    counts = np.bincount(LOG.items[np.isin(LOG.users, known)], minlength=N) + ITEM_SMOOTHING
    one = [i for i, c in enumerate(ITEMS.categories) if c == "c1"]
    shares = found[:, one] / found[:, one].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, [counts[one] / counts[one].sum()] * len(found), rtol=1e-4)


def test_weights_are_the_likeliest() -> None:
    """Against a general optimiser, on categories drawn with known weights."""
    rng = np.random.default_rng(0)
    true = np.array([1.0, 0.5, 0.0, 0.05])
    counts = rng.gamma(0.5, 4.0, (400, 6, 4))  # users, categories, traces
    counts[:, :, 0] = 1 / 6
    owners = np.repeat(np.arange(400), 5)
    shares = counts @ true
    shares = shares / shares.sum(axis=1, keepdims=True)
    met = np.array([rng.choice(6, p=shares[owner]) for owner in owners])
    of_met, totals = counts[owners, met], counts.sum(axis=1)

    def loss(logs: np.ndarray) -> float:
        weights = np.exp(np.append(0.0, logs))
        return -float(np.log((of_met @ weights) / (totals @ weights)[owners]).mean())

    found = most_likely(of_met, totals, owners)
    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9, "maxiter": 5000})
    found = found / found[0]
    assert -np.log((of_met @ found) / (totals @ found)[owners]).mean() == pytest.approx(best.fun, abs=1e-5)
    assert found[1] == pytest.approx(0.5, abs=0.15)
    assert found[3] < 0.15
    assert found[2] < 0.05


def follower(rng: np.random.Generator, follows: str) -> Events:
    """Once a week each user likes something; what is shown until the next time is of its category, or of any."""
    users, items, times, kinds = [], [], [], []
    rows = {name: [i for i in range(N) if CATEGORIES[i] == name] for name in set(CATEGORIES)}
    names = sorted(rows)
    for user in range(60):
        category = str(rng.choice(names))
        for day in range(42):
            if day % 7 == 0:
                category = str(rng.choice(names))
                users.append(f"u{user}")
                items.append(rng.choice(rows[category]))
                times.append(START + day * DAY - np.timedelta64(1, "h"))
                kinds.append("click")
            shown = category if follows == "likes" else str(rng.choice(names))
            users.append(f"u{user}")
            items.append(rng.choice(rows[shown]))
            times.append(START + day * DAY + np.timedelta64(int(rng.integers(86_000)), "s"))
            kinds.append("exposure")
    order = np.argsort(np.array(times), kind="stable")
    return events_of(
        np.array(users)[order],
        np.array(items, np.int32)[order],
        np.array(times, "datetime64[us]")[order],
        np.array(kinds)[order],
        np.full(len(order), np.nan),
    )


def moments(log: Events, weeks: list[int]) -> Instances:
    """Every user at the beginning of some weeks."""
    users = np.unique(log.users)
    one = all_instances(LOG).take(np.zeros(len(users) * len(weeks), int))
    return replace(
        one, users=np.tile(users, len(weeks)), cutoffs=np.repeat([START + w * WEEK for w in weeks], len(users))
    )


@pytest.mark.parametrize("follows", ["likes", "nothing"])
def test_what_a_platform_follows_is_learned(follows: str) -> None:
    log = follower(np.random.default_rng(1), follows)
    by_name = ExposureLikelihood(ITEMS, log).learn(moments(log, [2, 3, 4]), WEEK)
    latest = by_name["liked, 7 days"]
    if follows == "likes":
        assert latest > 5  # one of eight, the item liked first, is of any category
        assert latest > 10 * max(value for name, value in by_name.items() if name != "liked, 7 days")
    else:
        assert max(by_name.values()) < 0.05


def test_learning_looks_no_further_than_the_horizon() -> None:
    log = follower(np.random.default_rng(2), "likes")
    some = moments(log, [1, 2])
    before = log.take(log.times < START + 3 * WEEK)
    assert ExposureLikelihood(ITEMS, log).learn(some, WEEK) == ExposureLikelihood(ITEMS, before).learn(some, WEEK)
    assert ExposureLikelihood(ITEMS, log).learn(some, WEEK) != ExposureLikelihood(ITEMS, log).learn(some, 3 * DAY)


def test_without_training_instances_what_was_met_counts(instances: Instances) -> None:
    assert ExposureLikelihood(ITEMS, LOG).learn(instances.take(np.zeros(0, int)), WEEK) == USUAL
    assert sum(USUAL.values()) == 1
