"""Four-way questions: sure dislikes, the user's own positives, no user on both sides."""

import numpy as np
import pytest

from conrec.config import UnderstandConfig
from conrec.data.instances import Events
from conrec.lm.prompts import ItemTokens
from conrec.train.alignment import alignment_samples, ask
from tests import tiny
from tests.data.events import events_of

WORDS = tiny.vocabulary()
CODES = tiny.codes(30)


def log(seed: int = 0, users: int = 60) -> Events:
    rng = np.random.default_rng(seed)
    n = users * 14
    kinds = np.array(["dislike", "click", "purchase", "exposure"])[rng.integers(0, 4, n)]
    who = np.array([f"u{k:03d}" for k in rng.integers(0, users, n)])
    times = np.datetime64("2026-01-01", "us") + np.arange(n) * np.timedelta64(60, "s")
    return events_of(who, rng.integers(0, 30, n).astype(np.int32), times, kinds, np.full(n, np.nan))


@pytest.mark.parametrize("repeats", [1, 2])
def test_every_question_is_fair(repeats):
    events = log()
    learn = np.arange(len(events.items)) < 700
    config = UnderstandConfig(alignment_samples=10_000, alignment_min_repeats=repeats, alignment_held_out=0.3)
    train, held_out = ask(events, learn, CODES, config, seed=1)
    disliked: dict[str, set[int]] = {}
    liked: dict[str, set[int]] = {}
    for user, item, kind in zip(events.users[learn], events.items[learn], events.kinds[learn]):
        if kind != "exposure":
            (disliked if kind == "dislike" else liked).setdefault(user, set()).add(int(item))

    def owners(row):
        return {
            u for u in disliked if row[0] in disliked[u] and set(row[1:].tolist()) <= liked.get(u, set()) - disliked[u]
        }

    assert len(train) > 20
    assert len(held_out) > 5
    for row in np.concatenate([train, held_out]):
        assert len(set(row.tolist())) == 4
        same_prefix = [u for u in owners(row) if sum(CODES[i, 0] == CODES[row[0], 0] for i in disliked[u]) >= repeats]
        assert same_prefix
    sure = sum(
        sum(CODES[j, 0] == CODES[i, 0] for j in disliked[u]) >= repeats
        for u in disliked
        for i in disliked[u]
        if len(liked.get(u, set()) - disliked[u]) >= 3
    )
    assert len(train) + len(held_out) == sure


def test_the_answer_stands_at_every_place_and_is_the_disliked_one():
    questions = np.array([[0, 1, 2, 3]] * 200)
    samples = alignment_samples(ItemTokens(WORDS, CODES), questions, seed=0)
    places = set()
    for sample in samples:
        assert sample.answer == WORDS.sid(CODES[0])
        text = sample.prompt
        first = [n for n in range(len(text)) if text[n : n + 3] == sample.answer]
        assert len(first) == 1
        places.add(first[0])
    assert len(places) == 4


def test_the_limit_holds_and_the_seed_decides():
    events = log()
    learn = np.ones(len(events.items), dtype=bool)
    config = UnderstandConfig(alignment_samples=30, alignment_min_repeats=1, alignment_held_out=0.2)
    first, again = (ask(events, learn, CODES, config, seed=3) for _ in range(2))
    assert len(first[0]) == 30
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
