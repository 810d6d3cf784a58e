"""The candidate pool of a day, its prior, and how a user's own dislikes and their neighbours count."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from conrec.config import PredictConfig
from conrec.data.instances import Events, Instances, Items, Ragged
from conrec.data.knowledge import Knowledge
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding, PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.features.item_features import ContentSimilarity, ItemFeature
from conrec.lm.prompts import HistoryPrompts, ItemTokens
from tests import tiny
from tests.data.events import events_of

DAY = np.timedelta64(1, "D")
START = np.datetime64("2026-03-01", "us")
CODES = tiny.codes(8)
WORDS = tiny.vocabulary()
CONTENT = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)
NEIGHBOURS = csr_matrix(np.random.default_rng(1).uniform(size=(8, 8)) * (np.random.default_rng(2).random((8, 8)) < 0.5))


def items() -> Items:
    first_seen = np.array([START + n * DAY for n in range(7)] + [np.datetime64("NaT", "us")])
    return Items([f"i{n}" for n in range(8)], ["t"] * 8, [None] * 8, first_seen)


def events() -> Events:
    rows = np.array([0, 0, 1, 3], np.int32)
    times = np.array([START + hours * np.timedelta64(1, "h") for hours in (12, 30, 36, 90)])
    kinds = np.array(["dislike", "dislike", "dislike", "click"])
    return events_of(np.array(["u", "v", "u", "u"]), rows, times, kinds, np.full(4, np.nan))


def instances(cutoffs: list[np.datetime64], dislikes: list[list[int]]) -> Instances:
    n = len(cutoffs)
    times = Ragged.of([[START] * len(d) for d in dislikes], "datetime64[us]")
    nothing = Ragged.of([[]] * n)
    none = Ragged.of([[]] * n, "datetime64[us]")
    return Instances(
        np.arange(n),
        np.array(["test"] * n),
        np.array(["u"] * n),
        np.array(cutoffs),
        np.array([len(d) for d in dislikes]),
        np.zeros(n, int),
        Ragged.of(dislikes),
        times,
        nothing,
        none,
        nothing,
        np.zeros(n, np.int32),
        nothing,
        nothing,
    )


def test_what_was_seen_takes_no_beam():
    """Exactly as many beams as places, and the likeliest items seen: the places are filled all the same."""
    some = instances([START + 6 * DAY], [[1]])
    trie = Trie.of(CODES, tiny.SIZES)
    pool, rows = pool_of_days(some, Knowledge(items(), events()), trie, days=3.0, smoothing=0.1, weight=1.0)
    prompts = HistoryPrompts(ItemTokens(WORDS, CODES), 5, 5)
    for seen, left in (([0, 1, 2], [3, 4, 5]), (list(range(8)), [])):
        one = Instances(**{**some.__dict__, "seen": Ragged.of([seen])})
        data = PromptDataset(one, prompts.all(one, "dislikes"), rows, pool, WORDS.pad, torch.device("cpu"))
        ((found, _),) = predict_items(tiny.policy(WORDS), [Decoding(data)], PredictConfig(k=3, beams=3, batch=1))
        assert sorted(found[found >= 0].tolist()) == left


def prior_by_hand(days_on: int, tau: float, smoothing: float) -> np.ndarray:
    midnight = START + days_on * DAY
    weight = np.zeros(8)
    for row, time, kind in zip(events().items, events().times, events().kinds):
        if kind == "dislike" and time < midnight:
            weight[row] += np.exp(-((midnight - time) / DAY) / tau)
    known = items().first_seen < midnight
    weight = (weight + smoothing) * known
    return weight / weight.sum()


def test_each_day_knows_only_what_was_before_its_midnight():
    known = Knowledge(items(), events())
    cutoffs = [START + 2 * DAY + np.timedelta64(7, "h"), START + 5 * DAY, START + 2 * DAY + np.timedelta64(1, "h")]
    pool, rows = pool_of_days(
        instances(cutoffs, [[]] * 3), known, Trie.of(CODES, tiny.SIZES), days=3.0, smoothing=0.1, weight=1.0
    )
    assert rows.tolist() == [0, 1, 0]
    for row, day in ((0, 2), (1, 5)):
        np.testing.assert_allclose(pool.item_weight[row], prior_by_hand(day, 3.0, 0.1), rtol=1e-5)
    assert (pool.item_weight[0, 2:] == 0).all()


def test_everything_lets_unknown_candidates_be_scored():
    known = Knowledge(items(), events())
    trie = Trie.of(CODES, tiny.SIZES)
    one = instances([START + 2 * DAY], [[]])
    pool, _ = pool_of_days(one, known, trie, days=3.0, smoothing=0.1, weight=1.0, include_unseen=True)
    weights = pool.item_weight[0].numpy()
    assert (weights > 0).all()
    assert weights[7] == pytest.approx(prior_by_hand(2, 3.0, 0.1)[[0, 1]].min(), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_with_equal_logits_prior_and_neighbours_are_the_whole_policy(weight):
    known = Knowledge(items(), events())
    some = instances([START + 6 * DAY, START + 6 * DAY], [[1, 4], []])
    pool, rows = pool_of_days(some, known, Trie.of(CODES, tiny.SIZES), days=3.0, smoothing=0.1, weight=weight)
    prompts = HistoryPrompts(ItemTokens(WORDS, CODES), 5, 5)
    data = PromptDataset(some, prompts.all(some, "dislikes"), rows, pool, WORDS.pad, torch.device("cpu"))
    policy = tiny.policy(WORDS)
    for parameter in policy.parameters():
        parameter.data.zero_()
    shared = NEIGHBOURS.toarray()

    class ByNeighbours(ItemFeature):
        name = "neighbours"

        def log_weight(self, instances: Instances) -> np.ndarray:
            past = [instances.dislikes[n] for n in range(len(instances))]
            return np.stack([np.log1p(10 * shared[own].sum(axis=0)) for own in past])

    decoding = Decoding(data, [(3.0, ContentSimilarity(CONTENT)), (2.0, ByNeighbours())])
    ((found, scores),) = predict_items(policy, [decoding], PredictConfig(k=8, beams=64, batch=2))
    base = prior_by_hand(6, 3.0, 0.1)
    base = np.where(base > 0, base**weight, 0)
    for n, disliked in enumerate([[1, 4], []]):
        closeness = (CONTENT @ CONTENT[disliked].T).max(1) if disliked else np.zeros(8)
        wanted = base * np.exp(3.0 * closeness) * (1 + 10 * shared[disliked].sum(0)) ** 2
        wanted /= wanted.sum()
        valid = found[n] >= 0
        assert sorted(found[n][valid].tolist()) == np.flatnonzero(base > 0).tolist()
        np.testing.assert_allclose(np.exp(scores[n][valid]), wanted[found[n][valid]], rtol=1e-4)


def test_at_an_infinite_temperature_the_policy_is_not_asked(monkeypatch):
    """And what comes is what it would have left at a very high one."""
    some = instances([START + 6 * DAY, START + 6 * DAY], [[1, 4], [2]])
    pool, rows = pool_of_days(
        some, Knowledge(items(), events()), Trie.of(CODES, tiny.SIZES), days=3.0, smoothing=0.1, weight=1.0
    )
    prompts = HistoryPrompts(ItemTokens(WORDS, CODES), 5, 5)
    data = PromptDataset(some, prompts.all(some, "dislikes"), rows, pool, WORDS.pad, torch.device("cpu"))
    item_features, config = [(3.0, ContentSimilarity(CONTENT))], PredictConfig(k=8, beams=64, batch=2)
    policy = tiny.policy(WORDS)
    ((hot, _),) = predict_items(policy, [Decoding(data, item_features, 1e9)], config)
    both = predict_items(policy, [Decoding(data, item_features, 1.0), Decoding(data, item_features, math.inf)], config)
    monkeypatch.setattr(policy, "prefill", None)
    ((alone, scores),) = predict_items(policy, [Decoding(data, item_features, math.inf)], config)
    np.testing.assert_array_equal(alone, hot)
    np.testing.assert_array_equal(alone, both[1][0])
    assert np.isfinite(scores[alone >= 0]).all()


def test_what_is_far_below_the_likeliest_stays_on_offer():
    some = instances([START + 6 * DAY], [[1]])
    trie = Trie.of(CODES, tiny.SIZES)
    pool, rows = pool_of_days(some, Knowledge(items(), events()), trie, days=3.0, smoothing=0.1, weight=1.0)
    prompts = HistoryPrompts(ItemTokens(WORDS, CODES), 5, 5)
    data = PromptDataset(some, prompts.all(some, "dislikes"), rows, pool, WORDS.pad, torch.device("cpu"))

    class Steep(ItemFeature):
        name = "steep"

        def log_weight(self, instances: Instances) -> np.ndarray:
            return np.arange(8)[None] * np.ones((len(instances), 1))

    found, _ = Decoding(data, [(1e4, Steep())]).pool(data.batch(np.array([0])))
    assert (found.item_weight > 0).tolist() == (pool.item_weight > 0).tolist()
    assert int(found.item_weight.argmax()) == 5  # the last one in the pool
