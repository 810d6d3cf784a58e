"""What each value of an item's fields adds to its embedding: what is lost when that value alone is taken away.

So a score can say what it added up (`filter.contributions`): occlusion, one value at a time, of <p_u, e_i>. It depends
on the item alone and is worked out when a snapshot is written; what answers needs no encoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from conrec.progress import track
from conrec.score.embedding import EmbeddingSpace
from conrec.score.factors import LARGEST, VALUES, value_record

AT_ONCE = 500
"""Items; their values make one matrix against the landmarks of the space."""


@dataclass
class ItemValues:
    """The values of all items, to be written; row n is item n."""

    space: EmbeddingSpace
    fields: list[dict[str, str]]
    content: np.ndarray
    """float32 [n, D]."""
    names: list[str] = field(default_factory=list)
    """Of the values, by number; complete after the last portion."""

    def portions(self) -> Iterator[np.ndarray]:
        """Records (`factors.value_record`) of all items in their order, some at a time."""
        numbers: dict[str, int] = {}
        for start in track(range(0, len(self.fields), AT_ONCE), "values of items"):
            fields = self.fields[start : start + AT_ONCE]
            owners, names, moved = self.space.without_each(fields, self.content[start : start + AT_ONCE], VALUES)
            order = np.lexsort((-np.linalg.norm(moved, axis=1), owners))
            place = np.arange(len(owners)) - np.searchsorted(owners, owners)  # within the item
            rows = np.zeros(len(fields), value_record(self.space.dimensions))
            rows["values"] = -1
            number = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
            rows["values"][owners, place] = number[order]
            large = place < LARGEST
            rows["differences"][owners[large], place[large]] = moved[order[large]]
            yield rows
        self.names = list(numbers)
