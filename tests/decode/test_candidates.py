"""Given candidates: what ranks them, and which of them may be recommended at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from conrec.data.instances import Instances, read_instances
from conrec.decode.candidates import CandidateSets, candidate_parts
from conrec.features.item_features import ItemFeature
from tests.small_log import all_instances, small_log, write_prepared

ITEMS, LOG = small_log()
N = len(ITEMS)


class Table(ItemFeature):
    """The same log-weights for everybody."""

    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self._values = name, values

    def log_weight(self, instances: Instances) -> np.ndarray:
        return np.tile(self._values, (len(instances), 1))


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG, "validation")


def sets_of(instances: Instances, good: np.ndarray) -> CandidateSets:
    """Four candidates each, the first one good; the last set has only two."""
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.tile(np.arange(N), (len(instances), 1)), axis=1)[:, :4]
    rows[:, 0] = good[rng.integers(0, len(good), len(instances))]
    rows[-1, 2:] = -1
    return CandidateSets(np.arange(len(instances)), rows)


def test_each_feature_of_every_candidate_that_may_be_recommended(instances: Instances) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, N))
    decoder = SimpleNamespace(features={"one": Table("one", one), "other": Table("other", other)})
    candidates = sets_of(instances, np.arange(5))
    parts, there = candidate_parts(decoder, candidates, instances)
    assert parts.shape == (*candidates.rows.shape, 2)
    for n, rows in enumerate(candidates.rows):
        np.testing.assert_array_equal(there[n], (rows >= 0) & ~np.isin(rows, instances.seen[n]))
        mine = rows[there[n]]
        np.testing.assert_allclose(parts[n, there[n]], np.stack([one[mine], other[mine]], axis=1), rtol=1e-6)
    none, _ = candidate_parts(SimpleNamespace(features={}), candidates, instances)
    assert none.shape == (*candidates.rows.shape, 0)


def test_the_sets_are_those_of_the_file(tmp_path: Path) -> None:
    write_prepared(tmp_path, ITEMS, LOG)
    held_out = read_instances(tmp_path, ITEMS)
    found = CandidateSets.read(tmp_path, held_out, ITEMS)
    table = pq.read_table(tmp_path / "candidates.parquet")
    assert held_out.ids[found.at].tolist() == table["instance_id"].to_pylist()
    for rows, length, names in zip(found.rows, found.lengths, table["candidates"].to_pylist()):
        assert [ITEMS.ids[row] for row in rows[:length]] == names
        assert (rows[length:] == -1).all()
