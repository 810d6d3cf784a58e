"""Forms of a sequence model: the better one on validation is used, and likes turned upside down find dislikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conrec.baselines.base import TrainingData
from conrec.baselines.lift import BestForm, Lift, Reversed, under_prior
from conrec.baselines.linear import EASE
from conrec.baselines.sasrec import SASRec
from conrec.baselines.trivial import Popularity
from conrec.baselines.with_prior import WithPrior
from conrec.data.instances import Instances, Ragged
from tests.baselines.planted import chain, hit_share, world


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
    for form in system.forms:
        one = WithPrior(form, 14.0, 0.05)
        one.known = form.known = known
        one.prior.fit(known)
        alone[form] = one.tune(known.validation, 5)
    assert max(tried.values()) == max(value for found in alone.values() for value in found.values())
    assert tried == alone[system.inner]
    assert tried[system.weight] == max(tried.values())
    assert np.isfinite(system.scores(test)).all()


def test_only_what_was_trained_with_a_softmax_has_two_forms() -> None:
    softmax = under_prior(small(), 14.0, 0.05)
    assert isinstance(softmax, BestForm)
    assert isinstance(softmax.forms[1], Lift)
    for other in (small("binary"), EASE()):
        assert not isinstance(under_prior(other, 14.0, 0.05), BestForm)


def likes_only() -> Reversed:
    likes = SASRec("likes", loss="softmax", width=32, epochs=10, learning_rate=5e-3)
    likes.cells = 512
    return Reversed(likes)


def tastes(obscure: int) -> tuple[TrainingData, Instances]:
    """A user likes items of one half of the well-known ones, rather than the other half's, of which are the dislikes;
    `obscure` items are liked once in a while by anyone and disliked by nobody."""
    rng = np.random.default_rng(0)
    n_items = 40 + obscure
    histories, nexts = [], []
    for n in range(300):
        half = 20 * (n % 4 // 2)
        own, other = half + rng.permutation(20), 20 - half + rng.permutation(20)
        steps = [("favorite", int(item)) for item in own[:8]] + [("dislike", int(other[0]))]
        if obscure:
            steps[2:2] = [("favorite", int(other[2])), ("favorite", int(other[3]))]
        if obscure and rng.random() < 0.3:
            steps.insert(3, ("favorite", int(40 + rng.integers(obscure))))
        histories.append(steps)
        nexts.append(int(other[1]))
    return world(histories, nexts, n_items, [f"c{n % 5}" for n in range(n_items)])


@pytest.mark.slow
def test_what_is_not_to_a_users_taste_is_found() -> None:
    known, test = tastes(0)
    system, popularity = likes_only(), Popularity(None)
    system.fit(known)
    popularity.fit(known)
    assert hit_share(system.recommend(test, 20), test) > 0.95
    assert hit_share(popularity.recommend(test, 20), test) < 0.7


@pytest.mark.slow
def test_with_the_prior_it_finds_dislikes_and_not_the_obscure() -> None:
    known, test = tastes(60)
    system, popularity = WithPrior(likes_only(), 14, 0.05), Popularity(None)
    system.fit(known)
    system.tune(known.validation, 20)
    popularity.fit(known)
    lists = system.recommend(test, 20)
    assert (lists >= 40).mean() < 0.1
    assert hit_share(lists, test) > hit_share(popularity.recommend(test, 20), test)


@pytest.mark.slow
def test_it_stops_on_likes() -> None:
    known, test = tastes(0)
    likes = likes_only().model
    likes.fit(known)

    own = Ragged.of([[item] for item in likes.recommend(test, 20)[:, 0]])
    assert likes.validate(replace(test, future_positives=own)) == 1.0
    assert likes.validate(replace(test, future=own)) == 0.0


def test_only_a_model_of_likes_can_be_reversed() -> None:
    with pytest.raises(ValueError, match="reads dislikes"):
        Reversed(SASRec())
