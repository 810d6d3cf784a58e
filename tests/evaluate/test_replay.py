from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.baselines.base import LikeCounts, TrainingData
from conrec.baselines.rates import Bias, ItemRate, UserRate
from conrec.baselines.trivial import Popularity
from conrec.data.exposures import DISLIKED, LIKED, NEUTRAL, Replay, replay_pairs, users_to_replay, without_prediction
from conrec.data.instances import Events, Items
from conrec.data.knowledge import Knowledge
from conrec.data.split import TimeSplit
from conrec.evaluate.metrics import (
    all_metrics,
    rare_future,
)
from conrec.evaluate.replay import measure
from tests.data.events import events_of
from tests.small_log import CUTS, WEEK, all_instances, small_log


def replay_of(log: Events, cutoffs: list[np.datetime64]) -> Replay:
    pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(log, cutoff, WEEK)]
    return replay_pairs(log, pairs, "test", WEEK, 5, 7)


def test_every_signed_event_of_known_users_is_in_the_replay() -> None:
    _, events = small_log()
    replay = replay_of(events, CUTS)
    expected = {}
    for cutoff in CUTS:
        known = {u for u, t, k in zip(events.users, events.times, events.kinds) if k == "dislike" and t < cutoff}
        for user, item, time, kind in zip(events.users, events.items, events.times, events.kinds):
            if user in known and cutoff <= time < cutoff + WEEK and kind != "exposure":
                sign = DISLIKED if kind == "dislike" else LIKED
                key = (str(user), cutoff, int(item))
                expected[key] = max(sign, expected.get(key, LIKED))
    found = {
        (str(replay.instances.users[n]), replay.instances.cutoffs[n], int(item)): int(label)
        for n in range(len(replay))
        for item, label in zip(replay.shown[n], replay.labels[n])
    }
    assert found == expected
    assert len(replay.shown.values) == len(found)


def test_histories_end_at_the_cut_and_keep_the_newest() -> None:
    _, events = small_log()
    replay = replay_of(events, CUTS)
    for n in range(len(replay)):
        mine = (events.users == replay.instances.users[n]) & (events.times < replay.instances.cutoffs[n])
        disliked = events.items[mine & (events.kinds == "dislike")]
        assert replay.instances.n_dislikes[n] == len(disliked)
        assert replay.instances.dislikes[n].tolist() == disliked[-5:].tolist()
        liked = list(dict.fromkeys(events.items[mine & (events.kinds == "favorite")].tolist()))
        assert replay.instances.n_positives[n] == len(liked)
        assert replay.instances.positives[n].tolist() == liked[-7:]
        assert set(replay.instances.seen[n]) == set(events.items[mine])


def test_users_who_disliked_nothing_in_the_window_are_there_too() -> None:
    _, log = small_log(users=120)
    replay = replay_of(log, CUTS)
    none = replay.instances.next < 0
    assert none.any()
    assert (replay.instances.future.lengths[none] == 0).all()
    left = without_prediction(replay, all_instances(log))
    assert len(left) == none.sum()


def test_with_exposures_the_neutral_ones_count_as_shown() -> None:
    users = np.array(["u"] * 5)
    times = CUTS[0] + np.array([-9, 1, 2, 3, 4]).astype("timedelta64[h]")
    kinds = np.array(["dislike", "exposure", "exposure", "dislike", "click"])
    events = events_of(users, np.array([0, 1, 2, 2, 3], np.int32), times, kinds, np.full(5, np.nan))
    shown = replay_of(events, CUTS[:1])
    assert shown.shown[0].tolist() == [1, 2, 3]
    assert shown.labels[0].tolist() == [NEUTRAL, DISLIKED, LIKED]
    neutral_ratings = replay_of(replace(events, values=np.ones(5)), CUTS[:1])
    assert neutral_ratings.shown[0].tolist() == [2, 3]


def test_validation_windows_end_before_the_test_begins() -> None:
    start, test, end = (np.datetime64(f"2026-01-{day}", "us") for day in ("01", "17", "31"))
    split = TimeSplit(start, test, end)
    assert [str(c)[:10] for c in split.cutoffs("validation", WEEK)] == ["2026-01-01", "2026-01-08"]
    assert [str(c)[:10] for c in split.cutoffs("test", WEEK)] == ["2026-01-17", "2026-01-24", "2026-01-31"]


def test_measure_is_the_brute_force() -> None:
    rng = np.random.default_rng(4)
    labels = rng.choice([DISLIKED, NEUTRAL, LIKED], 400, p=[0.2, 0.5, 0.3])
    scores = np.round(rng.normal(size=400) + labels, 1)
    report = measure(scores, labels, threshold=0.7)
    bad, good = scores[labels == DISLIKED], scores[labels == LIKED]
    pairs = [(a > b) + 0.5 * (a == b) for a in bad for b in good]
    assert report.auc == pytest.approx(np.mean(pairs))
    for budget, avoided in report.avoided_at.items():
        best = max((bad > t).mean() for t in [*scores, scores.max()] if (good > t).mean() <= float(budget) + 1e-12)
        assert avoided == pytest.approx(best)
    chosen = report.chosen
    drop = scores > 0.7
    assert chosen.dislikes_avoided == pytest.approx((bad > 0.7).mean())
    assert chosen.likes_lost == pytest.approx((good > 0.7).mean())
    assert chosen.dropped == pytest.approx(drop.mean())
    assert report.rate_before == pytest.approx((labels == DISLIKED).mean())
    assert chosen.rate_after == pytest.approx((labels[~drop] == DISLIKED).mean())
    curve = report.curve
    assert (curve.dislikes_avoided[0], curve.likes_lost[0]) == (1, 1)
    assert (curve.dislikes_avoided[-1], curve.likes_lost[-1]) == (0, 0)
    assert (np.diff(curve.likes_lost) <= 0).all()


