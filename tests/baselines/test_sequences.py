"""Windows, histories, negatives; and what all five sequence models must hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from conrec.baselines.base import TrainingData
from conrec.baselines.bert4rec import BERT4Rec
from conrec.baselines.caser import Caser
from conrec.baselines.fdsa import FDSA
from conrec.baselines.s3rec import S3Rec
from conrec.baselines.sasrec import SASRec
from conrec.baselines.sequence_model import SequenceRecommender, negatives, next_item_loss
from conrec.baselines.trivial import Popularity
from conrec.data.instances import Instances, Ragged
from conrec.features.sequences import (
    OTHER,
    PREDICTED,
    Batch,
    Tokens,
    UserEvents,
    histories,
    shuffled,
    training_windows,
)
from tests.baselines.planted import chain, hit_share, provoked

pytestmark = pytest.mark.slow

SOFT = {"loss": "softmax", "width": 32, "learning_rate": 5e-3}
MODELS = {
    "sasrec": lambda inputs, epochs: SASRec(inputs, epochs=epochs, **SOFT),
    "bert4rec": lambda inputs, epochs: BERT4Rec(inputs, epochs=epochs, width=32, learning_rate=5e-3),
    "caser": lambda inputs, epochs: Caser(inputs, epochs=epochs, **SOFT),
    "fdsa": lambda inputs, epochs: FDSA(inputs, epochs=epochs, **SOFT),
    "s3rec": lambda inputs, epochs: S3Rec(inputs, epochs=epochs, pretraining_epochs=2, **SOFT),
}
EPOCHS = {"sasrec": 6, "bert4rec": 4, "caser": 12, "fdsa": 4, "s3rec": 4}


def model(name: str, inputs: str = "dislikes", epochs: int | None = None) -> SequenceRecommender:
    system = MODELS[name](inputs, EPOCHS[name] if epochs is None else epochs)
    system.cells = 512
    return system


@pytest.fixture(scope="module")
def worlds() -> dict[str, tuple[TrainingData, Instances]]:
    made = {"chain": chain(), "provoked": provoked()}
    # No early stopping: 20 of 40 items are hit by anything.
    return {name: (replace(known, validation=None), test) for name, (known, test) in made.items()}


@pytest.fixture(scope="module")
def trained(worlds: dict[str, tuple[TrainingData, Instances]]) -> dict[str, SequenceRecommender]:
    systems = {name: model(name) for name in MODELS}
    for system in systems.values():
        system.fit(worlds["chain"][0])
    return systems


def events(*users: str) -> UserEvents:
    """A word a user: a letter an item, upper case where it is of the other sign."""
    letters = [(n, letter) for n, word in enumerate(users) for letter in word]
    return UserEvents(
        np.array([n for n, _ in letters]),
        np.array([ord(letter.lower()) - ord("a") for _, letter in letters]),
        np.array([OTHER if letter.isupper() else PREDICTED for _, letter in letters]),
    )


def words(batch: Batch, tokens: Tokens) -> list[str]:
    """The items of each window as letters, those wanted in brackets."""
    result = []
    for row, wanted in zip(batch.tokens.tolist(), batch.wanted.tolist()):
        letters = [(chr(ord("a") + tokens.rows[t - 1]), w) for t, w in zip(row, wanted) if t]
        result.append("".join(f"({letter})" if w else letter for letter, w in letters))
    return result


def test_windows_overlap_and_want_every_event_once() -> None:
    log = events("abcdefghij", "kl", "m", "Nop", "qR")
    tokens = Tokens.of(log, 26)
    windows = training_windows(log, tokens, 4)
    assert words(windows, tokens) == ["a(b)(c)(d)(e)", "cde(f)(g)", "efg(h)(i)", "ghi(j)", "k(l)", "n(o)(p)"]
    assert windows.owners.tolist() == [0, 0, 0, 0, 1, 3]
    assert windows.tokens.shape == (6, 5)
    assert ((windows.marks == 0) == (windows.tokens == 0)).all()


def test_targets_are_numbered_first() -> None:
    tokens = Tokens.of(events("aBc", "Adb"), 26)
    assert (tokens.rows.tolist(), tokens.targets, len(tokens)) == ([0, 1, 2, 3], 4, 5)
    tokens = Tokens.of(events("Acd", "Bcd"), 26)
    assert (tokens.rows.tolist(), tokens.targets) == ([2, 3, 0, 1], 2)
    assert [tokens.of_row[row] for row in (2, 3, 0, 1, 7)] == [1, 2, 3, 4, 0]


def test_nothing_to_learn_is_said() -> None:
    with pytest.raises(ValueError, match="two dislikes"):
        training_windows(events("a", "bC"), Tokens.of(events("a", "bC"), 26), 4)


def test_histories_end_with_the_newest_known_item() -> None:
    tokens = Tokens.of(events("abcd"), 26)
    batch = histories(events("abzcd", "z", "db"), 4, tokens, 3, np.array([5, 6, 7, 8]))
    assert words(batch, tokens) == ["bcd", "", "db", ""]
    assert batch.owners.tolist() == [5, 6, 7, 8]


def test_both_signs_stand_in_the_order_of_time(worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, test = worlds["provoked"]
    by_log, users = UserEvents.of_log(known.events, "dislikes+likes")
    by_instance = UserEvents.of_instances(test, "dislikes+likes")
    for n in range(0, len(test), 29):
        mine = by_instance.owners == n
        same = by_log.owners == np.searchsorted(users, test.users[n])
        assert by_instance.rows[mine].tolist() == by_log.rows[same].tolist()
        assert by_instance.marks[mine].tolist() == by_log.marks[same].tolist() == [OTHER, PREDICTED] * 4 + [OTHER]


def test_a_repeated_event_counts_the_first_time() -> None:
    log, _ = UserEvents.of_log(chain(users=4)[0].events, "dislikes")
    twice = UserEvents._sorted(
        np.tile(log.owners, 2), np.tile(log.rows, 2), np.tile(log.marks, 2), np.arange(2 * len(log.rows))
    )
    assert [array.tolist() for array in (twice.owners, twice.rows)] == [log.owners.tolist(), log.rows.tolist()]


def test_negatives_are_even_and_not_of_the_sequence() -> None:
    own = torch.tensor([[1, 2, 0], [3, 4, 5]]).repeat(5000, 1)
    wanted = torch.tensor([6, 7]).repeat(5000)
    drawn = negatives(own, wanted, 8, torch.Generator().manual_seed(0))
    assert set(drawn[::2].tolist()) == {3, 4, 5, 7, 8}
    counts = torch.bincount(drawn[1::2])[[1, 2, 6, 8]]
    assert (counts - 1250).abs().max() < 150
    drawn = negatives(torch.tensor([[1, 2]]), torch.tensor([2]), 2, torch.Generator().manual_seed(0))
    assert drawn.item() in (1, 2)  # nothing else is left


def test_losses_against_their_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    states, table = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    wanted, own = torch.tensor([1, 2, 3, 4, 1]), torch.tensor([[1, 2, 3]] * 4 + [[2, 3, 4]])
    expected = [-torch.log_softmax(table[1:] @ s, 0)[w - 1] for s, w in zip(states, wanted)]
    assert next_item_loss("softmax", states, table, wanted, own, generator) == pytest.approx(float(sum(expected)) / 5)
    own[3] = torch.tensor([1, 2, 2])  # leaves 3, where all others leave 4 or 1
    own[4] = torch.tensor([2, 3, 3])
    drawn = [4, 4, 4, 3, 4]
    expected = [
        -torch.log(torch.sigmoid(s @ table[w])) - torch.log(1 - torch.sigmoid(s @ table[d]))
        for s, w, d in zip(states, wanted, drawn)
    ]
    assert next_item_loss("binary", states, table, wanted, own, generator) == pytest.approx(
        float(sum(expected)) / 5, rel=1e-5
    )


def test_an_epoch_shows_every_window_once_and_pads_little() -> None:
    log = events(*("abcdefghijklmnop"[: 2 + n % 13] for n in range(200)))
    windows = training_windows(log, Tokens.of(log, 26), 20)
    batches = list(shuffled(windows, 64, torch.Generator().manual_seed(0)))
    assert sorted(torch.cat([batch.owners for batch in batches]).tolist()) == windows.owners.tolist()
    assert all(batch.tokens.numel() <= 64 for batch in batches)
    assert sum(int((batch.tokens == 0).sum()) for batch in batches) < 0.1 * int((windows.tokens != 0).sum())


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_what_popularity_cannot_know(
    name: str, worlds: dict[str, tuple[TrainingData, Instances]], trained: dict[str, SequenceRecommender]
) -> None:
    known, test = worlds["chain"]
    popularity = Popularity(None)
    popularity.fit(known)
    assert hit_share(popularity.recommend(test, 5), test) < 0.35
    assert hit_share(trained[name].recommend(test, 5), test) > 0.7


@pytest.mark.parametrize("name", MODELS)
def test_positives_tell_what_dislikes_do_not(name: str, worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, test = worlds["provoked"]
    shares = {}
    for inputs in ("dislikes", "dislikes+likes"):
        system = model(name, inputs, EPOCHS[name])
        system.fit(known)
        shares[inputs] = hit_share(system.recommend(test, 2), test)
    assert shares["dislikes+likes"] > 0.7 > 0.4 > shares["dislikes"]


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_is_the_same_model(name: str, worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, test = worlds["chain"]
    scores = []
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    for seed in (1, 1, 2):
        system = model(name, epochs=2)
        system.seed = seed
        system.fit(known)
        scores.append(system.scores(test))
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(
    name: str, worlds: dict[str, tuple[TrainingData, Instances]], trained: dict[str, SequenceRecommender]
) -> None:
    _, test = worlds["chain"]
    system = trained[name]
    lengths = 1 + np.arange(len(test)) % 8
    short = replace(
        test,
        dislikes=Ragged.of([test.dislikes[n][:length] for n, length in enumerate(lengths)]),
        dislike_times=Ragged.of([test.dislike_times[n][:length] for n, length in enumerate(lengths)], "datetime64[us]"),
    )
    together = system.scores(short)
    for length in range(1, 9):  # alone among their like, nothing is padded
        alike = np.flatnonzero(lengths == length)
        assert np.allclose(system.scores(short.take(alike)), together[alike], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_history_of_unknown_items_or_none_is_scored(
    name: str, worlds: dict[str, tuple[TrainingData, Instances]], trained: dict[str, SequenceRecommender]
) -> None:
    _, test = worlds["chain"]
    none = Ragged(np.zeros(0, np.int32), np.zeros(len(test) + 1, np.int64))
    empty = replace(test, dislikes=none, dislike_times=Ragged(np.zeros(0, "datetime64[us]"), none.offsets))
    scores = trained[name].scores(empty)
    assert np.isfinite(scores).all()
    if name != "caser":  # which knows the user
        assert np.allclose(scores, scores[0], atol=1e-5)


def test_cold_items_get_the_mean(worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, test = worlds["chain"]
    warm = known.events.items < 30
    system = model("sasrec", epochs=1)
    system.fit(replace(known, events=known.events.take(warm)))
    scores = system.scores(test)
    assert np.allclose(scores[:, 30:], scores[:, :30].mean(axis=1, keepdims=True), atol=1e-5)


def test_lift_takes_popularity_out(
    worlds: dict[str, tuple[TrainingData, Instances]],
    trained: dict[str, SequenceRecommender],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, test = worlds["chain"]
    logits = trained["sasrec"].scores(test)
    monkeypatch.setattr(trained["sasrec"], "lift", True)
    counts = np.bincount(known.events.items, minlength=40)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(trained["sasrec"].scores(test), np.log(p / (counts / counts.sum())), atol=1e-4)


def test_early_stopping_keeps_the_best_epoch(worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, test = worlds["chain"]
    values = iter([0.1, 0.3, 0.3, 0.2, 0.1])
    weights = []

    class Watched(SASRec):
        def validate(self, validation: Instances) -> float:
            assert (validation.n_dislikes > 0).all()
            weights.append(self.network.items.weight.detach().clone())
            return next(values)

    system = Watched(width=8)
    system.patience = 3
    system.fit(replace(known, validation=test))
    assert (len(weights), system.epoch) == (5, 2)
    assert torch.equal(system.network.items.weight, weights[1])


@pytest.mark.parametrize("name", ["sasrec", "fdsa", "s3rec"])
def test_no_state_depends_on_a_later_event(name: str, trained: dict[str, SequenceRecommender]) -> None:
    network = trained[name].network
    tokens = torch.tensor([[3, 1, 4, 15, 9, 2]])
    marks = torch.ones_like(tokens)
    with torch.no_grad():
        whole = network(tokens, marks)
        for last in range(5):
            changed = tokens.clone()
            changed[:, last + 1 :] = torch.tensor([8])
            other = network(changed, marks)
            assert torch.allclose(other[:, : last + 1], whole[:, : last + 1], atol=1e-5)
            assert not torch.allclose(other[:, last + 1 :], whole[:, last + 1 :], atol=1e-3)


@pytest.mark.parametrize("name", ["sasrec", "fdsa", "s3rec"])
def test_the_gradient_of_a_state_reaches_only_what_came_before(
    name: str, trained: dict[str, SequenceRecommender]
) -> None:
    network = trained[name].network
    tokens = torch.tensor([[3, 1, 4, 15, 9, 2]])
    network.zero_grad()
    network(tokens, torch.ones_like(tokens))[0, 2].square().sum().backward()
    touched = network.items.weight.grad.abs().sum(1).nonzero()[:, 0].tolist()
    assert touched == [1, 3, 4]


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name: str, worlds: dict[str, tuple[TrainingData, Instances]]) -> None:
    known, _ = worlds["provoked"]
    system = model(name, "dislikes+likes", epochs=1)
    system.fit(known)
    log, _ = UserEvents.of_log(known.events, "dislikes+likes")
    batch = next(shuffled(training_windows(log, system.tokens, system.length), 2048, torch.Generator().manual_seed(0)))
    system.network.zero_grad()
    system.network.train()
    system.loss(batch, torch.Generator().manual_seed(0)).backward()
    if name == "s3rec":  # its maps and attributes are only for pretraining
        sum(system.objectives(batch, torch.Generator().manual_seed(0)).values()).backward()
    still = [n for n, p in system.network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_the_planted_chain_is_one() -> None:
    known, _ = chain()
    log, _ = UserEvents.of_log(known.events, "dislikes")
    steps = [(a, b) for a, b in pairwise(zip(log.owners, log.rows)) if a[0] == b[0]]
    followers: dict[int, list[int]] = {}
    for (_, a), (_, b) in steps:
        followers.setdefault(int(a), []).append(int(b))
    shares = [max(map(after.count, set(after))) / len(after) for after in followers.values()]
    assert np.mean(shares) == pytest.approx(0.85, abs=0.05)
