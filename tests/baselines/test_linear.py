"""The linear models and the neighbours against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conrec.baselines.base import Recommender, TrainingData
from conrec.baselines.linear import EASE, POSITIVE_WEIGHT, ItemKNN, SwingNeighbours
from conrec.baselines.trivial import Popularity
from conrec.data.instances import Instances
from conrec.features.sizes import Inputs
from tests.baselines.planted import chain, hit_share, provoked
from tests.small_log import all_instances, small_known, small_log


@pytest.fixture(scope="module")
def world() -> tuple[TrainingData, Instances]:
    items, log = small_log()
    early = log.take(log.items < 35)  # the last five are cold
    return replace(small_known(items, log), events=early), all_instances(log)


def matrix(known: TrainingData, kind: str) -> np.ndarray:
    """0/1 [users, items] by brute force."""
    users = sorted(set(known.events.users.tolist()))
    x = np.zeros((len(users), len(known.items)))
    for user, item, its in zip(known.events.users, known.events.items, known.events.kinds):
        if its == kind:
            x[users.index(user), item] = 1
    return x


def history(instances: Instances, n: int, liked: bool) -> np.ndarray:
    row = np.zeros(40)
    row[instances.positives[n] if liked else instances.dislikes[n]] = 1
    return row


@pytest.mark.parametrize("inputs", ["dislikes", "dislikes+likes"])
def test_ease_solves_its_problem(world: tuple[TrainingData, Instances], inputs: Inputs) -> None:
    """Column by column: ridge regression on all other columns."""
    known, instances = world
    x = matrix(known, "dislike")
    targets = np.flatnonzero(x.sum(0))
    if inputs == "dislikes+likes":
        x = np.hstack([x, matrix(known, "favorite")])
    weights = np.zeros((x.shape[1], 40))
    for j in targets:
        others = np.flatnonzero((x.sum(0) > 0) & (np.arange(x.shape[1]) != j))
        a = x[:, others]
        weights[others, j] = np.linalg.solve(a.T @ a + 7.0 * np.eye(len(others)), a.T @ x[:, j])
    system = EASE(inputs, l2=7.0)
    system.fit(known)
    scores = system.scores(instances)
    for n in range(0, len(instances), 7):
        row = history(instances, n, False)
        if inputs == "dislikes+likes":
            row = np.concatenate([row, history(instances, n, True)])
        assert np.allclose(scores[n], row @ weights, atol=1e-4)
    assert (scores[:, 35:] == 0).all()


def test_ease_reads_only_the_most_liked(world: tuple[TrainingData, Instances], monkeypatch: pytest.MonkeyPatch) -> None:
    known, _ = world
    monkeypatch.setattr(EASE, "liked_columns", 6)
    system = EASE("dislikes+likes")
    system.fit(known)
    likes = matrix(known, "favorite").sum(0)
    assert np.flatnonzero(system.columns[2] >= 0).tolist() == sorted(np.argsort(-likes, kind="stable")[:6])


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(3, 0.0), (100, 5.0)])
def test_knn_by_hand(world: tuple[TrainingData, Instances], neighbours: int, shrinkage: float) -> None:
    known, instances = world
    x = np.hstack([matrix(known, "dislike"), matrix(known, "favorite")])
    targets = np.flatnonzero(x[:, :40].sum(0))
    similar = np.zeros((80, 40))
    for j in np.flatnonzero(x.sum(0)):
        found = {}
        for i in targets:
            if i != j:
                common = (x[:, j] * x[:, i]).sum()
                found[i] = common / (np.sqrt(x[:, j].sum() * x[:, i].sum()) + shrinkage)
        for i in sorted(found, key=lambda i: (-found[i], i))[:neighbours]:
            similar[j, i] = found[i] * (1 if j < 40 else POSITIVE_WEIGHT)
    for system, rows in (
        (ItemKNN("dislikes+likes", neighbours=neighbours, shrinkage=shrinkage), similar),
        (ItemKNN(neighbours=neighbours, shrinkage=shrinkage), similar[:40]),
    ):
        system.fit(known)
        scores = system.scores(instances)
        for n in range(0, len(instances), 7):
            row = np.concatenate([history(instances, n, False), history(instances, n, True)])[: len(rows)]
            assert np.allclose(scores[n], row @ rows, atol=1e-5)
        assert (scores[:, 35:] == 0).all()


def test_swing_neighbours_sum_the_scores_of_swing(world: tuple[TrainingData, Instances]) -> None:
    known, instances = world
    system = SwingNeighbours(neighbours=4, alpha2=1.0)
    system.fit(known)
    x = matrix(known, "dislike")
    weight = (x.sum(1) + 5.0) ** -0.5
    swing = np.zeros((40, 40))
    for i in range(40):
        for j in range(40):
            both = np.flatnonzero(x[:, i] * x[:, j])
            pairs = [(u, v) for u in both for v in both if u != v and i != j]
            total = sum(weight[u] * weight[v] / ((x[u] * x[v]).sum() + 1.0) for u, v in pairs)
            swing[i, j] = total / np.sqrt(max(x[:, j].sum(), 1))
    scores = system.scores(instances)
    for n in range(0, len(instances), 11):
        expected = np.zeros(40)
        for j in set(instances.dislikes[n].tolist()):
            for i in np.argsort(-swing[j], kind="stable")[:4]:
                expected[i] += swing[j, i]
        assert np.allclose(scores[n], expected, atol=1e-4)


@pytest.mark.parametrize("system", [EASE(), ItemKNN(), SwingNeighbours()])
def test_they_beat_popularity_where_items_go_together(system: Recommender) -> None:
    known, test = chain()
    popularity = Popularity(None)
    popularity.fit(known)
    system.fit(known)
    assert hit_share(system.recommend(test, 5), test) > 0.3 + hit_share(popularity.recommend(test, 5), test)


@pytest.mark.parametrize("kind", [EASE, ItemKNN])
def test_positives_tell_what_dislikes_do_not(kind: type[EASE] | type[ItemKNN]) -> None:
    known, test = provoked()
    shares = []
    for inputs in ("dislikes", "dislikes+likes"):
        system = kind(inputs)
        system.fit(known)
        shares.append(hit_share(system.recommend(test, 5), test))
    assert shares[1] > 0.8 > 0.45 > shares[0]
