"""Forms of a sequence model: the better one on validation is used."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.baselines.lift import BestForm, under_prior
from conrec.baselines.linear import EASE
from conrec.baselines.sasrec import SASRec
from conrec.baselines.with_prior import WithPrior
from tests.baselines.planted import chain


def small(loss: str = "softmax") -> SASRec:
    return SASRec(loss=loss, width=16, layers=1, epochs=2)  # type: ignore[arg-type]


def test_the_better_form_is_chosen_and_training_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known, test = chain(users=60)
    trained: list[str] = []
    train = SASRec._train
    monkeypatch.setattr(SASRec, "_train", lambda self, *rest: (trained.append(self.name), train(self, *rest)))
    system = BestForm(small(), 14.0, 0.05)
    system.fit(known)
    assert known.validation is not None
    tried = system.tune(known.validation, 5)
    assert len(trained) == 1
    alone = {}
    chosen = system.inner.lift
    for form in (False, True):
        one = WithPrior(system.inner, 14.0, 0.05)
        one.known, system.inner.lift = known, form
        one.prior.fit(known)
        alone[form] = one.tune(known.validation, 5)
    system.inner.lift = chosen
    assert max(tried.values()) == max(value for found in alone.values() for value in found.values())
    assert tried == alone[chosen]
    assert system.form == ("sasrec_lift" if chosen else "sasrec")
    assert tried[system.weight] == max(tried.values())
    assert np.isfinite(system.scores(test)).all()


def test_only_what_was_trained_with_a_softmax_has_two_forms() -> None:
    softmax = under_prior(small(), 14.0, 0.05)
    assert isinstance(softmax, BestForm)
    for other in (small("binary"), EASE()):
        assert not isinstance(under_prior(other, 14.0, 0.05), BestForm)
