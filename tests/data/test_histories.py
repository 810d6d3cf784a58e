"""Histories of the day are those that the stages train on and are measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from conrec.config import SplitConfig
from conrec.data.histories import Histories
from conrec.data.instances import as_events, as_items, instances_table, read_instances
from conrec.data.schema import EVENTS, ITEMS
from conrec.data.split import plan_split
from conrec.data.windows import make_instances
from tests.data.events import event_table, item_table


def test_the_same_lists_as_the_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, items = 3000, [f"i{k}" for k in range(40)]
    kinds = rng.choice(["dislike", "click", "purchase", "exposure"], n, p=[0.2, 0.3, 0.1, 0.4])
    days = rng.integers(0, 120, n)
    rows = {
        (f"u{u}", items[i], int(d), k)
        for u, i, d, k in zip(rng.integers(0, 30, n).tolist(), rng.integers(0, 40, n).tolist(), days.tolist(), kinds)
    }
    seen_dislikes: set[tuple[str, str]] = set()
    kept = []
    for user, item, day, kind in sorted(rows, key=lambda row: (row[2], row[0], row[1], row[3])):
        if kind != "dislike" or (user, item) not in seen_dislikes:
            seen_dislikes |= {(user, item)} if kind == "dislike" else set()
            kept.append((user, item, day, kind))
    table = event_table(*((user, item, 24 * day, kind) for user, item, day, kind in kept))
    catalogue = as_items(item_table(*items))
    catalogue = replace(catalogue, first_seen=np.full(40, np.datetime64("2025-12-01", "us")))
    events, config = as_events(table, catalogue), SplitConfig(max_dislikes=5, max_positives=7)
    expected, _ = make_instances(events, catalogue, plan_split(events, config), config)
    pq.write_table(instances_table(expected, catalogue), tmp_path / "instances.parquet")
    expected = read_instances(tmp_path, catalogue)
    expected = expected.take(expected.split != "train")
    assert len(np.unique(expected.cutoffs)) > 2
    for cutoff in np.unique(expected.cutoffs):
        asked = expected.take(expected.cutoffs == cutoff)
        # In another order, and with somebody who did nothing.
        users = np.concatenate([asked.users[::-1], ["nobody"]])
        histories = Histories(events)
        found = histories.instances(users, np.full(len(users), cutoff), 5, 7)
        assert histories.users(cutoff).tolist() == sorted(
            {str(user) for user in events.users[(events.kinds == "dislike") & (events.times < cutoff)]}
        )
        assert found.users.tolist() == users.tolist()
        for n, user in enumerate(asked.users.tolist()):
            row = users.tolist().index(user)
            for name in ("dislikes", "dislike_times", "positives", "positive_times", "seen"):
                assert getattr(found, name)[row].tolist() == getattr(asked, name)[n].tolist(), name
            assert (found.n_dislikes[row], found.n_positives[row]) == (asked.n_dislikes[n], asked.n_positives[n])
        assert found.n_dislikes[-1] == found.n_positives[-1] == len(found.seen[len(users) - 1]) == 0


def test_nobody_and_nothing() -> None:
    catalogue = as_items(ITEMS.empty_table())
    events = as_events(EVENTS.empty_table(), catalogue)
    histories, cutoffs = Histories(events), np.array(["2026-01-01"], "datetime64[us]")
    assert len(histories.instances(np.zeros(0, str), cutoffs[:0], 5, 5)) == 0
    assert histories.instances(np.array(["a"]), cutoffs, 5, 5).n_dislikes.tolist() == [0]
