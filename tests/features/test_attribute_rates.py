"""Rates of dislike by attribute: the posterior worked out user by user, what is learned, and what is not looked at."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from conrec.data.instances import Events, Instances, Ragged, offsets_of
from conrec.data.schema import REASONS
from conrec.features.attribute_rates import (
    EXPOSURES,
    AttributeRates,
    Attributes,
    RatesOf,
    changed_rates,
    explanations,
)
from tests.data.events import events_of
from tests.small_log import CUTS, all_instances, small_log

ITEMS, LOG = small_log()
N = len(ITEMS)
FIELDS = [
    {"category": "a|b" if n % 3 == 0 else "a", "colour": "red" if n % 2 else "blue", "store": f"s{n % 4}"}
    for n in range(N)
]
SHOE, HAT = {"category": "shoe"}, {"category": "hat"}
LEATHER, CLOTH = {"material": "leather"}, {"material": "cloth"}
KINDS = [SHOE | LEATHER, SHOE | CLOTH, HAT | LEATHER, HAT | CLOTH]
"""Of four items each."""


@pytest.fixture(scope="module")
def instances() -> Instances:
    return all_instances(LOG)


def log(shown: list[tuple[str, int]], disliked: list[tuple[str, int, int]]) -> Events:
    """A platform's log, a minute an event: (user, item) shown, then (user, item, reason) disliked."""
    rows = [(user, item, "exposure", -1) for user, item in shown]
    rows += [(user, item, "dislike", reason) for user, item, reason in disliked]
    times = np.datetime64("2026-01-01T12:00", "us") + np.arange(len(rows)) * np.timedelta64(60_000_000, "us")
    users, items, kinds, reasons = (list(column) for column in zip(*rows))
    return events_of(
        np.array(users),
        np.array(items, np.int32),
        times,
        np.array(kinds),
        np.full(len(rows), np.nan),
        np.array(reasons, np.int8),
    )


def asked(users: list[str], instances: Instances) -> Instances:
    """Instances of these users, a day after the log above."""
    some = instances.take(np.arange(len(users)))
    cutoffs = np.full(len(users), np.datetime64("2026-01-05", "us"))
    return Instances(**{**some.__dict__, "users": np.array(users), "cutoffs": cutoffs})


def test_attributes_are_values_and_pairs_with_a_category() -> None:
    found = Attributes.of([SHOE | LEATHER] * 3 + [SHOE | CLOTH] * 3 + [HAT | CLOTH] * 2)
    # all, shoe, leather, shoe and leather, cloth, shoe and cloth; a hat is met twice only
    assert found.matrix.shape == (8, 6)
    uses = sorted(np.asarray(found.matrix.sum(axis=0)).ravel().tolist())
    assert uses == [3, 3, 3, 5, 6, 8]
    assert len(set(found.field.tolist())) == 3


def test_a_number_is_between_two_points_of_its_scale() -> None:
    found = Attributes.of([{"year": str(1950 + n)} for n in range(60)])
    np.testing.assert_allclose(np.asarray(found.matrix.sum(axis=1)).ravel(), 2, rtol=1e-5)


def test_of_too_many_the_commonest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conrec.features.attribute_rates.MOST_ATTRIBUTES", 3)
    found = Attributes.of([SHOE | LEATHER] * 3 + [SHOE | CLOTH] * 4)
    assert np.asarray(found.matrix.sum(axis=0)).ravel().tolist() == [7, 7, 4]


def test_two_categories_are_one_pair() -> None:
    found = Attributes.of([{"category": "a|b"}] * 3 + [{"category": "b|a"}] * 3)
    assert found.matrix.shape == (6, 4)  # all, a, b, a and b


