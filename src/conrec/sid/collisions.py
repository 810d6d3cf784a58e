"""Collisions repaired: afterwards every item has a semantic ID of its own, wherever the sizes allow it.

Greedy: of the items that share an ID the one nearest to its codewords keeps it; each other one takes the free
last-level code under its own prefix that is nearest to what the prefix leaves over. Where a prefix is full, the
item moves to the nearest free combination of the last two levels, and then of ever more levels. An extra token for
the collisions would do it, too, but costs a token for every item in every prompt.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from conrec.errors import ConrecError
from conrec.sid.kmeans import reconstruct

MAX_COMBINATIONS = 1 << 18
"""Sums of codewords that a search over several levels compares at once; beyond, it goes level by level."""


def repair(
    latents: np.ndarray, codes: np.ndarray, codewords: list[np.ndarray], taken: set[tuple[int, ...]] | None = None
) -> np.ndarray:
    """Codes int32 [n, levels] without duplicates; items that collide with nobody keep theirs.

    `latents` float32 [n, d] say what is near. IDs in `taken` (of items coded earlier) stay theirs. ConrecError
    where there are more items than IDs.
    """
    sizes = [len(words) for words in codewords]
    used = set(taken or ())
    room = np.prod([float(size) for size in sizes])
    if len(codes) + len(used) > room:
        raise ConrecError(f"{len(codes) + len(used)} items for {room:.0f} semantic IDs; raise sid.codes or sid.levels")
    error = ((latents - reconstruct(codes, codewords)) ** 2).sum(axis=1)
    repaired = codes.copy()
    homeless = []
    for row in np.argsort(error, kind="stable").tolist():
        sid = tuple(codes[row].tolist())
        if sid in used:
            homeless.append(row)
        used.add(sid)
    full: set[tuple[int, ...]] = set()
    for row in homeless:
        sid = _nearest_free(latents[row], tuple(codes[row].tolist()), codewords, used, full)
        used.add(sid)
        repaired[row] = sid
    return repaired


def _nearest_free(
    latent: np.ndarray,
    sid: tuple[int, ...],
    codewords: list[np.ndarray],
    used: set[tuple[int, ...]],
    full: set[tuple[int, ...]],
) -> tuple[int, ...]:
    """The free ID nearest to `latent` under the longest prefix of `sid` that has one. `full` remembers prefixes."""
    for kept in range(len(sid) - 1, -1, -1):
        prefix = sid[:kept]
        if prefix in full:
            continue
        before = sum((codewords[level][code] for level, code in enumerate(prefix)), np.zeros_like(latent))
        for tail in _by_distance(latent - before, codewords[kept:]):
            if prefix + tail not in used:
                return prefix + tail
        full.add(prefix)
    raise AssertionError("no free ID although there is room")  # repair has counted


def _by_distance(residual: np.ndarray, codewords: list[np.ndarray]) -> Iterator[tuple[int, ...]]:
    """Combinations of the levels' codes, nearest sum first; where there are too many, level after level."""
    sizes = [len(words) for words in codewords]
    if len(sizes) > 1 and np.prod([float(size) for size in sizes]) > MAX_COMBINATIONS:
        for code in np.argsort(((residual - codewords[0]) ** 2).sum(axis=1), kind="stable").tolist():
            for tail in _by_distance(residual - codewords[0][code], codewords[1:]):
                yield (code, *tail)
        return
    sums = np.zeros((1, len(residual)), np.float32)
    for words in codewords:
        sums = (sums[:, None] + words[None]).reshape(-1, len(residual))
    order = np.argsort(((residual - sums) ** 2).sum(axis=1), kind="stable")
    yield from zip(*(part.tolist() for part in np.unravel_index(order, sizes)))
