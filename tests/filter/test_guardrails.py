"""Who is dropped when not all may be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.filter.guardrails import Guardrails, furthest_over


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 2.0]), max_size=30), st.integers(0, 30))
def test_the_worst_go_and_of_equals_the_lower_ranked(excess: list[float], at_most: int) -> None:
    over = np.arange(len(excess)) * 3
    goes = furthest_over(over, np.array(excess), at_most)
    by_hand = sorted(range(len(excess)), key=lambda n: (-excess[n], -n))[:at_most]
    assert goes.tolist() == sorted(3 * n for n in by_hand)


@given(st.integers(0, 1000), st.integers(0, 100), st.integers(0, 100))
def test_how_many_may_go_is_the_exact_arithmetic(candidates: int, percent: int, min_keep: int) -> None:
    exactly = int(Fraction(percent, 100) * candidates)
    assert Guardrails(min_keep, percent / 100).may_drop(candidates) == max(0, min(exactly, candidates - min_keep))


@pytest.mark.parametrize("wrong", [{"min_keep": -1}, {"max_drop_share": 1.1}, {"max_drop_share": float("nan")}])
def test_manners_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Guardrails(**wrong)  # type: ignore[arg-type]
