from __future__ import annotations

import numpy as np
import pytest

from conrec.data.instances import Instances
from conrec.data.knowledge import Knowledge
from conrec.evaluate.metrics import all_metrics, candidate_accuracy, hit_any, rare_future
from tests.small_log import all_instances, small_log


@pytest.fixture(scope="module")
def world() -> tuple[Instances, Knowledge, np.ndarray]:
    # Few events on many items, so that there are long-tail users and items.
    items, log = small_log(users=60, items=80, events=700)
    instances = all_instances(log)
    lists = np.stack([np.random.default_rng(n).permutation(80)[:10] for n in range(len(instances))]).astype(np.int32)
    lists[::4, 3:] = -1
    return instances, Knowledge(items, log), lists


def test_every_metric_is_the_brute_force(world: tuple[Instances, Knowledge, np.ndarray]) -> None:
    instances, knowledge, lists = world
    found = all_metrics(lists, instances, rare_future(instances, knowledge))
    expected: dict[str, list[float]] = {name: [] for name in found}
    for n in range(len(instances)):
        named = {item for item in lists[n].tolist() if item >= 0}
        future = instances.future[n].tolist()
        counts = knowledge.dislike_counts(instances.cutoffs[n])
        rare = [item for item in future if counts[item] < 5]
        hit = float(any(item in named for item in future))
        expected["HR@10"].append(float(future[0] in named))
        expected["FHR@10"].append(hit)
        if instances.n_dislikes[n] in (1, 2):
            expected["LUF@10"].append(hit)
        if rare:
            expected["LIF@10"].append(float(any(item in named for item in rare)))
        expected["Recall@10"].append(np.float32(np.mean([item in named for item in future])))
        if liked := {*instances.future_positives[n].tolist()}:
            expected["LikesKept@10"].append(1 - np.float32(len(named & liked) / len(liked)))
    for name, (mask, value) in found.items():
        assert value[mask].tolist() == expected[name], name
    assert expected["LUF@10"]
    assert expected["LIF@10"]
    assert 0 < np.mean(expected["LikesKept@10"]) < 1
    assert 0 < np.mean(expected["FHR@10"]) < 1


def test_zero_dislike_users_need_positives(world: tuple[Instances, Knowledge, np.ndarray]) -> None:
    instances, knowledge, lists = world
    few = instances.take(np.arange(3))
    few.n_dislikes[:] = [0, 0, 2]
    few.n_positives[:] = [4, 0, 4]
    mask, _ = all_metrics(lists[:3], few, rare_future(few, knowledge))["ZUF@10"]
    assert mask.tolist() == [True, False, False]


def test_an_empty_place_is_no_hit(world: tuple[Instances, Knowledge, np.ndarray]) -> None:
    instances, _, lists = world
    assert not hit_any(np.full_like(lists, -1), instances.future).any()


def test_rare_counts_stop_at_the_cut(world: tuple[Instances, Knowledge, np.ndarray]) -> None:
    instances, knowledge, _ = world
    rare = rare_future(instances, knowledge)
    for n in range(len(instances)):
        counts = knowledge.dislike_counts(instances.cutoffs[n])
        assert rare[n].tolist() == [item for item in instances.future[n].tolist() if counts[item] < 5]


def test_candidate_ties_count_in_part(world: tuple[Instances, Knowledge, np.ndarray]) -> None:
    instances = world[0].take(np.arange(6))
    scores = np.array(
        [
            [3.0, 1, 2, 0],  # alone at the top
            [2.0, 2, 1, 0],  # one of two
            [1.0, 1, 1, 1],  # all alike: chance
            [0.0, 1, 1, 0],  # beaten
            [np.nan] * 4,  # no candidates
            [-np.inf] * 4,  # nothing is possible: chance as well
        ]
    )
    mask, value = candidate_accuracy(scores, instances)
    assert mask.tolist() == [True, True, True, True, False, True]
    assert value[mask].tolist() == [1, 0.5, 0.25, 0, 0.25]
    assert not candidate_accuracy(np.zeros((6, 0)), instances)[0].any()
