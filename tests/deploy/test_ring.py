"""A ring of new accounts moves nobody else's decisions; people who have been there do, and all are heard themselves."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conrec.deploy.refresh import refresh
from conrec.filter import snapshot as published
from conrec.filter.filter import CoNRecFilter, OpenSnapshot
from conrec.score.factors import served_scores
from tests.deploy.live_run import LiveRun

pytestmark = pytest.mark.slow

SIZE = 80


@pytest.fixture(scope="module")
def first(live: LiveRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    snapshots = tmp_path_factory.mktemp("ring") / "snapshots"
    refresh(live.run, live.recipe, snapshots=snapshots)
    return snapshots


def after(live: LiveRun, first: Path, folder: Path, target: str, days: int | None) -> OpenSnapshot:
    """The version of a day on which SIZE accounts dislike the target, first seen so many days ago; None: without."""
    table = pq.read_table(live.days[0])
    now = max(table["time"].to_pylist())
    rows, items = [], pq.read_table(live.run / "prepare" / "items.parquet")["item_id"].to_pylist()
    for n in range(SIZE if days is not None else 0):
        rows.append((f"crowd{n}", items[n], now - timedelta(days=days), "click"))
        rows.append((f"crowd{n}", target, now - timedelta(seconds=n), "dislike"))
    day = table.select(["user_id", "item_id", "time", "kind"])
    told = [pa.array([row[n] for row in rows], field.type) for n, field in enumerate(day.schema)]
    folder.mkdir()
    pq.write_table(pa.concat_tables([day, pa.table(told, schema=day.schema)]).sort_by("time"), folder / "day.parquet")
    shutil.copytree(first, folder / "snapshots")
    refresh(live.run, live.recipe, snapshots=folder / "snapshots", events=folder / "day.parquet")
    return OpenSnapshot(folder / "snapshots" / str(published.current(folder / "snapshots")))


def test_new_accounts_move_nobody_and_old_ones_do(live: LiveRun, first: Path, tmp_path: Path) -> None:
    met = pq.read_table(live.run / "prepare" / "events.parquet")["item_id"].to_pylist()
    target = Counter(met).most_common(1)[0][0]
    clean = after(live, first, tmp_path / "clean", target, None)
    young = after(live, first, tmp_path / "young", target, 1)
    old = after(live, first, tmp_path / "old", target, 9)
    users = [user for portion in clean.users.portions() for user in portion.ids if clean.users.get(user).has_record]
    rows = np.arange(len(clean.index))

    def scores(now: OpenSnapshot) -> np.ndarray:
        return np.stack([served_scores(now.factors, now.users.get(user).factors, rows) for user in users])

    base, at = scores(clean), clean.index.row(target)
    np.testing.assert_allclose(scores(young), base, atol=1e-4)
    assert (scores(old) - base)[:, at].mean() > 0.3
    # The accounts themselves are heard at once: by their scores of what is alike, and never again is what they said.
    loaded = CoNRecFilter.load(tmp_path / "young" / "snapshots")
    ids = [young.index.id(int(row)) for row in np.argsort(-young.cosines(rows, np.array([at]))[:, 0])[:8]]
    assert ids[0] == target
    assert loaded.filter("crowd0", ids).never_again == [target]
    loaded.dislike("of today", ids[1], None)
    one = loaded.filter("of today", ids)
    loaded.dislike("of today", target, None)
    two = loaded.filter("of today", ids)
    assert one.never_again == [ids[1]]
    assert sorted(two.never_again) == sorted(ids[:2])
    assert np.subtract(two.scores, one.scores).mean() > 0.05
