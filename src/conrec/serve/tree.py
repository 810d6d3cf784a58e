"""The catalogue by ID prefix: what the codes of the semantic IDs mean, told by the items that carry them.

For each prefix: how many items, the words and categories that set it apart, and a few of its pictures. Which words
set it apart is judged by how often a title under the prefix has them against how often any title has, so that words of
the whole catalogue ("new", "the") stay out.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from itertools import islice

import numpy as np
import pyarrow as pa

from conrec.data.instances import evenly
from conrec.serve.schema import Prefix

WORDS, CATEGORIES, EXAMPLES = 4, 3, 5
READ = 5000
"""Titles that are read at most to describe one prefix: evenly spread ones."""
TIMES = 2.0
"""How much more frequent than in the catalogue a word must be under a prefix to be told."""


class Tree:
    """Prefixes of the semantic IDs of a catalogue."""

    def __init__(
        self,
        codes: np.ndarray,
        titles: pa.Array,
        categories: pa.Array,
        pictured: np.ndarray | None = None,
        name: Callable[[int], str] = str,
    ) -> None:
        """codes: int [n, levels]; titles and categories: string [n]; pictured: bool [n], where examples come from;
        name: the id of a row."""
        self._codes, self._titles, self._categories = codes, titles, categories
        self._pictured = np.zeros(len(titles), bool) if pictured is None else pictured
        self._name = name
        self._order = np.lexsort(codes.T[::-1]) if codes.size else np.arange(len(titles))

    @property
    def levels(self) -> int:
        """Codes in a semantic ID."""
        return self._codes.shape[1]

    def rows(self, prefix: list[int]) -> np.ndarray:
        """Rows of the items under a prefix, sorted by code; empty where there is none."""
        rows = self._order
        for level, code in enumerate(prefix):
            column = self._codes[rows, level]
            start, stop = np.searchsorted(column, [code, code + 1])
            rows = rows[start:stop]
        return rows

    def children(self, prefix: list[int]) -> list[Prefix]:
        """The prefixes that are one code longer, those with most items first."""
        if len(prefix) >= self.levels:
            return []
        rows = self.rows(prefix)
        column = self._codes[rows, len(prefix)]
        starts = np.flatnonzero(np.diff(column, prepend=column[0] - 1)) if len(rows) else np.zeros(0, int)
        parts = np.split(rows, starts[1:])
        nodes = [self._node([*prefix, int(self._codes[part[0], len(prefix)])], part) for part in parts if len(part)]
        return sorted(nodes, key=lambda node: (-node.items, node.prefix))

    def search(self, text: str, limit: int) -> list[int]:
        """Rows of items whose title holds every word of the text, in catalogue order."""
        words = text.casefold().split()
        found = (row for row, title in enumerate(self._folded) if words and all(word in title for word in words))
        return list(islice(found, limit))

    @cached_property
    def _folded(self) -> list[str]:
        return [(title.as_py() or "").casefold() for title in self._titles]

    @cached_property
    def _commonness(self) -> tuple[Counter[str], int]:
        """In how many of the catalogue's titles each word stands, and how many were read."""
        rows = evenly(np.arange(len(self._titles)), 10 * READ)
        return self._count(rows), len(rows)

    def _count(self, rows: np.ndarray) -> Counter[str]:
        return Counter(word for row in rows.tolist() for word in words_of(self._titles[row].as_py() or ""))

    def _node(self, prefix: list[int], rows: np.ndarray) -> Prefix:
        read = evenly(rows, READ)
        everywhere, total = self._commonness
        here = self._count(read)
        floor = 2 if len(read) > 3 else 1

        def weight(word: str) -> float:
            share, common = here[word] / len(read), (everywhere[word] + 1) / (total + 1)
            return share * math.log(share / common / TIMES)

        words = sorted((w for w in here if here[w] >= floor and weight(w) > 0), key=lambda w: (-weight(w), w))
        categories = Counter(c for row in read.tolist() if (c := self._categories[row].as_py()))
        shares = [(name, count / len(read)) for name, count in categories.most_common(CATEGORIES)]
        examples = evenly(rows[self._pictured[rows]], EXAMPLES)
        return Prefix(prefix, len(rows), words[:WORDS], shares, [self._name(row) for row in examples.tolist()])


def words_of(title: str) -> set[str]:
    """The words of a title that may mean something: two letters at least, no bare numbers."""
    return {word for word in re.findall(r"[^\W_]{2,}", title.lower()) if not word.isdigit()}