def test_explanations_are_averaged_over_the_posterior() -> None:
    """Against all ways to give four dislikes to their attributes, the rates integrated out."""
    rng = np.random.default_rng(3)
    starts = np.array([0, 3, 5, 8, 10])
    attributes = np.array([0, 1, 2, 0, 1, 1, 2, 3, 0, 3])
    fits, shape = rng.uniform(0.2, 1.0, 10), np.array([0.3, 0.1, 0.05, 0.2])
    against = EXPOSURES + np.array([30.0, 5.0, 2.0, 8.0])
    expected, total = np.zeros(4), 0.0
    for places in product(*(range(a, b) for a, b in pairwise(starts))):
        counts = np.bincount(attributes[list(places)], minlength=4)
        weight = np.exp(np.log(fits[list(places)]).sum() + (gammaln(shape + counts) - counts * np.log(against)).sum())
        expected, total = expected + weight * counts, total + weight
    draws = np.random.default_rng(0).random(200_000 * 4)
    found = explanations(starts, attributes, fits, shape, against, draws, 200_000, 1000)
    np.testing.assert_allclose(found, expected / total, atol=0.02)


def test_rates_explain_all_dislikes_and_no_user_looks_at_another() -> None:
    rng = np.random.default_rng(0)
    dense = (rng.random((12, 7)) < 0.4).astype(np.float64)
    dense[:, 0] = 1
    matrix, shape, reasons = csr_matrix(dense), rng.gamma(1.0, 0.1, 7) + 0.01, rng.random((7, 3))
    shown = [rng.integers(0, 12, n) for n in (20, 5, 9)]
    counts = [rng.integers(1, 4, len(items)) for items in shown]
    disliked, given = [[1, 5], [], [1, 7, 9]], [[0, -1], [], [1, 1, -1]]

    def found(users: list[int]) -> np.ndarray:
        met, rejected = (ragged([lists[user] for user in users]) for lists in (shown, disliked))
        flat = [np.concatenate([lists[user] for user in users]).astype(int) for lists in (counts, given)]
        changes = changed_rates(matrix, shape, reasons, met, flat[0], rejected, flat[1])
        return csr_matrix(changes, (len(users), 7)).toarray() + shape / EXPOSURES

    rates = found([0, 1, 2])
    for user in range(3):
        seen = counts[user] @ dense[shown[user]]
        explained = rates[user] * (EXPOSURES + seen) - shape
        assert explained.sum() == pytest.approx(len(disliked[user]))
        assert explained.min() > -1e-9
        np.testing.assert_allclose(explained[~dense[disliked[user]].any(axis=0)], 0, atol=1e-9)
        np.testing.assert_array_equal(found([user])[0], rates[user])
    changes = csr_matrix(rates - shape / EXPOSURES)
    for items in (matrix, matrix[[3, 8]]):
        found_of = RatesOf.items(items, shape).of_users((changes.data, changes.indices, changes.indptr))
        np.testing.assert_allclose(found_of, rates @ items.toarray().T, rtol=1e-6)


def ragged(lists: list[Any]) -> Ragged:
    return Ragged(
        np.concatenate([np.asarray(one, int) for one in lists]), offsets_of(np.array([len(one) for one in lists]))
    )


def test_showings_without_a_dislike_rule_attributes_out(instances: Instances) -> None:
    items = [kind for kind in KINDS for _ in range(4)]
    # Both dislike two leather shoes. One was shown cloth shoes in vain, the other leather hats.
    disliked = [(user, item, -1) for user in ("cloth", "hats") for item in (0, 1)]
    shown = [(user, item) for user, item, _ in disliked]
    shown += [("cloth", 4 + n % 4) for n in range(40)] + [("hats", 8 + n % 4) for n in range(40)]
    rates = np.exp(AttributeRates(items, log(shown, disliked)).log_weight(asked(["cloth", "hats"], instances)))
    leather_shoe, cloth_shoe, leather_hat, cloth_hat = (rates[:, 4 * n + 3] for n in range(4))
    assert (leather_shoe > 2 * np.maximum(cloth_shoe, leather_hat)).all()
    assert leather_hat[0] > 2 * cloth_shoe[0]
    assert cloth_shoe[1] > 2 * leather_hat[1]
    assert (np.minimum(cloth_shoe, leather_hat) > 0).all()
    assert (cloth_hat < leather_shoe).all()


