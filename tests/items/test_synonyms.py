"""Traits that are the same: told by users who dislike both, not by where they stand."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from conrec.data.instances import Events
from conrec.items.synonyms import SLIPS, alike, exclusion, same, sample
from tests.data.events import events_of

ITEMS, USERS = 240, 300
BULKY, CHUNKY, SLIM, RED = range(4)


def shop(seed: int = 0) -> tuple[csr_matrix, np.ndarray]:
    """Every item is bulky, chunky or slim, and half of them red; two categories by turns."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(3, size=ITEMS)
    traits = np.zeros((ITEMS, 4))
    traits[np.arange(ITEMS), shape] = 1
    traits[:, RED] = rng.random(ITEMS) < 0.5
    return csr_matrix(traits), np.arange(ITEMS) % 2


def events(users: np.ndarray, items: np.ndarray, disliked: np.ndarray) -> Events:
    """Everything shown is an exposure, and a dislike, too, where it was disliked; users by number."""
    kinds = np.repeat(["exposure", "dislike"], [len(users), disliked.sum()])
    users, items = (np.append(column, column[disliked]) for column in (users, items))
    times = np.arange(len(users)).astype("datetime64[us]")
    return events_of(np.char.mod("u%03d", users), items, times, kinds, np.full(len(users), np.nan))


def told(traits: csr_matrix, seed: int = 1) -> Events:
    """Each user is shown 40 items; a third cannot stand what is bulky or chunky, a third what is slim."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(USERS), 40), rng.integers(ITEMS, size=USERS * 40)
    shape = traits.toarray()[:, :3].argmax(axis=1)
    hated = np.where(users % 3 == 0, shape[items] < 2, (users % 3 == 1) & (shape[items] == SLIM))
    return events(users, items, rng.random(len(users)) < np.where(hated, 0.4, 0.01))


def test_what_the_same_people_dislike_and_no_item_has_twice_is_the_same() -> None:
    traits, categories = shop()
    groups = same(traits, categories, categories, np.arange(ITEMS), told(traits))
    assert sorted(sorted(group.tolist()) for group in groups) == [[BULKY, CHUNKY], [SLIM], [RED]]


def test_without_dislikes_nothing_is_the_same() -> None:
    traits, categories = shop()
    log = told(traits)
    for silent in (log.take(log.shown), log.take(np.zeros(len(log), bool))):
        assert len(same(traits, categories, categories, np.arange(ITEMS), silent)) == 4


def test_exclusion_compares_with_chance_within_the_category() -> None:
    traits, categories = shop()
    found, dense = exclusion(traits, categories), traits.toarray()
    chance = sum(
        dense[categories == c, BULKY].sum() * dense[categories == c, RED].sum() / (categories == c).sum()
        for c in (0, 1)
    )
    together = (dense[:, BULKY] * dense[:, RED]).sum()
    np.testing.assert_allclose(found[BULKY, RED], np.log(SLIPS) * together + (1 - SLIPS) * chance)
    assert found[BULKY, CHUNKY] > 2 > 0 > found[BULKY, RED]
    # What stands in different categories was never going to meet.
    apart = csr_matrix(np.stack([categories == 0, categories == 1], 1) * 1.0)
    assert exclusion(apart, categories)[0, 1] == 0


def test_dislikes_together_are_summed_over_users_and_scopes() -> None:
    traits, categories = shop()
    log = told(traits)
    together, chance = alike(traits, categories, np.zeros(ITEMS, int), log)
    assert together[BULKY, CHUNKY] > 10 * np.sqrt(chance[BULKY, CHUNKY])
    assert together[BULKY, SLIM] < 0
    np.testing.assert_allclose(together, together.T)
    # Nobody's number matters, and the order of the log does not either.
    other = log.take(np.random.default_rng(2).permutation(len(log)))
    other = replace(other, numbers=USERS - 1 - other.numbers)
    np.testing.assert_allclose(alike(traits, categories, np.zeros(ITEMS, int), other)[0], together)


def test_a_sample_is_of_whole_users() -> None:
    log = told(shop()[0])
    part = sample(log, 2000)
    users = part.owners()[0]
    assert part.shown.sum() == 2000 == 40 * len(users)
    assert part.is_dislike.sum() == log.is_dislike[log.of_users(users)].sum() > 0
    assert sample(log, 10**6) is log
