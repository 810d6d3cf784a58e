from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conrec.data.instances import Instances, Items
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError
from conrec.evaluate.protocol import (
    Outputs,
    count_hits,
    read_outputs,
    summarise,
    validity,
    write_hits,
)
from conrec.evaluate.results import Validity
from tests.small_log import all_instances, small_log


@pytest.fixture(scope="module")
def world() -> tuple[Items, Knowledge, Instances]:
    items, log = small_log(users=60)
    return items, Knowledge(items, log), all_instances(log)


def lists(instances: Instances, seed: int, k: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(40)[:k] for _ in range(len(instances))]).astype(np.int32)


def knowing(instances: Instances, k: int = 6) -> np.ndarray:
    """The first future dislikes: every hit metric over all instances is 1."""
    result = np.full((len(instances), k), -1, np.int32)
    result[:, 0] = instances.next
    return result


def test_the_table_has_means_seeds_and_paired_differences(world: tuple[Items, Knowledge, Instances]) -> None:
    _, knowledge, instances = world
    outputs = {
        "conrec": {seed: Outputs(lists(instances, seed)) for seed in (0, 1, 2)},
        "conrec/warmup": {0: Outputs(lists(instances, 0), measured={"reward": np.zeros(len(instances))})},
        "conrec/stage3": {0: Outputs(knowing(instances), measured={"reward": np.full(len(instances), 0.5)})},
        "rival": {0: Outputs(lists(instances, 9))},
        "oracle": {0: Outputs(knowing(instances))},
    }
    hits = count_hits(outputs, instances, knowledge)
    table = summarise(hits, instances.users, 200, 0)
    ours = table.systems["conrec"]["FHR@6"]
    each = [np.nanmean(hits["conrec"][seed]["FHR@6"]) for seed in (0, 1, 2)]
    assert ours.seeds == pytest.approx(each)
    assert ours.mean == pytest.approx(np.mean(each))
    assert ours.ci95[0] < ours.mean < ours.ci95[1]
    assert set(table.systems) == {"conrec", "rival", "oracle"}
    assert set(table.stages) == {"warmup", "stage3"}

    rival = table.comparisons["rival"]["FHR@6"]
    assert rival.difference == pytest.approx(ours.mean - table.systems["rival"]["FHR@6"].mean)
    assert (rival.verdict == "not significant") == (rival.ci95[0] <= 0 <= rival.ci95[1])
    assert table.comparisons["oracle"]["HR@6"].verdict == "worse"
    gained = table.stages["stage3"].differences["warmup"]["HR@6"]
    assert gained.verdict == "better"
    assert table.stages["stage3"].differences["warmup"]["reward"].difference == 0.5
    assert table.systems["conrec"]["ZUF@6"].mean is None


def test_pairing_is_tighter_than_two_intervals(world: tuple[Items, Knowledge, Instances]) -> None:
    """Two systems that mostly agree: their difference is known far better than either."""
    _, knowledge, instances = world
    first = lists(instances, 0)
    second = first.copy()
    second[:3] = -1
    hits = count_hits({"conrec": {0: Outputs(first)}, "rival": {0: Outputs(second)}}, instances, knowledge)
    table = summarise(hits, instances.users, 300, 0)
    low, high = table.systems["conrec"]["FHR@6"].ci95
    paired = table.comparisons["rival"]["FHR@6"].ci95
    assert paired[1] - paired[0] < (high - low) / 2


