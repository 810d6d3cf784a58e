"""Taking turns, spreads, memory of fresh processes, missing opponents."""

import sys

import numpy as np
import pytest

from benchmarks.measure import in_turns, memory_growth, one_thread, oracle, ratios, spread
from conrec.errors import ConrecError


def test_methods_take_turns_and_the_first_run_is_not_measured():
    now = 0.0
    order = []

    def lasting(name: str, seconds: list[float]):
        def work() -> None:
            nonlocal now
            order.append(name)
            now += seconds[order.count(name) - 1]

        return work

    methods = {"ours": lasting("ours", [9, 1, 2]), "theirs": lasting("theirs", [9, 10, 40])}
    taken = in_turns(methods, 2, clock=lambda: now)
    assert order == ["ours", "theirs"] * 3
    assert {name: seconds.tolist() for name, seconds in taken.items()} == {"ours": [1, 2], "theirs": [10, 40]}
    assert ratios(taken, "theirs").tolist() == [10, 20]
    assert spread(np.array([3.0, 1.0, 2.0])) == [1, 2, 3]


def of_megabytes(size: int):
    kept = []
    return lambda: kept.append(np.ones(size * 1_000_000, np.uint8))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of resident memory")
def test_memory_growth_is_that_of_the_work_alone():
    small, large = memory_growth(of_megabytes, 1), memory_growth(of_megabytes, 101)
    assert small is not None
    assert large is not None
    assert 90 < large - small < 110


def test_one_thread_is_put_back():
    import torch

    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_missing_opponent_names_the_extra():
    with pytest.raises(ConrecError, match=r"nowhere is not installed.*oracle") as error:
        oracle("nowhere.at.all")
    assert "\n" not in str(error.value)
