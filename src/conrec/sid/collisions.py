"""Collisions repaired: afterwards every item has a semantic ID of its own, wherever the sizes allow it.

Greedy: of the items that share an ID the one nearest to its codewords keeps it; each other one takes the free
last-level code under its own prefix that is nearest to what the prefix leaves over. Where a prefix is full, the
item moves to the nearest free combination of the last two levels, and then of ever more levels. An extra token for
the collisions would do it, too, but costs a token for every item in every prompt.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from conrec.errors import ConrecError
from conrec.sid.catalog import reconstruct

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
    free = _FreeIds(codewords, used)
    # Items that are alike come one after the other; how near the IDs are is worked out once for all of them.
    for _, alike in groupby(homeless, key=lambda row: latents[row].tobytes() + codes[row].tobytes()):
        rows = list(alike)
        for row, sid in zip(rows, free.nearest(latents[rows[0]], tuple(codes[rows[0]].tolist()), len(rows))):
            free.take(sid)
            repaired[row] = sid
    return repaired


class _FreeIds:
    """The semantic IDs that nobody has, prefix by prefix."""

    def __init__(self, codewords: list[np.ndarray], used: set[tuple[int, ...]]) -> None:
        self._codewords = codewords
        self._sizes = tuple(map(len, codewords))
        self._last: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)  # codes in use, by those before them
        for sid in used:
            self._last[sid[:-1]].append(sid[-1])
        self._free: dict[tuple[int, ...], np.ndarray] = {}  # of prefixes asked for: bool [combinations of other codes]

    def take(self, sid: tuple[int, ...]) -> None:
        self._last[sid[:-1]].append(sid[-1])
        for kept in range(len(sid)):
            if (free := self._free.get(sid[:kept])) is not None:
                free[np.ravel_multi_index(sid[kept:], self._sizes[kept:])] = False

    def nearest(self, latent: np.ndarray, sid: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
        """At most so many free IDs, each to be taken before the next: the nearest, under the longest prefix first."""
        for kept in range(len(sid) - 1, -1, -1):
            before = sum((self._codewords[level][code] for level, code in enumerate(sid[:kept])), np.zeros_like(latent))
            yield from self._under(sid[:kept], latent - before, most)

    def _under(self, prefix: tuple[int, ...], residual: np.ndarray, most: int) -> Iterator[tuple[int, ...]]:
        """The free IDs under a prefix, nearest first; where there are too many combinations, level after level."""
        kept = len(prefix)
        sizes, words = self._sizes[kept:], self._codewords[kept:]
        if len(sizes) > 1 and np.prod([float(size) for size in sizes]) > MAX_COMBINATIONS:
            for code in np.argsort(((residual - words[0]) ** 2).sum(axis=1), kind="stable").tolist():
                yield from self._under((*prefix, code), residual - words[0][code], most)
            return
        if prefix not in self._free:
            free = np.ones(sizes, bool)
            for head in [prefix] if len(sizes) == 1 else [head for head in self._last if head[:kept] == prefix]:
                free[head[kept:]][self._last[head]] = False
            self._free[prefix] = free.reshape(-1)
        places = np.flatnonzero(self._free[prefix])
        if not len(places):
            return
        heads = np.zeros((1, len(residual)), np.float32)
        for level in words[:-1]:
            heads = (heads[:, None] + level[None]).reshape(-1, len(residual))
        # All squared distances by dot products, which is quick; then those of the nearest as they are defined.
        gap, last = (residual - heads).astype(np.float64), words[-1].astype(np.float64)
        rough = ((gap**2).sum(axis=1)[:, None] + (last**2).sum(axis=1) - 2 * gap @ last.T).reshape(-1)[places]
        limit = np.sort(rough)[:most][-1] if most > 1 else rough.min()
        near = places[rough <= limit + 1e-4 * rough.max()]
        sums = heads[near // sizes[-1]] + words[-1][near % sizes[-1]]
        order = near[np.argsort(((residual - sums) ** 2).sum(axis=1), kind="stable")]
        for tail in zip(*(part.tolist() for part in np.unravel_index(order[:most], sizes))):
            yield (*prefix, *tail)
