"""Equation 6 against a plain loop."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.config import UtilizeConfig
from conrec.data.instances import Instances, Ragged
from conrec.train.rewards import FutureReward, ground_truth

ITEMS = 12
UNIT = np.random.default_rng(0).normal(size=(ITEMS, 5)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)
NEIGHBOURS = np.random.default_rng(1).integers(-1, ITEMS, (ITEMS, 4)).astype(np.int32)


def instances(future: list[list[int]], positives: list[list[int]]) -> Instances:
    n = len(future)
    empty, times = Ragged.of([[]] * n), Ragged.of([[]] * n, "datetime64[us]")
    return Instances(
        np.arange(n),
        np.array(["train"] * n),
        np.array(["u"] * n),
        np.zeros(n, "datetime64[us]"),
        np.ones(n, int),
        np.ones(n, int),
        empty,
        times,
        empty,
        times,
        empty,
        np.array([f[0] for f in future]),
        Ragged.of(future),
        Ragged.of(positives),
    )


rows = st.lists(st.integers(0, ITEMS - 1), max_size=4)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(rows.filter(len), rows), min_size=1, max_size=4),
    st.floats(0, 1),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5]),
)
def test_reward_equals_a_loop(sets, gamma, n_neighbours, bonus):
    future, positives = [list(s[0]) for s in sets], [list(s[1]) for s in sets]
    config = UtilizeConfig(swing_neighbours=n_neighbours, gamma=gamma, hit_bonus=bonus)
    reward = FutureReward(instances(future, positives), UNIT, NEIGHBOURS, config)
    index = np.arange(len(sets))[::-1].copy()
    items = torch.as_tensor(np.random.default_rng(2).integers(0, ITEMS, (len(sets), 3)))
    got = reward.of(index, items)
    for b, n in enumerate(index):
        truth = set(future[n]) | {j for i in future[n] for j in NEIGHBOURS[i][:n_neighbours].tolist() if j >= 0}
        for g in range(3):
            out = int(items[b, g])
            similarity = max(float(UNIT[out] @ UNIT[i]) for i in truth) + bonus * (out in future[n])
            penalty = max((float(UNIT[out] @ UNIT[i]) for i in positives[n]), default=0.0)
            assert abs(float(got.similarity[b, g]) - similarity) < 1e-5
            assert abs(float(got.penalty[b, g]) - penalty) < 1e-5
            assert abs(float(got.total[b, g]) - (similarity - gamma * penalty)) < 1e-5


def test_the_ground_truth_has_each_item_once():
    truth = ground_truth(Ragged.of([[3, 1]]), np.array([[-1], [3], [0], [2]]))
    assert truth[0].tolist() == [1, 2, 3]
