"""Traits that are one and the same under several names: never on the same item, and disliked by the same people.

Sellers write "chunky", "oversized" and "thick". Words that stand in the same places are no proof (so do "red" and
"blue"), but users tell: who is put off by one is put off by the others. So two traits are the same if

- they exclude each other: within a category they are on the same items much more rarely than chance has it, and
- the dislikes that users voice beyond what is expected of them go together (z >= `ALIKE`).

What is expected is the user's own rate of dislikes in the category, so a trait is not taken for another because both
are common where the user dislikes much. Pairs are joined the clearest first, and evidence is pooled on the way
(agglomerative clustering).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

ALIKE = 3.0
"""Standard deviations by which the dislikes of two traits go together more than by chance."""
EXCLUSIVE = 2.0
"""Log-likelihood ratio of "they exclude each other" against "they are independent"."""
SLIPS = 0.05
"""Traits that exclude each other are together this often all the same, against chance: sellers repeat themselves."""
OF_CATEGORY, OF_USER = 10.0, 20.0
"""Exposures at the user's (everybody's) rate that are added to those in a category (of a user)."""
MOST_EXPOSURES = 3_000_000
"""A sample of so many, of whole users, tells as much."""


class Seen(NamedTuple):
    """Whose (a number) event of what (an item's row): int64 [e] both."""

    users: np.ndarray
    items: np.ndarray


@dataclass(frozen=True)
class Reactions:
    """What of a log may be learned from: what was shown to whom, and what of it was disliked."""

    shown: Seen
    disliked: Seen

    def sample(self, most: int = MOST_EXPOSURES) -> Reactions:
        """The same of as many users, drawn at random, as were shown `most` items together."""
        if len(self.shown.users) <= most:
            return self
        counts = np.bincount(self.shown.users)
        order = np.random.default_rng(0).permutation(len(counts))
        chosen = order[np.cumsum(counts[order]) <= most]
        kept = [np.isin(part.users, chosen) for part in (self.shown, self.disliked)]
        return Reactions(*(Seen(p.users[k], p.items[k]) for p, k in zip((self.shown, self.disliked), kept)))


def same(traits: csr_matrix, categories: np.ndarray, scopes: np.ndarray, known: np.ndarray, told: Reactions) -> list:
    """Groups of traits that are the same, list[int64 array], each trait in one of them.

    traits: [n, k], 1 where an item has a trait. categories, scopes: int [n], an item's category and the wider one in
    which people hold something against a trait. known: int [m], the items that may be learned from.
    """
    together, chance = alike(traits, categories, scopes, told.sample())
    excluding = exclusion(traits[known], categories[known])
    groups = [[k] for k in range(traits.shape[1])]
    z = _z(together, chance, excluding)
    while len(groups) and z.max() >= ALIKE:
        a, b = np.unravel_index(np.argmax(z), z.shape)
        groups[a], groups[b] = groups[a] + groups[b], []
        for table in (together, chance, excluding):
            table[a] += table[b]
            table[:, a] += table[:, b]
        z[a] = z[:, a] = _z(together[a], chance[a], excluding[a])
        gone = np.array([len(group) == 0 for group in groups])
        gone[a] = True
        z[a, gone] = z[gone, a] = z[b] = z[:, b] = -np.inf
    return [np.array(group) for group in groups if group]


def exclusion(traits: csr_matrix, categories: np.ndarray) -> np.ndarray:
    """float64 [k, k]: by how much likelier "they exclude each other" is than "they are independent", in logs."""
    width = int(categories.max(initial=0)) + 1
    inside = csr_matrix((np.ones(len(categories)), (categories, np.arange(len(categories)))), (width, len(categories)))
    counts = (inside @ traits).tocsr()
    sizes = np.maximum(np.bincount(categories, minlength=width), 1)
    by_chance = (counts.T @ counts.multiply(1 / sizes[:, None])).toarray()
    found = np.log(SLIPS) * (traits.T @ traits).toarray() + (1 - SLIPS) * by_chance
    return np.asarray(found, np.float64)


def alike(
    traits: csr_matrix, categories: np.ndarray, scopes: np.ndarray, told: Reactions
) -> tuple[np.ndarray, np.ndarray]:
    """How far users' dislikes of two traits go together, and its variance by chance: float64 [k, k] twice."""
    shown, disliked = told.shown, told.disliked
    width, users = int(categories.max(initial=0)) + 1, int(max(p.users.max(initial=0) for p in (shown, disliked))) + 1
    met, rejected = (p.users.astype(np.int64) * width + categories[p.items] for p in (shown, disliked))
    keys, place = np.unique(np.concatenate([met, rejected]), return_inverse=True)
    of_met, of_rejected = np.split(place, [len(met)])
    base = (len(rejected) + 1) / (len(met) + 1)
    own = np.bincount(disliked.users, minlength=users) + OF_USER * base
    own = own / (np.bincount(shown.users, minlength=users) + OF_USER)
    rates = np.bincount(of_rejected, minlength=len(keys)) + OF_CATEGORY * own[keys // width]
    rates = rates / (np.bincount(of_met, minlength=len(keys)) + OF_CATEGORY)
    wide = int(scopes.max(initial=0)) + 1
    rows, place = np.unique(
        np.concatenate([p.users.astype(np.int64) * wide + scopes[p.items] for p in (shown, disliked)]),
        return_inverse=True,
    )
    size = len(rows), traits.shape[0]
    expected = csr_matrix((rates[of_met], (place[: len(met)], shown.items)), size) @ traits
    found = csr_matrix((np.ones(len(rejected)), (place[len(met) :], disliked.items)), size) @ traits
    beyond = (found - expected).tocsr()
    return (beyond.T @ beyond).toarray().astype(np.float64), (expected.T @ expected).toarray().astype(np.float64)


def _z(together: np.ndarray, chance: np.ndarray, excluding: np.ndarray) -> np.ndarray:
    """Standard deviations; -inf on a diagonal and for what does not exclude each other."""
    z = np.where(excluding >= EXCLUSIVE, together / np.sqrt(np.maximum(chance, 1e-9)), -np.inf)
    if z.ndim == 2:
        np.fill_diagonal(z, -np.inf)
    return z