def test_measure_has_nothing_to_say_without_both_signs() -> None:
    report = measure(np.ones(3), np.array([LIKED, LIKED, NEUTRAL]), 0.5)
    assert report.auc is None
    assert report.curve is None
    assert report.exposures == 3
    assert measure(np.zeros(0), np.zeros(0)).exposures == 0


@pytest.fixture(scope="module")
def movietweetings(shared_data: Path) -> tuple[Items, Events, list[np.datetime64]]:
    """The real log, read without any part of the project but the arrays."""
    with gzip.open(shared_data / "movietweetings" / "ratings.dat.gz", "rt") as file:
        rows = [line.strip().split("::") for line in file]
    users, ids, rating, seconds = (np.array(column) for column in zip(*rows))
    rating, times = rating.astype(int), seconds.astype("int64").astype("datetime64[s]").astype("datetime64[us]")
    order = np.lexsort((ids, users, times))
    users, ids, rating, times = users[order], ids[order], rating[order], times[order]
    names, item = np.unique(ids, return_inverse=True)
    first = np.full(len(names), np.datetime64("NaT"), "datetime64[us]")
    first[item[::-1]] = times[::-1]
    kinds = np.where(rating <= 5, "dislike", np.where(rating >= 8, "favorite", "exposure"))
    disliked = np.sort(times[kinds == "dislike"]).astype("int64")
    start = np.datetime64(int(np.quantile(disliked, 0.8)), "us").astype("datetime64[D]").astype("datetime64[us]")
    log = events_of(users, item.astype(np.int32), times, kinds, rating.astype(float))
    cutoffs = list(np.arange(start, times[-1], WEEK.astype("timedelta64[us]")))
    return Items(names.tolist(), names.tolist(), [None] * len(names), first), log, cutoffs


def known_of(items: Items, log: Events) -> TrainingData:
    empty = all_instances(log, cutoffs=[log.times[-1] + WEEK])
    return TrainingData(items, log, empty, Knowledge(items, log), LikeCounts(items, log))


def test_the_filter_table_of_the_protocol(movietweetings: tuple[Items, Events, list[np.datetime64]]) -> None:
    """AUC and dislikes avoided at 1, 2, 5 and 10 % of likes lost, as they were known before this code was."""
    items, log, cutoffs = movietweetings
    pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(log, cutoff, WEEK)]
    replay = replay_pairs(log, pairs, "test", WEEK, 50, 100)
    labels = replay.labels.values
    # 9,354 in the table; six events more are counted here, which change no figure of it.
    assert len(labels) == pytest.approx(9354, abs=6)
    assert (labels == DISLIKED).mean() == pytest.approx(0.334, abs=0.001)
    expected = {
        Popularity(14): (0.559, [0.046, 0.069, 0.102, 0.174]),
        UserRate(): (0.729, [0.096, 0.162, 0.265, 0.375]),
        ItemRate(): (0.810, [0.139, 0.223, 0.337, 0.472]),
        Bias(): (0.864, [0.226, 0.316, 0.470, 0.616]),
    }
    rows = replay.shown.padded()
    for system, (auc, avoided) in expected.items():
        system.fit(known_of(items, log))
        report = measure(system.score_candidates(replay.instances, rows)[rows >= 0], labels)
        assert report.auc == pytest.approx(auc, abs=0.001), system.name
        assert list(report.avoided_at.values()) == pytest.approx(avoided, abs=0.0015), system.name


def test_the_popularity_yardsticks(movietweetings: tuple[Items, Events, list[np.datetime64]]) -> None:
    """Known for this log; equal counts are many, and how they are ordered moves a figure by up to 0.004."""
    items, log, cutoffs = movietweetings
    instances = all_instances(log, cutoffs=cutoffs)
    known = known_of(items, log)
    rare = rare_future(instances, known.knowledge)
    for days, hit, future in ((14, 0.265, 0.304), (30, 0.229, 0.267), (None, 0.188, 0.225)):
        system = Popularity(days)
        system.fit(known)
        lists = system.recommend(instances, 20)
        found = all_metrics(lists, instances, rare)
        expected = {"HR@20": (hit, 2210, 0.005), "FHR@20": (future, 2210, 0.005)}
        if days == 14:
            expected |= {"LUF@20": (0.314, 672, 0.004), "LIF@20": (0.001, 1004, 0.004)}
        for name, (mean, count, apart) in expected.items():
            mask, value = found[name]
            assert mask.sum() == count
            assert value[mask].mean() == pytest.approx(mean, abs=apart)
