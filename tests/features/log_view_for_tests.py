"""A small `LogView` in memory: ratings by the likes of `tests.small_log`, with fields that say something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conrec.config import SplitConfig
from conrec.data.exposures import Replay, replay_pairs, users_to_replay
from conrec.data.instances import Instances, Items
from conrec.data.split import TimeSplit
from conrec.features.log_view import LogView
from conrec.items.vectors import unit_rows
from conrec.sid.catalog import Catalog
from tests.data.events import events_of
from tests.small_log import CUTS, START, WEEK, small_known

CONFIG = SplitConfig(max_dislikes=20, max_positives=20)


def small_log_view(users: int = 60, items: int = 40, events: int = 4000, seed: int = 0, rated: bool = True) -> LogView:
    """Dislikes come from strict users, poor items, and a user's aversion to one shape."""
    rng = np.random.default_rng(seed)
    times = np.sort(START + rng.integers(0, 49 * 86_400_000_000, events).astype("timedelta64[us]"))
    user, item = rng.integers(0, users, events), rng.integers(0, items, events)
    strict, poor, propensity = rng.normal(size=users), rng.normal(size=items), rng.integers(0, 3, users)
    z = strict[user] + poor[item] + 2.5 * (propensity[user] == item % 3) - 1 + rng.logistic(size=events)
    kinds = np.where(z > 0.3, "dislike", np.where(z < -0.3, "favorite", "exposure"))
    values = np.clip(np.round(6 - 1.5 * z), 0, 10) if rated else np.full(events, np.nan)
    first = np.full(items, np.datetime64("NaT"), "datetime64[us]")
    first[item[::-1]] = times[::-1]
    catalogue = Items(
        [f"i{n:03d}" for n in range(items)],
        [f"title {n}" for n in range(items)],
        [f"c{n % 2}" for n in range(items)],
        first,
    )
    names = np.array([f"u{n:03d}" for n in range(users)])
    log = events_of(names[user], item.astype(np.int32), times, kinds, values)
    catalog = small_known(catalogue, log).catalog
    assert isinstance(catalog, Catalog)
    fields = [{"category": f"c{n % 2}", "shape": f"s{n % 3}", "year": str(1990 + n)} for n in range(items)]
    return LogView(catalogue, log, catalog, unit_rows(rng.normal(size=(items, 5))), fields)


def split_of(log_view: LogView) -> TimeSplit:
    """Validation is the week of the first cut, test the others."""
    return TimeSplit(CUTS[0], CUTS[1], log_view.events.times[-1])


def replay_of(log_view: LogView, cutoffs: list[np.datetime64], split: str = "test") -> Replay:
    pairs = [(user, cutoff) for cutoff in cutoffs for user in users_to_replay(log_view.events, cutoff, WEEK)]
    return replay_pairs(log_view.events, pairs, split, WEEK, CONFIG.max_dislikes, CONFIG.max_positives)


def cut_short(log_view: LogView, cutoff: np.datetime64) -> LogView:
    """The same, had the log ended there."""
    return replace(log_view, events=log_view.events.take(log_view.events.times < cutoff))


def stranger(instances: Instances) -> Instances:
    """The first instance, of a user that nobody knows."""
    one = instances.take(np.array([0]))
    return replace(one, users=np.array(["nobody"]))
