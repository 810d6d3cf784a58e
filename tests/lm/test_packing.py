"""Packed samples have the logits they have alone; packing loses nothing."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from conrec.lm.packing import collate, pack
from conrec.lm.prompts import Sample
from conrec.train.sft import answer_logits
from tests import tiny

WORDS = tiny.vocabulary()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(10, 60))
def test_every_sample_once_and_no_row_too_long(lengths, width):
    rows = pack(lengths, width)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    for row in rows:
        assert sum(lengths[n] for n in row) <= width or len(row) == 1


def test_best_fit_fills_rows():
    assert len(pack([6, 4, 5, 5, 3, 7], 10)) == 3


def test_packed_equals_separate():
    samples = [
        Sample(WORDS.text("red boots"), WORDS.sid(tiny.codes(1))),
        Sample(WORDS.sid(tiny.codes(2)), [*WORDS.text("wired"), WORDS.end]),
        Sample(WORDS.text("x"), WORDS.sid(tiny.codes(1, seed=4))),
    ]
    policy = tiny.policy(WORDS)
    with torch.no_grad():
        packed, targets = answer_logits(policy, collate(samples, [[0, 2, 1]], WORDS.pad))
        alone = [answer_logits(policy, collate(samples, [[n]], WORDS.pad)) for n in (0, 2, 1)]
    torch.testing.assert_close(packed, torch.cat([logits for logits, _ in alone]), atol=1e-5, rtol=1e-5)
    assert torch.equal(targets, torch.cat([t for _, t in alone]))
    assert targets.tolist() == [*samples[0].answer, *samples[2].answer, *samples[1].answer]
