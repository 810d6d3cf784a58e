"""The rewards that only the paper's tables use."""

from dataclasses import replace

import numpy as np
import torch

from conrec.config import UtilizeConfig
from conrec.data.instances import Ragged
from conrec.decode.inputs import Inputs
from conrec.features.prepared_log import PreparedLog
from conrec.studies.rewards import CodesReward, TruncatedReward, next_dislike
from conrec.train.rewards import FutureReward
from tests.deploy.live_run import LiveRun
from tests.train.test_rewards import ITEMS, NEIGHBOURS, UNIT, instances


def test_cosines_below_the_threshold_count_as_nothing() -> None:
    """Scheme b cuts the similarity, scheme d the penalty as well."""
    data = instances([[0, 3], [5]], [[1], [2, 7]])
    items = torch.arange(ITEMS).repeat(2, 1)
    config = UtilizeConfig(swing_neighbours=2, gamma=0.5)
    plain = FutureReward(data, UNIT, NEIGHBOURS, config).of(np.arange(2), items)
    cut = TruncatedReward(data, UNIT, NEIGHBOURS, config).of(np.arange(2), items)
    for name in ("similarity", "penalty"):
        before, after = getattr(plain, name), getattr(cut, name)
        assert ((before < 0.6) & (after == 0) | (before >= 0.6) & (after == before)).all()
        assert ((before != 0) & (before < 0.6)).any()
        assert (before >= 0.6).any()
    assert torch.equal(cut.total, cut.similarity - 0.5 * cut.penalty)


def test_codes_reward_is_a_power_of_ten_by_the_codes_shared() -> None:
    codes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [2, 0, 0]])
    nobody = np.full((6, 1), -1)
    data = instances([[0], [0, 4]], [[1], []])
    items = torch.arange(6).repeat(2, 1)
    found = CodesReward(data, codes, nobody, swing_neighbours=1).of(np.arange(2), items)
    assert torch.allclose(found.total[0], torch.tensor([1.0, 0.1, 0.01, 0.0, 0.0, 0.0]))
    assert torch.allclose(found.total[1], torch.tensor([1.0, 0.1, 0.01, 0.01, 1.0, 0.0]))
    assert not found.penalty.any()
    # A Swing neighbour of a future dislike is as good as the dislike.
    neighbours = np.full((6, 1), -1)
    neighbours[0] = 5
    assert CodesReward(data, codes, neighbours, swing_neighbours=1).of(np.array([0]), items[:1]).total[0, 5] == 1


def test_of_the_future_only_the_next_dislike_counts(live: LiveRun) -> None:
    """Neither the reward nor the demonstrations see a dislike after the first one."""
    recipe = replace(live.recipe, utilize=replace(live.recipe.utilize, swing_neighbours=0, hit_bonus=1.0))
    inputs = Inputs.of(recipe, PreparedLog(live.run / "prepare", live.run / "compress"))
    train = inputs.instances.of_split("train")
    only = replace(train, future=Ragged.of([[item] for item in train.next]))
    reward = next_dislike(inputs, train)
    assert train.future.lengths.max() > 1
    assert [row.tolist() for row in map(reward.future.__getitem__, range(len(train)))] == [[n] for n in train.next]
    items = torch.arange(len(inputs.log_view.items)).repeat(len(train), 1)
    wanted = FutureReward(only, inputs.log_view.catalog.unit, inputs.neighbours, recipe.utilize)
    every = np.arange(len(train))
    assert torch.equal(reward.of(every, items).total, wanted.of(every, items).total)
