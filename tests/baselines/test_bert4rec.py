from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from conrec.baselines import sequence_model
from conrec.baselines.bert4rec import BERT4Rec
from conrec.features.sequences import OTHER, PREDICTED, Batch
from tests.baselines.planted import chain


@pytest.fixture(scope="module")
def system() -> BERT4Rec:
    known, _ = chain()
    system = BERT4Rec(width=16, epochs=1, masked=0.4)
    system.repeats = 1
    system.fit(replace(known, validation=None))
    return system


def batch(n: int = 400) -> Batch:
    tokens = torch.tensor([[5, 1, 2, 7, 3, 0]]).repeat(n, 1)
    marks = torch.tensor([[PREDICTED, OTHER, PREDICTED, PREDICTED, OTHER, 0]]).repeat(n, 1)
    return Batch(tokens, marks, marks == PREDICTED, torch.zeros(n, dtype=torch.int64))


def test_only_dislikes_are_masked_and_half_of_the_windows_end_with_the_mask(system: BERT4Rec) -> None:
    windows = batch()
    shown, hidden = system.hide(windows, torch.Generator().manual_seed(0))
    assert hidden.any(1).all()
    assert not hidden[windows.marks != PREDICTED].any()
    last = (shown != 0).sum(1) - 1
    cutoff = hidden[torch.arange(len(last)), last]
    assert (hidden[cutoff].sum(1) == 1).all()
    assert sorted(set(last[cutoff].tolist())) == [0, 2, 3]
    # Besides the half that is cut, those in which none of three was drawn at 0.4.
    assert float(cutoff.float().mean()) == pytest.approx(0.5 + 0.5 * 0.6**3, abs=0.06)
    assert (shown[~cutoff] == windows.tokens[~cutoff]).all()
    assert float(hidden[~cutoff][:, [0, 2, 3]].float().mean()) == pytest.approx(0.4 / (1 - 0.6**3), abs=0.06)


@pytest.mark.parametrize(("of_all", "rounds"), [(9.0, 5), (2.5, 2), (0.1, 1)])
def test_an_epoch_repeats_few_windows_only(of_all: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`of_all`: the windows of an epoch, of those there are."""
    known, _ = chain()
    counted: list[int] = []
    shuffled = sequence_model.shuffled

    def counting(windows: Batch, *rest: Any) -> Any:
        counted.append(len(windows))
        return shuffled(windows, *rest)

    monkeypatch.setattr(sequence_model, "shuffled", counting)
    windows = len(set(known.events.users.tolist()))  # histories are short: one window a user
    monkeypatch.setattr(sequence_model, "EPOCH", int(of_all * windows))
    system = BERT4Rec(width=16, epochs=1)
    system.fit(replace(known, validation=None))
    assert counted == [windows] * rounds


def test_what_is_masked_is_not_seen(system: BERT4Rec) -> None:
    """The state at a mask does not depend on what stands behind it, and does depend on both sides."""
    windows = batch(1)
    hidden = torch.tensor([[False, False, True, False, False, False]])

    def state(tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return system.network(torch.where(hidden, system.network.mask, tokens), torch.ones_like(tokens))[0, 2]

    before = state(windows.tokens)
    for place, same in ((2, True), (0, False), (4, False)):
        changed = windows.tokens.clone()
        changed[0, place] = 9
        assert torch.allclose(before, state(changed), atol=1e-6) == same


def test_the_question_is_a_mask_after_the_newest(system: BERT4Rec) -> None:
    tokens = torch.tensor([[5, 1, 2, 0], [5, 1, 2, 4]])
    marks = (tokens != 0).long()
    asked = system.logits(Batch(tokens, marks, marks > 0, torch.zeros(2, dtype=torch.int64)))
    mask = system.network.mask
    for row, sequence in enumerate(([5, 1, 2, mask], [5, 1, 2, 4, mask])):
        alone = torch.tensor([sequence])
        with torch.no_grad():
            expected = system.network.logits(system.network(alone, torch.ones_like(alone)))[0, -1]
        assert torch.allclose(asked[row], expected, atol=1e-5)
    assert np.isfinite(asked.detach().numpy()).all()
