"""Neighbours by who disliked them, against the formula written out."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from conrec.data.instances import Events
from conrec.features.co_dislikes import SHRINKAGE, co_dislikes, cosine_neighbours
from tests.data.events import events_of


def log(seed: int = 0, n: int = 400) -> Events:
    rng = np.random.default_rng(seed)
    return events_of(
        np.array([f"u{k}" for k in rng.integers(0, 25, n)]),
        rng.integers(0, 12, n).astype(np.int32),
        np.arange(n).astype("datetime64[us]"),
        rng.choice(["dislike", "click", "exposure"], n),
        np.full(n, np.nan),
    )


def test_similarity_is_its_formula_and_likes_do_not_count():
    events = log()
    found = co_dislikes(events, 12).toarray()
    who = [set(events.users[(events.items == i) & (events.kinds == "dislike")]) for i in range(12)]
    for i in range(12):
        for j in range(12):
            expected = 0 if i == j else len(who[i] & who[j]) / (np.sqrt(len(who[i]) * len(who[j])) + SHRINKAGE)
            assert found[i, j] == pytest.approx(expected)


def test_only_the_nearest_stay_and_ties_go_to_the_smaller_column():
    x = csr_matrix(np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]], float))
    full = cosine_neighbours(x, 4, 4, 0.0).toarray()
    one = cosine_neighbours(x, 4, 1, 0.0).toarray()
    for row in range(4):
        assert np.flatnonzero(one[row]).tolist() == [int(full[row].argmax())]
    assert full[0, 1] == pytest.approx(1.0)  # disliked by the same three
    assert one[3, 0] == pytest.approx(full[3, 2])  # level with 1 and 2


def test_an_item_that_nobody_disliked_has_no_neighbours():
    events = log()
    found = co_dislikes(events, 14).toarray()
    assert not found[12:].any()
    assert not found[:, 12:].any()
