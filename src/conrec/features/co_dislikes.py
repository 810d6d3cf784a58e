"""Items that the same people disliked: cosine between the columns of the users-by-items matrix, shrunk.

    s(j, i) = common users / (sqrt(n_j n_i) + shrinkage)          (Deshpande and Karypis, ACM TOIS 2004)

Swing (`items.swing`) asks for the same with small circles of users discounted, for the reward; this keeps more of them.
"""

import numpy as np
from scipy.sparse import csr_matrix

from conrec.data.instances import Events
from conrec.parallel import Memo

NEIGHBOURS = 100
SHRINKAGE = 3.0


def cosine_neighbours(x: csr_matrix, targets: int, neighbours: int, shrinkage: float) -> csr_matrix:
    """float [columns, targets]: of each column of x [users, columns] (0 or 1) the nearest of its first `targets`.

    A column is no neighbour of itself; ties go to the smaller column.
    """
    counts = np.asarray(x.sum(axis=0)).ravel()
    common = (x.T @ x[:, :targets]).tocoo()
    other = common.row != common.col
    row, column = common.row[other], common.col[other]
    cosine = common.data[other] / (np.sqrt(counts[row] * counts[column]) + shrinkage)
    order = np.lexsort((column, -cosine, row))
    row, column, cosine = row[order], column[order], cosine[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < neighbours
    return csr_matrix((cosine[kept], (row[kept], column[kept])), (x.shape[1], targets))


def co_dislikes(events: Events, items: int) -> csr_matrix:
    """float [items, items]: neighbours of each item by the dislikes among the events."""
    dislikes = events.take(events.is_dislike)
    names, users = dislikes.owners()
    x = csr_matrix((np.ones(len(users)), (users, dislikes.items)), (len(names), items))
    x.data[:] = 1  # who dislikes an item twice is still one user
    return cosine_neighbours(x, items, NEIGHBOURS, SHRINKAGE)


class CoDislikes:
    """The neighbours that are known on a day, kept for every day that was asked for."""

    def __init__(self, events: Events, items: int, known_users: np.ndarray | None = None) -> None:
        """`known_users`, str [n], in `users` mode: their whole log is known, and of nobody else anything."""
        disliked = events.is_dislike
        if known_users is not None:
            disliked &= events.of_users(known_users)
        self.items = items
        self._dislikes = events.take(disliked)
        self._always = known_users is not None
        self._before = Memo(self._counted)

    def of_day(self, cutoff: np.datetime64) -> csr_matrix:
        """float [items, items]: the neighbours of each item by the dislikes before the midnight before the cutoff."""
        day = np.datetime64(0, "us") if self._always else cutoff.astype("datetime64[D]").astype("datetime64[us]")
        return self._before(day)

    def _counted(self, day: np.datetime64) -> csr_matrix:
        known = self._dislikes
        return co_dislikes(known if self._always else known.take(np.arange(len(known))[known.until(day)]), self.items)
