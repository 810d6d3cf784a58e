"""Warm-up and GRPO on a small world: they learn what there is to learn, and resume in the same bits."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from conrec.config import LmConfig, PredictConfig, UtilizeConfig
from conrec.data.instances import Instances, Ragged
from conrec.decode.predict_items import predict_items, score_items
from conrec.decode.prompt_dataset import Decoding, PromptDataset
from conrec.decode.trie import Trie
from conrec.evaluate.metrics import hit_any
from conrec.lm.model import build_policy, trained_state
from conrec.lm.policy import Policy
from conrec.lm.prompts import HistoryPrompts, ItemTokens
from conrec.lm.training import TRACKER, Trainer
from conrec.train.curriculum import LOOKED_AT, choose_prompts, chosen_data
from conrec.train.demonstrations import Demonstrations
from conrec.train.grpo import train_stage
from conrec.train.rewards import FutureReward, Reward
from conrec.train.warmup import reachable, warm_up
from tests import tiny
from tests.train import test_sft

pytestmark = pytest.mark.slow

SIZES = (4, 4, 4)
CODES = tiny.codes(40, sizes=SIZES)
WORDS = tiny.vocabulary(SIZES)
# As from a codebook: the first code says most of what an item is like.
WORDS_OF_LEVEL = [np.random.default_rng(5 + t).normal(size=(4, 6)) / 2**t for t in range(3)]
UNIT = sum(words[CODES[:, t]] for t, words in enumerate(WORDS_OF_LEVEL)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)
NOBODY = np.full((40, 1), -1)
CONFIG = UtilizeConfig(swing_neighbours=1, prompts_per_step=16, learning_rate=6e-3, checkpoint_every=2)
DAY = np.datetime64("2026-03-01", "us")


def world(n: int = 64) -> tuple[Instances, PromptDataset, HistoryPrompts]:
    """Users who dislike an item and will dislike the one 20 rows on; positives say nothing."""
    rng = np.random.default_rng(0)
    last = rng.integers(0, 20, n)
    times = Ragged.of([[DAY - np.timedelta64(1, "D")]] * n, "datetime64[us]")
    nothing = Ragged.of([[]] * n)
    instances = Instances(
        np.arange(n),
        np.array(["train"] * n),
        np.array([f"u{k}" for k in range(n)]),
        np.full(n, DAY),
        np.ones(n, int),
        np.ones(n, int),
        Ragged.of([[i] for i in last]),
        times,
        Ragged.of([[i] for i in rng.integers(0, 40, n)]),
        times,
        nothing,
        (last + 20).astype(np.int32),
        Ragged.of([[i + 20] for i in last]),
        nothing,
    )
    prompts = HistoryPrompts(ItemTokens(WORDS, CODES), 5, 5)
    pool = Trie.of(CODES, SIZES).weigh(np.ones((1, 40)))
    data = PromptDataset(
        instances,
        prompts.all(instances, "full"),
        np.zeros(n, dtype=np.int64),
        pool,
        WORDS.pad,
        torch.device("cpu"),
    )
    return instances, data, prompts


def policy():
    words = [np.random.default_rng(0).normal(size=(s, 8)).astype(np.float32) for s in SIZES]
    return build_policy(LmConfig(hidden=48, layers=2, heads=4, kv_heads=2, ffn=64), WORDS, words, seed=0)


def hits(model, data, k=3) -> float:
    ((items, _),) = predict_items(model, [Decoding(data)], PredictConfig(k=k, beams=40, batch=16))
    return float(hit_any(items, data.instances.future).mean())


def warm(model, data, folder, epochs, validate=dict):
    warm_up(
        model,
        data,
        reachable(data.instances.future, data, 4),
        CODES,
        folder,
        UtilizeConfig(warmup_epochs=epochs, warmup_batch=8, warmup_learning_rate=3e-3, checkpoint_every=3),
        seed=0,
        validate=validate,
    )


def grpo(model, data: PromptDataset, reward: Reward, folder, config: UtilizeConfig, beta=0.0) -> None:
    """One stage on all of `data`, for whose instances `reward` was made."""
    demonstrations = Demonstrations(reachable(reward.future, data, 8), CODES, data.pool.trie, config.demonstrations)
    options = {"beta": beta, "seed": 0, "title": "test", "validate": lambda: {"answer": 42.0}}
    train_stage(model, data, reward, demonstrations, folder, config, **options)


def stage(model, folder, beta=0.0, prompts=256, hit_bonus=0.0, **settings_of_grpo):
    instances, data, history = world()
    config = dataclasses.replace(CONFIG, hit_bonus=hit_bonus, **settings_of_grpo)
    few = dataclasses.replace(config, num_generations=8, prompts_per_step=16)
    reward = FutureReward(instances, UNIT, NOBODY, config)
    chosen = choose_prompts(model, data, reward, few, prompts=prompts, seed=0, use_policy=True)
    data = chosen_data(data, chosen, history, "full", 0)
    grpo(model, data, FutureReward(data.instances, UNIT, NOBODY, config), folder, config, beta)


@pytest.mark.parametrize("parts", [2, 3, 100])
def test_a_step_in_parts_is_the_same_step(tmp_path, parts):
    _, data, _ = world()
    states = []
    for n, accumulate in enumerate((1, parts)):
        reader, model = test_sft.policy(), policy()
        reader.accumulate = model.accumulate = accumulate
        test_sft.train(reader, tmp_path / f"sft{n}")
        warm(model, data, tmp_path / f"warm{n}", 1)
        stage(model, tmp_path / f"grpo{n}", 0.1, prompts=32)
        states.append({f"{k} {name}": w for k, one in enumerate((reader, model)) for name, w in one.named_parameters()})
    for name, whole in states[0].items():
        torch.testing.assert_close(states[1][name], whole, atol=2e-4, rtol=1e-3)
    assert any((whole != states[1][name]).any() for name, whole in states[0].items())
    for task in ("sft", "warm", "grpo"):
        one, other = (pq.read_table(tmp_path / f"{task}{n}" / "curves.parquet").to_pylist() for n in (0, 1))
        for first, second in zip(one, other, strict=True):
            assert (first["step"], first["name"]) == (second["step"], second["name"])
            assert first["value"] == pytest.approx(second["value"], abs=1e-3)


def test_warm_up_learns_the_rule(tmp_path):
    _, data, _ = world()
    model = policy()
    before = hits(model, data)
    warm(model, data, tmp_path, 25)
    assert before < 0.4
    assert hits(model, data) > 0.8


def test_grpo_raises_the_reward_from_a_cold_start(tmp_path):
    stage(policy(), tmp_path, prompts=1024)
    table = pq.read_table(tmp_path / "curves.parquet").to_pylist()
    rewards = [row["value"] for row in table if row["name"] == "reward"]
    assert len(rewards) == 64
    assert np.mean(rewards[-10:]) > np.mean(rewards[:5]) + 0.1
    assert {row["name"] for row in table} >= {
        "similarity",
        "penalty",
        "kl",
        "clip_share",
        "zero_variance_share",
        "unique_items",
    }


def test_demonstrations_teach_exact_hits_that_drawn_answers_rarely_show(tmp_path):
    import pyarrow.parquet as pq

    _, data, _ = world()
    found = {}
    for shown in (0, 1):
        model = policy()
        stage(model, tmp_path / str(shown), prompts=512, demonstrations=shown, num_generations=4, hit_bonus=2.0)
        found[shown] = hits(model, data)
    assert found[1] > found[0] + 0.2
    table = pq.read_table(tmp_path / "1" / "curves.parquet").to_pylist()
    first = next(row["value"] for row in table if row["name"] == "reward")
    assert first < 0.6  # the demonstrations, whose reward is 1, do not count in the curve


class Dull(FutureReward):
    """In the prompts `dull` all answers earn the same, elsewhere no two do."""

    dull = np.arange(6, 16)

    def of(self, index, items):
        found = super().of(index, items)
        flat = torch.as_tensor(np.isin(index, self.dull))[:, None]
        total = found.total + torch.arange(float(items.shape[1]))
        return dataclasses.replace(found, total=total.masked_fill(flat, 0.5))


def test_zero_variance_groups_give_no_gradient_and_are_counted(tmp_path, monkeypatch):
    """In the second step of eight prompts all groups are such: its gradient is an exact zero, although beta is not."""
    import pyarrow.parquet as pq

    instances, data, _ = world(24)
    norms = []
    update = Trainer.update

    def observed(self: Trainer, losses: Iterable[torch.Tensor]) -> float:
        loss = update(self, losses)
        grads = [parameter.grad for parameter in self.policy.parameters() if parameter.grad is not None]
        norms.append(sum(float(grad.abs().sum()) for grad in grads))
        return loss

    monkeypatch.setattr(Trainer, "update", observed)
    reward = Dull(instances, UNIT, NOBODY, CONFIG)
    config = dataclasses.replace(CONFIG, prompts_per_step=8, num_generations=4)
    grpo(policy(), data, reward, tmp_path, config, beta=1.0)
    table = pq.read_table(tmp_path / "curves.parquet").to_pylist()
    assert [row["value"] for row in table if row["name"] == "zero_variance_share"] == [0.25, 1.0, 0.0]
    by_step = np.array(norms).reshape(3, CONFIG.num_iterations)
    assert (by_step[1] == 0).all()
    assert (by_step[[0, 2]] > 0).all()


def test_beta_keeps_the_policy_near_its_reference(tmp_path):
    import pyarrow.parquet as pq

    divergence = []
    for beta in (0.0, 3.0):
        stage(policy(), tmp_path / str(beta), beta)
        table = pq.read_table(tmp_path / str(beta) / "curves.parquet").to_pylist()
        # The first rollout's update comes before the penalty has anything to hold on to.
        divergence.append(np.mean([row["value"] for row in table if row["name"] == "kl"][1:]))
    assert divergence[1] < divergence[0] / 5


def test_a_stage_that_died_ends_in_the_same_bits(tmp_path, monkeypatch):
    whole, again = policy(), policy()
    stage(whole, tmp_path / "whole")
    advance = Trainer.advance

    def die(self):
        advance(self)
        if self.step == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "advance", die)
    with pytest.raises(KeyboardInterrupt):
        stage(policy(), tmp_path / "died")
    monkeypatch.setattr(Trainer, "advance", advance)
    stage(again, tmp_path / "died")
    one, two = trained_state(whole), trained_state(again)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_zero_variance_prompts_are_replaced_and_those_close_to_likes_get_history_dropout():
    instances, data, _ = world(32)
    flat = np.ones((40, 1), dtype=np.float32)
    flat[:20] = -1
    likes = Ragged.of([[n % 20] for n in range(32)])
    instances = Instances(**{**instances.__dict__, "future_positives": likes})
    config = dataclasses.replace(CONFIG, num_generations=8, prompts_per_step=8)
    everything_alike = FutureReward(
        instances, np.ones((40, 1), np.float32), NOBODY, dataclasses.replace(config, gamma=0.0)
    )
    options = {"prompts": 16, "seed": 0, "use_policy": True}
    chosen = choose_prompts(policy(), data, everything_alike, config, **options)
    assert chosen.counts["zero_variance"] == chosen.counts["looked_at"] == 32 + 32
    assert len(chosen.index) == 16
    chosen = choose_prompts(policy(), data, everything_alike, config, **options | {"prompts": 4})
    assert chosen.counts["looked_at"] == LOOKED_AT * 4  # not all there are
    biased = FutureReward(instances, flat, NOBODY, config)
    data_of_likes = PromptDataset(
        instances,
        data.prompts,
        data.rows,
        data.pool.trie.weigh((np.arange(40) < 21)[None] * 1.0),
        data.pad,
        data.device,
    )
    chosen = choose_prompts(policy(), data_of_likes, biased, config, **options)
    assert chosen.counts["too_close_to_likes"] > 0
    assert 0 < chosen.augmented.sum() <= chosen.counts["too_close_to_likes"]
    assert len(set(chosen.index.tolist())) == len(chosen.index)  # augmented in place, not used twice


def test_candidates_are_scored_as_the_sum_of_their_tokens():
    _, data, _ = world(5)
    model = policy()
    candidates = np.arange(40)[None].repeat(5, 0)
    (scores,) = score_items(model, [Decoding(data)], candidates, CODES, batch=2)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-4)
    ((items, best),) = predict_items(model, [Decoding(data)], PredictConfig(k=40, beams=64, batch=2))
    np.testing.assert_allclose(np.take_along_axis(scores, items.astype(int), 1), best, atol=1e-4)


@pytest.mark.parametrize("beams", [6, 40])
def test_batches_by_length_change_nothing_but_the_order_of_work(beams):
    """Prompts of every length, in any batches, next to anyone: the same items, the same scores to rounding."""
    instances, data, history = world(24)
    longer = Ragged.of([range(n % 7 + 1) for n in range(24)])
    instances = Instances(**{**instances.__dict__, "positives": longer})
    data = PromptDataset(instances, history.all(instances, "full"), data.rows, data.pool, data.pad, data.device)
    assert len(set(data.prompts.lengths.tolist())) > 3
    order = np.concatenate([part.index for part in data.by_length(5)])
    assert sorted(order.tolist()) == list(range(24))
    assert (np.diff(data.prompts.lengths[order]) >= 0).all()
    model = policy()
    candidates = np.arange(40)[None].repeat(24, 0)
    found, scored = [], []
    for batch in (1, 5, 24):
        found += predict_items(model, [Decoding(data)], PredictConfig(k=5, beams=beams, batch=batch))
        scored += score_items(model, [Decoding(data)], candidates, CODES, batch=batch)
    for items, scores in found[1:]:
        assert np.array_equal(items, found[0][0])
        np.testing.assert_allclose(scores, found[0][1], atol=1e-5)
    for scores in scored[1:]:
        np.testing.assert_allclose(scores, scored[0], atol=1e-4)


def test_a_candidate_that_is_not_in_the_pool_has_no_likelihood():
    """What the user has seen is not in that user's pool: -inf, never nan."""
    instances, data, _ = world(3)
    instances = Instances(**{**instances.__dict__, "seen": Ragged.of([[0, 1], [], list(range(12))])})
    data = PromptDataset(instances, data.prompts, data.rows, data.pool, data.pad, data.device)
    candidates = np.arange(40)[None].repeat(3, 0)
    (scores,) = score_items(policy(), [Decoding(data)], candidates, CODES, batch=3)
    for row, seen in zip(scores, ([0, 1], [], list(range(12)))):
        assert np.flatnonzero(np.isneginf(row)).tolist() == seen
        assert np.isfinite(np.delete(row, seen)).all()


