"""Probabilities of a dislike from scores, and the order that follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.score.probability import DislikeProbability, demoted, probability

ODDS = st.integers(-96, 96).map(lambda eighths: eighths / 8)  # whose sums are exact


def truth(scores: np.ndarray) -> np.ndarray:
    """No logistic function: it levels off at 0.4."""
    return 0.4 / (1 + np.exp(-3 * scores))


def test_it_is_how_often_what_scores_so_is_disliked() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=60_000)
    fitted = DislikeProbability.fit(scores, rng.random(60_000) < truth(scores))
    assert fitted is not None
    grid = np.linspace(-2, 2, 41)
    np.testing.assert_allclose(probability(fitted.of(grid)), truth(grid), atol=0.03)
    assert probability(fitted.of(np.array([np.nan])))[0] == pytest.approx(truth(scores).mean(), abs=0.01)
    assert len(fitted.scores) <= 100


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=300),
    st.lists(st.floats(-9, 9), min_size=2, max_size=20),
)
def test_a_higher_score_never_means_a_lower_probability(seen: list[tuple[int, bool]], asked: list[float]) -> None:
    scores, disliked = np.array(seen, np.float64).T
    fitted = DislikeProbability.fit(scores, disliked > 0)
    assert fitted is not None
    found = probability(fitted.of(np.sort(asked)))
    assert (np.diff(found) >= 0).all()
    assert ((found > 0) & (found < 1)).all()


def test_nothing_shown_teaches_nothing() -> None:
    assert DislikeProbability.fit(np.zeros(0), np.zeros(0, bool)) is None


def test_the_odds_of_a_dislike_count_like_places() -> None:
    odds = np.array([3.0, 1.0, 1.0, 0.1])  # places 1 to 4, as if 3, 2, 3 and 0.4: of equals the one that was ahead
    assert demoted(np.log(odds)).tolist() == [3, 1, 0, 2]


@given(st.lists(st.tuples(ODDS, ODDS), min_size=1, max_size=30), st.booleans(), st.data())
def test_nothing_is_lost_and_a_higher_probability_never_helps(
    pairs: list[tuple[float, float]], with_relevance: bool, data: st.DataObject
) -> None:
    log_odds, given_relevance = np.array(pairs).T
    relevance = given_relevance if with_relevance else None
    order = demoted(log_odds, relevance).tolist()
    assert sorted(order) == list(range(len(pairs)))
    equal = demoted(np.full(len(pairs), log_odds[0]), relevance).tolist()
    assert equal == (np.argsort(-given_relevance, kind="stable").tolist() if with_relevance else sorted(order))
    which, more = data.draw(st.integers(0, len(pairs) - 1)), data.draw(st.integers(0, 40)) / 8
    worse = log_odds.copy()
    worse[which] += more
    after = demoted(worse, relevance).tolist()
    assert after.index(which) >= order.index(which)
    assert [n for n in after if n != which] == [n for n in order if n != which]
