"""Traits that are one and the same under several names: never on the same item, and disliked by the same people.

Sellers write "chunky", "oversized" and "thick". Words that stand in the same places are no proof (so do "red" and
"blue"), but users tell: who is put off by one is put off by the others. So two traits are the same if

- they exclude each other: within a category they are on the same items much more rarely than chance has it, and
- the dislikes that users voice beyond what is expected of them go together (z >= `ALIKE`).

What is expected is the user's own rate of dislikes in the category, so a trait is not taken for another because both
are common where the user dislikes much. Pairs are joined the clearest first, and evidence is pooled on the way
(agglomerative clustering).
"""

import numpy as np
from scipy.sparse import csr_matrix

from conrec.data.instances import Events

ALIKE = 3.0
"""Standard deviations by which the dislikes of two traits go together more than by chance."""
EXCLUSIVE = 2.0
"""Log-likelihood ratio of "they exclude each other" against "they are independent"."""
SLIPS = 0.05
"""Traits that exclude each other are together this often all the same, against chance: sellers repeat themselves."""
OF_CATEGORY, OF_USER = 10.0, 20.0
"""Exposures at the user's (everybody's) rate that are added to those in a category (of a user)."""
MOST_EXPOSURES = 3_000_000
"""So many tell as much as more; of a longer log they are those of users drawn at random."""


def same(traits: csr_matrix, categories: np.ndarray, scopes: np.ndarray, known: np.ndarray, log: Events) -> list:
    """Groups of traits that are the same, list[int64 array], each trait in one of them.

    traits: [n, k], 1 where an item has a trait. categories, scopes: int [n], an item's category and the wider one in
    which people hold something against a trait. known: int [m], the items that may be learned from; log: the events.
    """
    together, chance = alike(traits, categories, scopes, sample(log))
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
    """float64 [k, k], -inf on the diagonal: by how much likelier "they exclude each other" is than chance, in logs."""
    width = int(categories.max(initial=0)) + 1
    inside = csr_matrix((np.ones(len(categories)), (categories, np.arange(len(categories)))), (width, len(categories)))
    counts = (inside @ traits).tocsr()
    sizes = np.maximum(np.bincount(categories, minlength=width), 1)
    by_chance = (counts.T @ counts.multiply(1 / sizes[:, None])).toarray()
    found: np.ndarray = np.log(SLIPS) * (traits.T @ traits).toarray() + (1 - SLIPS) * by_chance
    np.fill_diagonal(found, -np.inf)
    return found


def alike(traits: csr_matrix, categories: np.ndarray, scopes: np.ndarray, log: Events) -> tuple[np.ndarray, np.ndarray]:
    """How far users' dislikes of two traits go together, and its variance by chance: float64 [k, k] twice."""
    shown, disliked = np.flatnonzero(log.shown), np.flatnonzero(log.is_dislike)
    users, base = len(log.names), (len(disliked) + 1) / (len(shown) + 1)
    own = np.bincount(log.numbers[disliked], minlength=users) + OF_USER * base
    own = own / (np.bincount(log.numbers[shown], minlength=users) + OF_USER)
    width = int(categories.max(initial=0)) + 1
    pairs, place = np.unique(log.numbers.astype(np.int64) * width + categories[log.items], return_inverse=True)
    rates = np.bincount(place[disliked], minlength=len(pairs)) + OF_CATEGORY * own[pairs // width]
    rates = rates / (np.bincount(place[shown], minlength=len(pairs)) + OF_CATEGORY)
    wide = int(scopes.max(initial=0)) + 1
    rows, row = np.unique(log.numbers.astype(np.int64) * wide + scopes[log.items], return_inverse=True)
    size = len(rows), traits.shape[0]
    expected = csr_matrix((rates[place[shown]], (row[shown], log.items[shown])), size) @ traits
    found = csr_matrix((np.ones(len(disliked)), (row[disliked], log.items[disliked])), size) @ traits
    beyond = (found - expected).tocsr()
    return (beyond.T @ beyond).toarray().astype(np.float64), (expected.T @ expected).toarray().astype(np.float64)


def sample(log: Events, most: int = MOST_EXPOSURES) -> Events:
    """The events of as many users, drawn at random, as were shown `most` items together."""
    counts = np.bincount(log.numbers[log.shown], minlength=len(log.names))
    order = np.random.default_rng(0).permutation(len(counts))
    chosen = np.zeros(len(counts), bool)
    chosen[order] = np.cumsum(counts[order]) <= most
    return log if chosen.all() else log.take(chosen[log.numbers])


def _z(together: np.ndarray, chance: np.ndarray, excluding: np.ndarray) -> np.ndarray:
    """Standard deviations; -inf for what does not exclude each other."""
    return np.where(excluding >= EXCLUSIVE, together / np.sqrt(np.maximum(chance, 1e-9)), -np.inf)