def test_gradient_checkpointing_stays_on_after_a_validation(tmp_path, monkeypatch):
    """It works in training mode only, and its passes lose the cache that decoding needs: each has its own mode."""
    words = [np.random.default_rng(0).normal(size=(s, 8)).astype(np.float32) for s in SIZES]
    config = LmConfig(hidden=48, layers=2, heads=4, kv_heads=2, ffn=64, gradient_checkpointing=True)
    model = build_policy(config, WORDS, words, seed=0)
    with_gradient, decoding = [], []
    forward, prefill = Policy.forward, Policy.prefill

    def noting_forward(self, *inputs):
        if torch.is_grad_enabled():
            with_gradient.append(self.lm.training)
        return forward(self, *inputs)

    def noting_prefill(self, *inputs):
        decoding.append(self.lm.training)
        return prefill(self, *inputs)

    monkeypatch.setattr(Policy, "forward", noting_forward)
    monkeypatch.setattr(Policy, "prefill", noting_prefill)
    _, data, _ = world()

    def validate() -> dict[str, float]:
        return {"hits": hits(model, data)}

    warm(model, data, tmp_path / "warm", 1, validate)
    stage(model, tmp_path / "stage", prompts=64)
    assert len(with_gradient) == 8 + 4 * CONFIG.num_iterations
    assert all(with_gradient)
    assert len(decoding) > 8
    assert not any(decoding)


