"""Batches of similar length."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conrec.lm.training import batches_from, batches_of_epoch


@given(st.lists(st.integers(1, 500), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 3))
def test_every_sample_at_most_once_and_whole_batches_only(lengths: list[int], batch: int, epoch: int) -> None:
    found = batches_of_epoch(np.array(lengths), batch, 7, epoch)
    chosen = np.concatenate(found)
    assert len(set(chosen.tolist())) == len(chosen)
    assert set(chosen.tolist()) <= set(range(len(lengths)))
    assert len(found) == max(1, len(lengths) // batch)
    assert all(len(one) == min(batch, len(lengths)) for one in found)


def test_little_is_padding_and_epochs_differ() -> None:
    lengths = np.random.default_rng(0).geometric(0.01, 4000)
    first, second = (batches_of_epoch(lengths, 16, 0, epoch) for epoch in (0, 1))

    def padded(batches: list[np.ndarray]) -> int:
        return sum(len(one) * int(lengths[one].max()) for one in batches)

    order = np.arange(4000).reshape(-1, 16)
    assert padded(first) < 1.25 * lengths.sum()
    assert padded(list(order)) > 3 * lengths.sum()  # in the order of the log
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    again = batches_of_epoch(lengths, 16, 0, 0)
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))


@given(st.integers(0, 40))
def test_a_run_goes_on_at_any_step(step: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 90, 50)
    whole = [one for epoch in range(8) for one in batches_of_epoch(lengths, 7, 3, epoch)]
    for got, wanted in zip(islice(batches_from(step, lengths, 7, 3), 10), whole[step:]):
        np.testing.assert_array_equal(got, wanted)