def test_validity_finds_what_must_not_be(world: tuple[Items, Knowledge, Instances]) -> None:
    items, knowledge, instances = world
    # Every item of this log is soon on offer and most are soon judged: take users who still have some to name.
    some, good = [], []
    for n in range(len(instances)):
        offered = np.flatnonzero(knowledge.on_offer(instances.cutoffs[n]))
        free = np.setdiff1d(offered, instances.seen[n])
        if len(free) >= 4 and len(instances.seen[n]):
            some.append(n)
            good.append(free[:4])
    part, named = instances.take(np.array(some[:4])), np.stack(good[:4]).astype(np.int32)
    assert validity(named, part, knowledge) == Validity(valid=1.0, unique=1.0, filled=1.0)
    bad = named.copy()
    bad[0, 0] = part.seen[0][0]
    bad[1, 0] = -2
    bad[2, 0] = bad[2, 1]
    bad[3, 3] = -1
    assert validity(bad, part, knowledge) == Validity(valid=13 / 15, unique=0.75, filled=15 / 16)
    early = Knowledge(
        Items(items.ids, items.titles, items.categories, items.first_seen + np.timedelta64(900, "D")), EVENTS
    )
    assert validity(named, part, early).valid == 0
    assert validity(np.full((4, 4), -1), part, knowledge).valid is None


EVENTS = small_log()[1]


def test_predictions_are_matched_by_instance_and_gaps_are_named(
    world: tuple[Items, Knowledge, Instances], tmp_path: Path
) -> None:
    items, _, instances = world
    few = instances.take(np.array([4, 2, 7]))
    path = tmp_path / "predictions.parquet"
    table = pa.table(
        {
            "instance_id": pa.array([7, 2, 99, 4]),
            "items": [["i1", "i2", "i3"], ["i5"], [], ["nonsense", "i8"]],
            "candidate_scores": pa.array([[1.0], None, [0.0, 0.0], [3.0, 4.0]], pa.list_(pa.float64())),
            "reward": [0.5, 0.25, 0.0, 0.75],
        }
    )
    pq.write_table(table, path)
    few.ids[:] = [4, 2, 7]
    found = read_outputs(path, few, items, 2)
    assert found.lists.tolist() == [[-2, 8], [5, -1], [1, 2]]
    assert found.candidates["CandAcc"][0].tolist() == [3, 4]
    assert np.isnan(found.candidates["CandAcc"][1]).all()
    assert found.candidates["CandAcc"][2].tolist() == [1, -np.inf]
    assert found.measured["reward"].tolist() == [0.75, 0.25, 0.5]
    few.ids[1] = 3
    with pytest.raises(ConrecError, match=r"predictions\.parquet: no prediction for instance 3 and 0 more; run"):
        read_outputs(path, few, items, 2)
    part = read_outputs(path, few, items, 2, some=True)
    assert part.asked.tolist() == [True, False, True]
    assert part.lists.tolist() == [[-2, 8], [-1, -1], [1, 2]]
    assert np.isnan(part.measured["reward"]).tolist() == [False, True, False]
    with pytest.raises(ConrecError, match=r"gone\.parquet: not readable .* run the predict stage again"):
        read_outputs(tmp_path / "gone.parquet", few, items, 2)


def test_what_a_system_was_not_asked_about_does_not_count(world: tuple[Items, Knowledge, Instances]) -> None:
    _, knowledge, instances = world
    some = lists(instances, 1)
    asked = np.arange(len(instances)) % 2 == 0
    both = {"all": {0: Outputs(some)}, "half": {0: Outputs(some, asked=asked)}}
    hits = count_hits(both, instances, knowledge)
    for metric, values in hits["all"][0].items():
        np.testing.assert_array_equal(hits["half"][0][metric], np.where(asked, values, np.nan))
    assert not np.isnan(hits["half"][0]["HR@6"][asked]).any()


def test_hits_can_be_averaged_back_to_the_table(world: tuple[Items, Knowledge, Instances], tmp_path: Path) -> None:
    _, knowledge, instances = world
    hits = count_hits({"a": {0: Outputs(lists(instances, 1))}}, instances, knowledge)
    write_hits(tmp_path / "hits.parquet", {"test": hits}, {"test": instances})
    table = pq.read_table(tmp_path / "hits.parquet").group_by(["system", "metric"]).aggregate([("value", "mean")])
    means = dict(zip(table["metric"].to_pylist(), table["value_mean"].to_pylist()))
    expected = summarise(hits, instances.users, 10, 0).systems["a"]
    assert means == {name: pytest.approx(cell.mean) for name, cell in expected.items() if cell.instances}
