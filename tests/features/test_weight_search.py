"""Coordinate ascent over feature weights: ends where no single change is better, and asks for nothing twice."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from conrec.config import PredictConfig
from conrec.features.item_features import FeatureWeights
from conrec.features.weight_search import best_weights, choices_of, decodings

CHOICES = {"prior": (1.0, 0.0), "co_dislike_score": (0.0, 2.0), "exposure": (0.0, 0.5, 1.0)}
ALL = [FeatureWeights(prior=p, co_dislike_score=f, exposure=e) for p, f, e in itertools.product(*CHOICES.values())]


@given(st.lists(st.integers(0, 5), min_size=len(ALL), max_size=len(ALL)))
def test_no_single_change_is_better_and_nothing_is_measured_twice(figures):
    table = dict(zip(ALL, figures))
    asked = []

    def measure(weights):
        asked.extend(weights)
        return [table[one] for one in weights]

    best, tried = best_weights(CHOICES, measure)
    assert len(asked) == len(set(asked))
    assert tried == {one: table[one] for one in asked}
    assert asked[0] == FeatureWeights(prior=1.0)
    for name, values in CHOICES.items():
        assert all(table[best._replace(**{name: value})] <= table[best] for value in values)


def test_of_equals_the_first_stays():
    best, tried = best_weights(CHOICES, lambda weights: [0.0] * len(weights))
    assert best == FeatureWeights(prior=1.0)
    assert len(tried) > 1


def test_parts_that_are_too_much_together_are_found_at_their_middle():
    """Each alone at its largest is good; both at their middle are better, both at their largest are not."""
    table = {(0.0, 1.0): 3.0, (2.0, 0.0): 3.0, (2.0, 0.5): 4.0}

    def measure(weights):
        return [table.get((s.co_dislike_score, s.exposure), 0.0) - s.prior for s in weights]

    best, _ = best_weights(CHOICES, measure)
    assert (best.co_dislike_score, best.exposure) == (2.0, 0.5)


def test_what_helps_only_together_is_found():
    def measure(weights):
        return [
            10.0 * (s.exposure == 1.0 and s.co_dislike_score > 0 and s.prior == 0) - s.exposure - s.co_dislike_score
            for s in weights
        ]

    best, _ = best_weights(CHOICES, measure)
    assert best == FeatureWeights(prior=0.0, co_dislike_score=2.0, exposure=1.0)


def test_the_search_could_choose_any_combination():
    assert decodings(CHOICES) == len(ALL)
    config = PredictConfig(prior_weights=(0.0, 1.0), exposures=(0.0, 1.0), temperatures=(4.0, 1.0, 4.0))
    found = choices_of(config, {"exposure"})
    assert found == {"prior": (1.0, 0.0), "temperature": (1.0, 4.0, 4.0), "exposure": (0.0, 1.0)}
    assert decodings(found) == 8
