from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.evaluate.replay import choose_threshold

SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40)


@given(SCORES, st.floats(0, 1))
def test_the_budget_is_kept_and_no_lower_threshold_keeps_it(scores: list[float], budget: float) -> None:
    values = np.array(scores)
    threshold = choose_threshold(values, budget)
    assert (values > threshold).mean() <= budget + 1e-9
    # Lowering it to just below the next score that occurs would break the budget.
    at_or_below = values[values <= threshold]
    if len(at_or_below):
        assert (values > at_or_below.max() - 1e-9).mean() > budget - 1e-6


def test_without_positives_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(ValueError, match="no positive"):
        choose_threshold(np.zeros(0), 0.02)
    with pytest.raises(ValueError, match="likes_lost"):
        choose_threshold(np.ones(3), 1.5)
