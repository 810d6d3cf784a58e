"""Lists with half their dislikes: which items each way keeps, what is counted, and which threshold halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import halved
from conrec.data.exposures import DISLIKED, LIKED

SCORES = np.tile([0.0, 0.9, 0.2, 0.6], 10)
LABELS = np.tile([LIKED, DISLIKED, 0, DISLIKED], 10)
"""In the first twenty five likes of ten, and ten dislikes."""


@pytest.fixture
def shown(tmp_path: Path) -> halved.Shown:
    """Two windows of forty, and one that is too short; the rows of the users alternate."""
    folder = tmp_path / "filter" / "seed0"
    folder.mkdir(parents=True)
    rows = [(user, n) for n in range(40) for user in ("b", "a")] + [("c", n) for n in range(39)]
    table = {
        "split": ["test"] * len(rows) + ["validation"],
        "user_id": [user for user, _ in rows] + ["a"],
        "cutoff": pa.array([0] * len(rows) + [0], pa.timestamp("us", tz="UTC")),
        "item_id": [f"i{n}" for _, n in rows] + ["i0"],
        "label": pa.array([LABELS[n] for _, n in rows] + [1], pa.int8()),
        "conrec": pa.array([SCORES[n] for _, n in rows] + [9.0], pa.float32()),
    }
    pq.write_table(pa.table(table), folder / "scores.parquet")
    return halved.read(tmp_path)


def test_windows_in_the_order_of_the_log(shown: halved.Shown) -> None:
    assert [user for user, _, _ in shown] == ["a", "b"]
    for _, scores, labels in shown:
        np.testing.assert_allclose(scores, SCORES, rtol=1e-6)
        np.testing.assert_array_equal(labels, LABELS)


def test_the_threshold_halves_and_each_way_fills_as_it_says(shown: halved.Shown) -> None:
    # Five of the ten dislikes in the list score 0.9. From below that is not enough: of the first twenty that pass six
    # are disliked.
    assert halved.halving(shown, "removal") == halved.halving(shown, "replacement") == pytest.approx(0.6)
    assert halved.halving(shown, "from below") == pytest.approx(0.2)
    found = {way: halved.measured(shown, way, 0.61 if way != "from below" else 0.3)[0] for way in halved.WAYS}
    np.testing.assert_allclose(found["removal"][:3], (5, 15, 0.5))
    np.testing.assert_allclose(found["replacement"], (5, 20, 0.5, found["removal"][3]))
    np.testing.assert_allclose(found["from below"][:3], (0, 20, 1.0))
    discount = 1 / np.log2(np.arange(20) + 2)
    assert found["removal"][3] == pytest.approx(discount[:15:3].sum() / discount[:10].sum())
    assert found["from below"][3] == pytest.approx(discount[::2].sum() / discount[:10].sum())


def test_the_table(shown: halved.Shown) -> None:
    lines = halved.table(shown).splitlines()
    assert lines[0] == "2 lists of 20, 2 users"
    assert lines[4].startswith("| unfiltered | 10.000 (10.000-10.000) | 20.000 (20.000-20.000) | 0.500 ")
    assert lines[5].startswith("| removal | 5.000 (5.000-5.000) | 15.000 (15.000-15.000) | 0.500 ")
