"""Traits that are the same: told by users who dislike both, not by where they stand."""

import numpy as np
from scipy.sparse import csr_matrix

from conrec.items.synonyms import SLIPS, Reactions, Seen, alike, exclusion, same

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


def told(traits: csr_matrix, seed: int = 1) -> Reactions:
    """Each user is shown 40 items; a third cannot stand what is bulky or chunky, a third what is slim."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(USERS), 40), rng.integers(ITEMS, size=USERS * 40)
    shape = traits.toarray()[:, :3].argmax(axis=1)
    hated = np.where(users % 3 == 0, shape[items] < 2, (users % 3 == 1) & (shape[items] == SLIM))
    disliked = rng.random(len(users)) < np.where(hated, 0.4, 0.01)
    return Reactions(Seen(users, items), Seen(users[disliked], items[disliked]))


def test_what_the_same_people_dislike_and_no_item_has_twice_is_the_same() -> None:
    traits, categories = shop()
    groups = same(traits, categories, categories, np.arange(ITEMS), told(traits))
    assert sorted(sorted(group.tolist()) for group in groups) == [[BULKY, CHUNKY], [SLIM], [RED]]


def test_without_dislikes_nothing_is_the_same() -> None:
    traits, categories = shop()
    nothing = np.zeros(0, np.int64)
    silent = Reactions(told(traits).shown, Seen(nothing, nothing))
    assert len(same(traits, categories, categories, np.arange(ITEMS), silent)) == 4
    nobody = Reactions(Seen(nothing, nothing), Seen(nothing, nothing))
    assert len(same(traits, categories, categories, np.arange(ITEMS), nobody)) == 4


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
    reactions = told(traits)
    together, chance = alike(traits, categories, np.zeros(ITEMS, int), reactions)
    assert together[BULKY, CHUNKY] > 10 * np.sqrt(chance[BULKY, CHUNKY])
    assert together[BULKY, SLIM] < 0
    np.testing.assert_allclose(together, together.T)
    # Nobody's number matters, and the order of the log does not either.
    order = np.random.default_rng(2).permutation(len(reactions.shown.users))
    shown = Seen(USERS - 1 - reactions.shown.users[order], reactions.shown.items[order])
    other = Reactions(shown, Seen(USERS - 1 - reactions.disliked.users, reactions.disliked.items))
    np.testing.assert_allclose(alike(traits, categories, np.zeros(ITEMS, int), other)[0], together)


def test_a_sample_is_of_whole_users() -> None:
    reactions = told(shop()[0])
    part = reactions.sample(2000)
    users = np.unique(part.shown.users)
    assert len(part.shown.users) == 2000 == 40 * len(users)
    assert len(part.disliked.users) == np.isin(reactions.disliked.users, users).sum()
    assert reactions.sample(10**6) is reactions
