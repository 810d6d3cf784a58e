"""Given candidates are ranked by features with fitted weights; what is no candidate is never ranked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conrec.data.instances import Instances, read_instances
from conrec.decode.candidates import CandidateSets, rank_candidates
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


def test_what_tells_the_true_ones_gets_the_weight(instances: Instances) -> None:
    truth = np.random.default_rng(1).normal(size=N)
    features = [Table("policy", np.zeros(N)), Table("truth", truth), Table("turned", -truth[::-1])]
    candidates = sets_of(instances, np.argsort(truth)[-5:])
    scores, weights = rank_candidates(features, candidates, instances)
    assert weights.keys() == {"policy", "truth", "turned"}
    assert weights["truth"] > 5 * abs(weights["turned"])
    assert (scores[:, 0] >= scores[:, 1:].max(1)).mean() > 0.8
    assert np.isneginf(scores[-1, 2:]).all()
    there = candidates.rows >= 0
    rows = np.maximum(candidates.rows, 0)
    wanted = weights["truth"] * truth[rows] - weights["turned"] * truth[::-1][rows]
    np.testing.assert_allclose(scores[there], wanted[there])


def test_where_nothing_can_be_learned_the_policy_stands_alone(instances: Instances) -> None:
    later = all_instances(LOG, "test")
    policy = np.random.default_rng(2).normal(size=N)
    policy[3] = -np.inf
    candidates = sets_of(later, np.arange(5))
    scores, weights = rank_candidates([Table("policy", policy), Table("other", np.arange(N))], candidates, later)
    assert weights == {"policy": 1.0, "other": 0.0}
    np.testing.assert_array_equal(scores, np.where(candidates.rows >= 0, policy[candidates.rows], -np.inf))


def test_the_sets_are_those_of_the_file(tmp_path: Path) -> None:
    write_prepared(tmp_path, ITEMS, LOG)
    held_out = read_instances(tmp_path, ITEMS)
    found = CandidateSets.read(tmp_path, held_out, ITEMS)
    table = pq.read_table(tmp_path / "candidates.parquet")
    assert held_out.ids[found.at].tolist() == table["instance_id"].to_pylist()
    for rows, length, names in zip(found.rows, found.lengths, table["candidates"].to_pylist()):
        assert [ITEMS.ids[row] for row in rows[:length]] == names
        assert (rows[length:] == -1).all()
