"""Swing: which items are disliked by the same, otherwise different people (paper equation 5; docs/paper_map.md has it
as it is read here).

Two users who share little else say more about two items than two who share everything; a user's weight damps people who
dislike everything, an item's number of users popular items. Of a user only the newest `max_items` dislikes exist at
all, of an item's users a seeded sample of `max_users` is paired (weights and numbers still count everybody).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.compiled import compiled
from conrec.data.distractors import rows_of
from conrec.files import readable
from conrec.parallel import map_parts

MAX_USERS = 500
"""Users of an item that are paired, at most."""
ITEMS_AT_ONCE = 500
"""Items of a part (`conrec.parallel`), more or less."""


def swing(
    users: np.ndarray,
    items: np.ndarray,
    n_items: int,
    k: int,
    *,
    alpha1: float = 5.0,
    alpha2: float = 1.0,
    theta: float = 0.5,
    min_overlap: int = 1,
    max_users: int = MAX_USERS,
    max_items: int = 500,
) -> tuple[np.ndarray, np.ndarray]:
    """The strongest neighbours of every item by its dislikes.

    `users` int [events] and `items` int [events] (rows, 0-based) are the dislikes, oldest first; a user's
    repeated dislike of an item counts once. Returns neighbours int32 [n_items, k], best first,
    padded with -1, ties to the smaller row; and their scores float32 of the same shape, padded with 0.
    """
    neighbours = np.full((n_items, k), -1, np.int32)
    scores = np.zeros((n_items, k), np.float32)
    if len(users) == 0 or n_items == 0:
        return neighbours, scores
    users, items = _newest_once(users.astype(np.int64), items.astype(np.int64), n_items, max_items)

    of_user, user_starts = _grouped(users, items, int(users.max()) + 1)
    of_item, item_starts = _grouped(items, users, n_items)
    weights = (np.maximum(np.diff(user_starts), 1) + alpha1) ** -theta
    popularity = np.diff(item_starts).astype(np.float64)
    of_item, item_starts = _sampled(of_item, item_starts, max_users)

    shared = of_item, item_starts, of_user, user_starts, weights, 1 / np.sqrt(np.maximum(popularity, 1))

    def block(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _swing_rows(rows, *shared, alpha2, min_overlap, k)

    # Work grows with the square of an item's users: hand out interleaved rows, so that blocks are alike.
    busy = np.flatnonzero(np.diff(item_starts) >= 2)
    busy = busy[np.argsort(-np.diff(item_starts)[busy], kind="stable")]
    count = max(1, len(busy) // ITEMS_AT_ONCE)
    blocks = [busy[n::count] for n in range(count)]
    for rows, found in zip(blocks, map_parts(block, blocks, "Swing", threads=True)):
        neighbours[rows], scores[rows] = found
    return neighbours, scores


def write_swing(path: Path, item_ids: list[str], neighbours: np.ndarray, scores: np.ndarray) -> None:
    """One row an item, by id: `item_id`, `neighbours` list<str> best first, `scores` list<float>."""
    real = neighbours >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(real.sum(axis=1))]).astype(np.int32))
    ids = pa.array(item_ids, pa.string())
    table = {
        "item_id": ids,
        "neighbours": pa.ListArray.from_arrays(offsets, ids.take(pa.array(neighbours[real]))),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores[real])),
    }
    pq.write_table(pa.table(table), path)


def read_swing(folder: Path, item_ids: list[str]) -> np.ndarray:
    """Neighbours int32 [n, k] as rows of `item_ids`, best first, padded with -1, of a `compress` folder."""
    path = folder / "swing.parquet"
    with readable(path, "the compress"):
        lists = pq.read_table(path, columns=["neighbours"])["neighbours"]
    return np.maximum(rows_of(lists, item_ids, pc.max(pc.list_value_length(lists)).as_py() or 0), -1)


def _newest_once(users: np.ndarray, items: np.ndarray, n_items: int, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Each (user, item) once, and of every user only the `cap` newest."""
    _, last = np.unique((users * n_items + items)[::-1], return_index=True)
    kept = np.sort(len(users) - 1 - last)
    users, items = users[kept], items[kept]
    order = np.argsort(users, kind="stable")
    ends = np.searchsorted(users[order], users[order], side="right")
    newest = order[ends - np.arange(len(order)) <= cap]
    return users[newest], items[newest]


def _grouped(keys: np.ndarray, values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values by key, ascending, and where each key starts: int32 [len(keys)], int64 [n + 1]."""
    order = np.lexsort((values, keys))
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n))]).astype(np.int64)
    return values[order].astype(np.int32), starts


def _sampled(values: np.ndarray, starts: np.ndarray, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `cap` values of each group, drawn without regard to what they are, the same in every run."""
    keep = np.ones(len(values), bool)
    for group in np.flatnonzero(np.diff(starts) > cap).tolist():
        a, b = starts[group], starts[group + 1]
        keep[a:b] = False
        keep[a + np.random.default_rng([0, group]).permutation(b - a)[:cap]] = True
    counts = np.add.reduceat(np.append(keep, False), starts[:-1]) * (np.diff(starts) > 0)
    return values[keep], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@compiled()
def _swing_rows(
    rows: np.ndarray,
    of_item: np.ndarray,
    item_starts: np.ndarray,
    of_user: np.ndarray,
    user_starts: np.ndarray,
    weights: np.ndarray,
    damping: np.ndarray,
    alpha2: float,
    min_overlap: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    n_items = len(item_starts) - 1
    neighbours, scores = np.full((len(rows), k), -1, np.int32), np.zeros((len(rows), k), np.float32)
    total = np.zeros(n_items)
    touched = np.empty(n_items, np.int32)
    marked_by = np.full(n_items, -1, np.int32)
    shared = np.empty(n_items, np.int32)
    for row, i in enumerate(rows):
        count = 0
        a, b = item_starts[i], item_starts[i + 1]
        for first in range(a, b - 1):
            u = of_item[first]
            for position in range(user_starts[u], user_starts[u + 1]):
                marked_by[of_user[position]] = u
            for second in range(first + 1, b):
                v = of_item[second]
                overlap = 0
                for position in range(user_starts[v], user_starts[v + 1]):
                    j = of_user[position]
                    if marked_by[j] == u:
                        shared[overlap] = j
                        overlap += 1
                if overlap < max(min_overlap, 2):  # one shared item is i itself
                    continue
                swing = 2 * weights[u] * weights[v] / (overlap + alpha2)  # both orders of the pair
                for position in range(overlap):
                    j = shared[position]
                    if j == i:
                        continue
                    if total[j] == 0:
                        touched[count] = j
                        count += 1
                    total[j] += swing
            # Another item's loop may meet the same user again: unmark.
            for position in range(user_starts[u], user_starts[u + 1]):
                marked_by[of_user[position]] = -1
        found = np.sort(touched[:count])
        score = total[found] * damping[found]
        best = np.argsort(-score, kind="mergesort")[:k]
        for place in range(len(best)):
            neighbours[row, place] = found[best[place]]
            scores[row, place] = score[best[place]]
        total[found] = 0
    return neighbours, scores
