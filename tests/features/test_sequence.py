"""The sequence model as an item feature: it learns an order, and nothing from there on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conrec.features import sequence
from conrec.features.log_view import LogView
from conrec.features.sequence import WEEKS, Sequence
from tests.data.events import events_of
from tests.features.log_view_for_tests import cut_short, small_log_view
from tests.small_log import CUTS, START, all_instances

VIEW = small_log_view()
INSTANCES = all_instances(VIEW.events)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs instead of 20: for what does not depend on how well it is trained."""
    monkeypatch.setattr(sequence, "SIZES", replace(sequence.SIZES, epochs=2))


def period(moment: np.datetime64) -> np.datetime64:
    """When the period of `WEEKS` weeks begins in which the moment lies."""
    return np.datetime64(int(moment.astype("datetime64[W]").astype(int)) // WEEKS * WEEKS, "W").astype("datetime64[us]")


def in_turn(users: int = 40) -> LogView:
    """Each user dislikes the items 0, 1, 2, ... in turn, beginning anywhere, and likes one that says nothing."""
    names, rows, times, kinds = [], [], [], []
    for user in range(users):
        for step in range(12):
            names.append(f"u{user:02d}")
            rows.append((user * 7 + step) % 20 if step % 4 else 20 + user % 5)
            times.append(START + np.timedelta64(step * 4 * 86_400_000_000 + user, "us"))
            kinds.append("dislike" if step % 4 else "favorite")
    order = np.argsort(np.array(times))
    events = events_of(*(np.array(column)[order] for column in (names, rows, times, kinds)), np.zeros(len(order)))
    return replace(VIEW, events=replace(events, items=events.items.astype(np.int32)))


@pytest.mark.usefixtures("short")
def test_it_gives_probabilities_to_what_training_disliked_and_the_average_one_to_others() -> None:
    some = INSTANCES.take(np.flatnonzero(INSTANCES.cutoffs == CUTS[2]))
    view = replace(VIEW, events=VIEW.events.take(~(VIEW.events.is_dislike & (VIEW.events.items < 3))))
    found = Sequence(view).log_weight(some)
    before = view.events.times < period(CUTS[2])
    met = np.unique(view.events.items[view.events.is_dislike & before])
    assert found.shape == (len(some), len(view.items))
    np.testing.assert_allclose(np.exp(found[:, met]).sum(axis=1), 1, rtol=1e-4)
    never = np.setdiff1d(np.arange(len(view.items)), met)
    np.testing.assert_allclose(np.exp(found[:, never]), 1 / len(met), rtol=1e-5)
    assert len(never) >= 3


def test_it_learns_which_item_comes_after_which() -> None:
    view = in_turn()
    instances = all_instances(view.events)
    late = np.datetime64("2026-03-20T00:00:00", "us")
    asked = instances.take(np.flatnonzero(instances.n_dislikes > 3))
    asked = replace(asked, cutoffs=np.full(len(asked), late))
    found = Sequence(view).log_weight(asked)
    following = [(dislikes[-1] + 1) % 20 for dislikes in (asked.dislikes[n] for n in range(len(asked)))]
    place = (found > found[np.arange(len(asked)), following][:, None]).sum(axis=1)
    assert np.mean(place < 3) > 0.8


@pytest.mark.usefixtures("short")
def test_by_users_only_the_known_ones_are_learned_from_and_twice_the_same() -> None:
    known = np.unique(VIEW.events.users)[::2]
    view = replace(VIEW, train_users=known)
    alone = replace(view, events=view.events.take(np.isin(view.events.users, known)))
    found = [Sequence(one).log_weight(INSTANCES.take(np.arange(5))) for one in (view, alone)]
    with torch.inference_mode():  # as a decoder asks
        found.append(Sequence(view).log_weight(INSTANCES.take(np.arange(5))))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.usefixtures("short")
def test_nothing_after_the_cutoff_is_looked_at() -> None:
    some = INSTANCES.take(np.flatnonzero(INSTANCES.cutoffs == CUTS[1]))
    whole, part = (Sequence(view).log_weight(some) for view in (VIEW, cut_short(VIEW, CUTS[1])))
    np.testing.assert_array_equal(whole, part)


@pytest.mark.usefixtures("short")
def test_without_anything_to_learn_from_all_items_are_alike() -> None:
    early = replace(INSTANCES.take(np.arange(2)), cutoffs=np.full(2, VIEW.events.times[0] - np.timedelta64(90, "D")))
    assert not Sequence(VIEW).log_weight(early).any()


def test_a_large_log_is_bounded_in_items_and_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "ITEMS", 10)
    monkeypatch.setattr(sequence, "SHOWN", 8)
    some = INSTANCES.take(np.flatnonzero(INSTANCES.cutoffs == CUTS[2])[:3])
    found = Sequence(VIEW)
    assert np.isfinite(found.log_weight(some)).all()
    (model,) = found._models.values()
    assert len(model.tokens) <= 11
