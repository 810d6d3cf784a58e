"""Small worlds in which something particular predicts the next dislike, and popularity says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conrec.baselines.base import TrainingData
from conrec.data.instances import Instances, Items, Ragged
from tests.data.events import events_of
from tests.small_log import START, small_known

HOUR = np.timedelta64(3_600_000_000, "us")
CUT = START + 1000 * HOUR


def world(
    histories: list[list[tuple[str, int]]], nexts: list[int], n_items: int, categories: list[str]
) -> tuple[TrainingData, Instances]:
    """One user a history of (kind, item), oldest first; its next dislike comes after the cutoff.

    Every second user is for validation (`TrainingData.validation`), the others are returned to test on. Embeddings
    tell the category, with some noise.
    """
    users = np.array([f"u{n:04d}" for n in range(len(histories))])
    flat = sorted(
        (START + t * HOUR, user, item, kind)
        for user, history in zip(users, histories)
        for t, (kind, item) in enumerate(history)
    )
    times, names, rows, kinds = (np.array(column) for column in zip(*flat))
    log = events_of(names, rows.astype(np.int32), times.astype("datetime64[us]"), kinds, np.ones(len(flat)))
    first = np.full(n_items, START - HOUR)
    items = Items(
        [f"i{n:03d}" for n in range(n_items)], [f"title {n}" for n in range(n_items)], list(categories), first
    )

    def lists(*kinds: str) -> tuple[Ragged, Ragged]:
        chosen = [[(t, item) for t, (kind, item) in enumerate(h) if kind in kinds] for h in histories]
        return (
            Ragged.of([[item for _, item in h] for h in chosen]),
            Ragged.of([np.array([START + t * HOUR for t, _ in h]) for h in chosen], "datetime64[us]"),
        )

    (dislikes, dislike_times), (positives, positive_times) = lists("dislike"), lists("favorite")
    none = Ragged(np.zeros(0, np.int32), np.zeros(len(users) + 1, np.int64))
    instances = Instances(
        ids=np.arange(len(users)),
        split=np.full(len(users), "test"),
        users=users,
        cutoffs=np.full(len(users), CUT),
        n_dislikes=dislikes.lengths,
        n_positives=positives.lengths,
        dislikes=dislikes,
        dislike_times=dislike_times,
        positives=positives,
        positive_times=positive_times,
        seen=lists("dislike", "favorite")[0],
        next=np.array(nexts, np.int32),
        future=Ragged.of([[n] for n in nexts]),
        future_positives=none,
    )
    number = {name: n for n, name in enumerate(sorted(set(categories)))}
    vectors = np.eye(len(number), dtype=np.float32)[[number[c] for c in categories]]
    vectors = vectors + np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32) * 0.05
    known = replace(small_known(items, log), embeddings=vectors)
    odd = np.arange(len(users)) % 2 == 1
    return replace(known, validation=instances.take(odd)), instances.take(~odd)


def chain(users: int = 300, n_items: int = 40, length: int = 8, seed: int = 0) -> tuple[TrainingData, Instances]:
    """After each item mostly the next one of a fixed round is disliked."""
    rng = np.random.default_rng(seed)
    following = np.empty(n_items, np.int64)
    ring = rng.permutation(n_items)
    following[ring] = np.roll(ring, -1)
    histories, nexts = [], []
    for _ in range(users):
        walk = [int(rng.integers(n_items))]
        while len(walk) <= length:
            step = int(following[walk[-1]]) if rng.random() < 0.85 else int(rng.integers(n_items))
            if step not in walk:
                walk.append(step)
        histories.append([("dislike", item) for item in walk[:-1]])
        nexts.append(walk[-1])
    return world(histories, nexts, n_items, [f"c{n % 5}" for n in range(n_items)])


def provoked(users: int = 300, n_items: int = 40, seed: int = 0) -> tuple[TrainingData, Instances]:
    """A like of item n of the first half leads to a dislike of its partner in the second; dislikes alone do not."""
    rng = np.random.default_rng(seed)
    half = n_items // 2
    histories, nexts = [], []
    for _ in range(users):
        liked = rng.permutation(half)[:5]
        steps = [(kind, int(item)) for n in liked for kind, item in (("favorite", n), ("dislike", n + half))]
        histories.append(steps[:-1])
        nexts.append(steps[-1][1])
    return world(histories, nexts, n_items, [f"c{n % 5}" for n in range(n_items)])


def families(users: int = 400, n_items: int = 160, seed: int = 0) -> tuple[TrainingData, Instances]:
    """A user dislikes rare items of one family of eight and, after each, that family's head (item 0 to 7 = its number).

    Rare items occur too seldom to be learned by their ID; their category tells the family.
    """
    rng = np.random.default_rng(seed)
    rare = np.arange(8, n_items)
    histories, nexts = [], []
    for _ in range(users):
        family = int(rng.integers(8))
        own = rng.choice(rare[rare % 8 == family], 2, replace=False)
        if rng.random() < 0.5:
            histories.append([("dislike", int(own[0])), ("dislike", family)])
            nexts.append(int(own[1]))
        else:
            histories.append([("dislike", int(item)) for item in own])
            nexts.append(family)
    return world(histories, nexts, n_items, [f"family {n % 8}" for n in range(n_items)])


def hit_share(lists: np.ndarray, instances: Instances) -> float:
    """Share of the instances whose next dislike is in the list."""
    return float((lists == instances.next[:, None]).any(axis=1).mean())