def test_a_tracker_sees_what_the_curves_hold(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert {"tensorboard", "wandb", "mlflow"} <= set(LOGGER_TYPE_TO_CLASS)
    monkeypatch.setenv(TRACKER, "tensorboard")
    folders = [tmp_path / f"{stage}.partial" / part for stage, part in (("a/s0", "sft"), ("b/s0", "w"), ("b/s0", "g"))]
    test_sft.train(test_sft.policy(), folders[0], epochs=1)
    model, (_, data, _) = policy(), world()
    warm(model, data, folders[1], 1)
    stage(model, folders[2], prompts=64, num_generations=4)
    for folder, names in zip(folders, ("a/s0/sft", "b/s0/w", "b/s0/g")):
        seen = EventAccumulator(str(tmp_path / "track" / names / "conrec"))
        seen.Reload()
        curves = pq.read_table(folder / "curves.parquet").to_pylist()
        wanted = sorted((f"{row['split']}/{row['name']}", row["step"], np.float32(row["value"])) for row in curves)
        assert sorted((tag, e.step, e.value) for tag in seen.Tags()["scalars"] for e in seen.Scalars(tag)) == wanted
        assert {path.name for path in folder.iterdir()} == {"curves.parquet"}
        assert any(tag.startswith("train/") and tag.endswith("loss") for tag in seen.Tags()["scalars"])
    assert {"train/reward", "train/kl", "validation/answer"} <= set(seen.Tags()["scalars"])