def test_what_many_dislike_is_expected_of_a_stranger(instances: Instances) -> None:
    items = [kind for kind in KINDS for _ in range(4)]
    shown = [(f"u{n}", item) for n in range(30) for item in range(16)]
    disliked = [(f"u{n}", n % 4, -1) for n in range(30)]
    (rates,) = AttributeRates(items, log(shown, disliked)).log_weight(asked(["stranger"], instances))
    assert rates[:4].min() > rates[4:].max()


def test_a_reason_says_which_attribute_it_was(instances: Instances) -> None:
    """Some dislike shoes and say 'category', some leather and say 'product'; a leather shoe may be either."""
    items = [kind for kind in KINDS for _ in range(4)]
    shown = [(f"u{n}", item) for n in range(40) for item in range(16)]
    about = {"category": REASONS.index("not_this_category"), "product": REASONS.index("not_this_product")}
    disliked = [(f"u{n}", item, about["category"]) for n in range(20) for item in range(n % 2, 8, 2)]
    disliked += [
        (f"u{n}", item + 4 * (item > 3), about["product"]) for n in range(20, 40) for item in range(n % 2, 8, 2)
    ]
    shown += [("x", 0), ("y", 0)]
    disliked += [("x", 0, about["category"]), ("y", 0, about["product"])]
    rates = AttributeRates(items, log(shown, disliked)).log_weight(asked(["x", "y"], instances))
    cloth_shoe, leather_hat = rates[:, 5], rates[:, 9]
    assert cloth_shoe[0] > leather_hat[0]
    assert leather_hat[1] > cloth_shoe[1]


def test_nothing_after_the_cut_is_looked_at(instances: Instances) -> None:
    some = instances.take(instances.cutoffs == CUTS[1])
    before = LOG.take(LOG.times < CUTS[1])
    whole, part = (AttributeRates(FIELDS, one).log_weight(some) for one in (LOG, before))
    np.testing.assert_array_equal(whole, part)
    assert len(np.unique(whole, axis=0)) > 1


def test_by_users_everybody_is_the_known_users_whole_log(instances: Instances) -> None:
    known = np.unique(LOG.users)[::2]
    stranger = Instances(**{**instances.__dict__, "users": np.full(len(instances), "zz")})
    found = AttributeRates(FIELDS, LOG, known).log_weight(stranger)
    alone = LOG.take(np.isin(LOG.users, known))
    late = Instances(
        **{**stranger.__dict__, "cutoffs": np.full(len(instances), LOG.times.max() + np.timedelta64(1, "D"))}
    )
    np.testing.assert_allclose(found, AttributeRates(FIELDS, alone).log_weight(late), rtol=1e-6)
    np.testing.assert_array_equal(found, found[:1].repeat(len(found), axis=0))


def test_items_without_attributes_have_what_all_share(instances: Instances) -> None:
    rates = AttributeRates([{} for _ in range(N)], LOG).log_weight(instances.take(np.arange(4)))
    assert np.isfinite(rates).all()
    np.testing.assert_allclose(rates, rates[:, :1].repeat(N, axis=1), rtol=1e-6)


def test_a_dislike_that_nobody_known_shares_still_counts(instances: Instances) -> None:
    """Known users disliked no hat, so all of them say that hats are never disliked; the user did dislike one."""
    shown = [(user, item) for user in "ab" for item in range(16)]
    items = [kind for kind in (SHOE, HAT) for _ in range(8)]
    events = log(shown, [("b", 0, -1), ("b", 1, -1), ("a", 8, -1), ("a", 9, -1)])
    rates = AttributeRates(items, events, np.array(["b"])).log_weight(asked(["a"], instances))
    assert np.isfinite(rates).all()
    assert (rates[:, 8:] > rates[:, :8]).all()
