"""What is on offer by category: the same for lists, for decoding, for what checks lists, and for distractors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from conrec.baselines.base import TrainingData
from conrec.config import PredictConfig, SplitConfig
from conrec.data.distractors import draw_candidates
from conrec.data.instances import Events, Instances, Items, Ragged
from conrec.data.knowledge import Knowledge
from conrec.data.split import plan_split
from conrec.data.windows import make_instances
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding, PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.evaluate.protocol import validity
from conrec.lm.prompts import HistoryPrompts, ItemTokens
from tests import tiny
from tests.baselines.test_base import Constant
from tests.data.events import events_of
from tests.small_log import all_instances, small_known, small_log

HOURS = np.timedelta64(1, "h")
WORDS = tiny.vocabulary()


def log_of_sessions() -> tuple[TrainingData, Instances]:
    """A log in which a user looks at one or two of the categories, asked at odd hours, when items are still coming."""
    items, log = small_log(users=20, items=60, events=900)
    fits = np.array([(hash_of(user) + len(items.categories[row] or "")) % 3 > 0 or (row + hash_of(user)) % 5 < 2
                     for user, row in zip(log.users, log.items)])  # fmt: skip
    log = log.take(fits)
    instances = all_instances(log)
    instances = replace(instances, cutoffs=instances.cutoffs - np.arange(len(instances)) % 40 * HOURS)
    instances = instances.take(np.array([len(met(log, instances, n)) > 0 for n in range(len(instances))]))
    known = small_known(items, log)
    return replace(known, knowledge=Knowledge(items, log, by_category=True)), instances


def hash_of(user: str) -> int:
    return int(user[1:])


def met(log: Events, instances: Instances, n: int) -> set[int]:
    """Naively."""
    pairs = zip(log.users, log.items.tolist(), log.times)
    return {row for user, row, time in pairs if user == instances.users[n] and time < instances.cutoffs[n]}


def offered(items: Items, log: Events, instances: Instances, n: int) -> set[int]:
    """Naively."""
    own = met(log, instances, n)
    categories = {items.categories[row] for row in own}
    there = {row for row in range(len(items)) if items.first_seen[row] < instances.cutoffs[n]}
    return {row for row in there - own if items.categories[row] in categories}


@pytest.fixture(scope="module")
def asked() -> tuple[TrainingData, Instances, list[set[int]]]:
    known, instances = log_of_sessions()
    sets = [offered(known.items, known.events, instances, n) for n in range(len(instances))]
    assert len({tuple(sorted(one)) for one in sets}) > 5
    assert min(len(one) for one in sets) < max(len(one) for one in sets) < len(known.items)
    return known, instances, sets


def test_lists_of_every_recommender_hold_the_pool(asked: tuple[TrainingData, Instances, list[set[int]]]) -> None:
    known, instances, sets = asked
    system = Constant()
    system.fit(known)
    lists = system.recommend(instances, len(known.items))
    assert [set(row[row >= 0].tolist()) for row in lists] == sets
    assert validity(lists, instances, known.knowledge).valid == 1
    for n, bad in ((0, min(set(range(60)) - sets[0])), (-1, max(set(range(60)) - sets[-1]))):
        wrong = lists.copy()
        wrong[n, 0] = bad
        shares = validity(wrong, instances, known.knowledge)
        assert shares.valid == pytest.approx(1 - 1 / (wrong >= 0).sum())


@pytest.mark.parametrize("temperature", [1.0, float("inf")])
def test_decoding_names_the_pool_under_policy_and_without(
    asked: tuple[TrainingData, Instances, list[set[int]]], temperature: float
) -> None:
    known, instances, sets = asked
    codes = tiny.codes(len(known.items))
    pool, rows = pool_of_days(
        instances, known.knowledge, Trie.of(codes, tiny.SIZES), days=9.0, smoothing=0.1, weight=1.0
    )
    assert 1 < len(pool.item_weight) <= len(instances)
    prompts = HistoryPrompts(ItemTokens(WORDS, codes), 3, 3).all(instances, "full")
    data = PromptDataset(instances, prompts, rows, pool, WORDS.pad, torch.device("cpu"), known.knowledge.excluded)
    decoding = Decoding(data, temperature=temperature)
    ((lists, _),) = predict_items(tiny.policy(WORDS), [decoding], PredictConfig(k=60, beams=60, batch=7))
    assert [set(row[row >= 0].tolist()) for row in lists] == sets


def test_training_is_in_the_pool_of_its_day_and_later_dislikes_are_no_prior(
    asked: tuple[TrainingData, Instances, list[set[int]]],
) -> None:
    known, instances, _ = asked
    trie = Trie.of(tiny.codes(len(known.items)), tiny.SIZES)
    pool, rows = pool_of_days(instances, known.knowledge, trie, days=9.0, smoothing=0.0, weight=1.0)
    plain = Knowledge(known.items, known.events)
    for n, cutoff in enumerate(instances.cutoffs):
        weight = pool.item_weight[rows[n]].numpy()
        scope = {known.items.categories[row] for row in met(known.events, instances, n)}
        inside = np.array([category in scope for category in known.items.categories])
        disliked = plain.prior(cutoff.astype("datetime64[D]").astype("datetime64[us]"), 9.0, 0.0)
        assert ((weight > 0) == ((disliked > 0) & inside)).all()


def test_distractors_are_of_the_pool(asked: tuple[TrainingData, Instances, list[set[int]]]) -> None:
    known, instances, _ = asked
    # As a log of statements has them: one row an exposure that says what came of it.
    log = replace(known.events, values=np.full(len(known.events), np.nan))
    excluded = partial(known.knowledge.excluded, include_unseen=True)
    some = instances.take(np.array([row >= 0 for row in instances.next]))
    numbers, drawn = draw_candidates(log, some, 6, 0, excluded)
    assert len(numbers) > 10
    for n, number in enumerate(numbers):
        scope = {known.items.categories[row] for row in met(log, some, number)}
        assert {known.items.categories[row] for row in drawn[n][1:]} <= scope
        assert not met(log, some, number) & set(drawn[n][1:].tolist())


def test_who_has_met_everything_is_left_out_and_counted() -> None:
    moments = np.datetime64("2026-01-01T00:00:00", "us") + np.arange(400) * HOURS
    users = np.array([f"u{n // 10:02d}" for n in range(400)])
    rows = np.tile(np.arange(10, dtype=np.int32), 40)
    rows[users == "u07"] = np.arange(10, 20)  # alone in a category whose items come one by one
    kinds = np.tile(["dislike", "favorite", "exposure", "dislike", "favorite"], 80)
    log = events_of(users, rows, moments, kinds, np.full(400, np.nan))
    first = np.array([moments[rows == row].min() for row in range(20)])
    items = Items([f"i{n}" for n in range(20)], ["t"] * 20, ["a"] * 10 + ["b"] * 10, first)
    folds = [SplitConfig(mode="users", cutoffs="per_user", pool="category", fold=fold) for fold in range(5)]
    config = next(one for one in folds if "u07" not in plan_split(log, one).train_users)
    instances, dropped = make_instances(log, items, plan_split(log, config), config)
    assert dropped["empty_pool"] == 1
    assert "u07" not in instances.users[instances.split != "train"]
    everything = replace(config, pool="all")
    before, none = make_instances(log, items, plan_split(log, everything), everything)
    assert "empty_pool" not in none
    assert len(before) == len(instances) + 1


def test_without_categories_only_what_was_seen_is_closed() -> None:
    items, log = small_log(events=300)
    instances = all_instances(log)
    excluded = Knowledge(items, log).excluded(instances)
    assert isinstance(excluded, Ragged)
    assert (excluded.values.tolist(), excluded.offsets.tolist()) == (
        instances.seen.values.tolist(),
        instances.seen.offsets.tolist(),
    )
