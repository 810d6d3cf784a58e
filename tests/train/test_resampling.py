"""Groups without spread: no gradient at all, counted, and replaced by prompts that the stage has not used."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from conrec.config import GrpoStage
from conrec.lm.sharing import Share
from conrec.lm.training import Trainer
from conrec.train.curriculum import Chosen, Groups, chosen_data, replace_without_spread, train_stage, with_spare
from conrec.train.rewards import FutureReward, Rewards
from tests.train.small_training import gradients_of
from tests.train.test_training import CODES, CONFIG, UNIT, policy, world

TRIES, SIZE, STEPS = 2, 8, 3


def groups(index: np.ndarray, spread: np.ndarray) -> Groups:
    reward = torch.arange(4.0) * torch.as_tensor(spread, dtype=torch.float32)[:, None]
    codes = torch.as_tensor(index)[:, None, None].expand(-1, 4, 3).clone()
    told = torch.zeros(codes.shape[:2], dtype=torch.bool)
    return Groups(index.copy(), codes, codes[:, :, 0].clone(), Rewards(reward, reward.clone(), reward.clone()), told)


def test_only_empty_groups_are_replaced_until_they_show_spread_or_the_tries_are_over():
    mine = groups(np.arange(6), np.array([1, 0, 0, 1, 0, 1]))
    asked = []

    def draw(index: np.ndarray, share: Share, attempt: int) -> Groups:
        asked.append((attempt, index.tolist(), share.own.tolist()))
        return groups(index, np.isin(index, [101, 108]))

    replaced = replace_without_spread(mine, Share(np.arange(6), 6), np.arange(100, 118), 2, draw)
    assert asked == [(1, [101, 102, 104], [1, 2, 4]), (2, [108, 110], [2, 4])]
    assert replaced == 5
    assert mine.index.tolist() == [0, 101, 108, 3, 110, 5]
    assert mine.codes[:, 0, 0].tolist() == mine.items[:, 0].tolist() == mine.index.tolist()
    assert (mine.rewards.total.std(1) > 0).tolist() == [True, True, True, True, False, True]


def test_two_processes_replace_as_one_would():
    spread = np.array([0, 0, 1, 0, 0, 1])
    everything: dict[int, int] = {}
    for rank in (0, 1):
        own = np.arange(6)[rank::2]
        mine = groups(own, spread[own])
        replace_without_spread(mine, Share(own, 6), np.arange(100, 112), 2, lambda i, s, a: groups(i, i % 2 == 0))
        everything |= dict(zip(own.tolist(), mine.index.tolist()))
    whole = groups(np.arange(6), spread)
    replace_without_spread(whole, Share(np.arange(6), 6), np.arange(100, 112), 2, lambda i, s, a: groups(i, i % 2 == 0))
    assert [everything[n] for n in range(6)] == whole.index.tolist()


@pytest.mark.parametrize("limit", [10, 100])
def test_spare_prompts_are_new_to_the_stage(limit):
    chosen = Chosen(np.array([3, 3, 7, 1]), np.array([False, True, False, False]), {})
    more = with_spare(chosen, 20, limit, seed=0)
    assert more.spare == min(limit, 17)
    assert more.index[:4].tolist() == [3, 3, 7, 1]
    fresh = more.index[4:].tolist()
    assert len(set(fresh)) == len(fresh) == more.spare
    assert not set(fresh) & {1, 3, 7}
    assert not more.augmented[4:].any()


class Watched(FutureReward):
    """Notes the instances that are asked about; in `dull` all answers earn the same, elsewhere no two do."""

    def __init__(self, instances, dull):
        super().__init__(instances, UNIT, np.full((40, 1), -1), n_neighbours=1, gamma=0.5)
        self.dull, self.asked = dull, []

    def of(self, index, items):
        self.asked.append(index.tolist())
        out = super().of(index, items)
        flat = torch.as_tensor(np.isin(index, self.dull))[:, None]
        total = out.total + torch.arange(float(items.shape[1]))
        return Rewards(total.masked_fill(flat, 0.5), out.similarity, out.penalty)


def train(folder, dull, resample, monkeypatch):
    """A stage of 24 prompts out of 96; the reward that saw it, its curves by name, and the gradient of each step."""
    instances, data, history = world(96)
    reward = Watched(instances, dull)
    stage = GrpoStage("full", prompts=SIZE * STEPS, beta=1.0)
    chosen = Chosen(np.arange(SIZE * STEPS), np.zeros(SIZE * STEPS, bool), {})
    chosen = with_spare(chosen, 96, resample * SIZE * STEPS, seed=0)
    update, gradients = Trainer.update, []

    def noting(self, loss):
        norm = update(self, loss)
        gradients.append(max(float(g.abs().max()) for g in gradients_of(self.policy).values()))
        return norm

    monkeypatch.setattr(Trainer, "update", noting)
    train_stage(
        policy(),
        chosen_data(data, chosen, history, stage, 0),
        chosen.index,
        CODES,
        reward,
        stage,
        dataclasses.replace(CONFIG, prompts_per_step=SIZE, group=4, resample=resample),
        folder,
        normalisation="trie",
        seed=0,
        title="test",
        validate=lambda _: {},
        spare=chosen.spare,
    )
    table = pq.read_table(folder / "curves.parquet").to_pandas()
    return reward, {name: part["value"].to_numpy() for name, part in table.groupby("name")}, gradients


def test_groups_without_spread_give_no_gradient_and_are_counted(tmp_path, monkeypatch):
    """In the second step no group has any: its gradient is an exact zero, although beta is not."""
    dull = np.arange(SIZE - 2, 2 * SIZE)
    _, curves, gradients = train(tmp_path, dull, 0, monkeypatch)
    assert curves["no_spread_share"].tolist() == [0.25, 1.0, 0.0]
    assert curves["replaced_share"].tolist() == [0.0] * STEPS
    updates = np.array(gradients).reshape(STEPS, CONFIG.updates_per_rollout)
    assert (updates[1] == 0).all()
    assert (updates[[0, 2]] > 0).all()


def test_fresh_prompts_take_the_place_of_groups_without_spread(tmp_path, monkeypatch):
    reward, curves, gradients = train(tmp_path, np.arange(SIZE, 2 * SIZE), TRIES, monkeypatch)
    assert curves["no_spread_share"].tolist() == [0.0, 0.0, 0.0]
    assert curves["replaced_share"].tolist() == [0.0, 1.0, 0.0]
    assert min(gradients) > 0
    first, second, fresh, third = reward.asked
    assert first + second + third == list(range(SIZE * STEPS))
    assert len(set(fresh)) == SIZE
    assert min(fresh) >= SIZE * STEPS


def test_tries_are_bounded_and_no_prompt_comes_twice(tmp_path, monkeypatch):
    reward, curves, _ = train(tmp_path, np.arange(96), TRIES, monkeypatch)
    assert curves["no_spread_share"].tolist() == [1.0] * STEPS
    assert curves["replaced_share"].tolist() == [float(TRIES)] * STEPS
    asked = [n for part in reward.asked for n in part]
    assert len(asked) == len(set(asked)) == SIZE * STEPS * (1 + TRIES)
