"""Linear models: an item's score is a sum over the events of a history, each with a weight for that item.

`EASE` (Steck, WWW 2019, arXiv 1905.03375) has the weights in closed form (`conrec.features.ease`); here l2 is tuned.
X is users by items, 1 where disliked; with positives the most liked items become further columns of X. Some 10 s for
6,000 columns on one core. `ItemKNN` (Deshpande and Karypis, ACM TOIS 2004): shrunk cosine s(j, i) of the users who
disliked both (`features.co_dislikes`), and of each item j only its `neighbours` nearest items. With positives, s is
also taken between "liked j" and "disliked i", and likes count `POSITIVE_WEIGHT`. `SwingNeighbours` does the same with
the neighbours and scores of `items.swing`, dislikes only. Items that nobody disliked in training score 0.
"""

from abc import abstractmethod

import numpy as np
from scipy.sparse import csr_matrix, diags, issparse

from conrec.baselines.base import SUFFIX, Recommender, TrainingData
from conrec.data.instances import Instances
from conrec.features.co_dislikes import cosine_neighbours
from conrec.features.ease import ease_weights
from conrec.features.sequences import OTHER, PREDICTED, Tokens, UserEvents
from conrec.features.sizes import Inputs
from conrec.items.swing import swing

POSITIVE_WEIGHT = 0.3


class Linear(Recommender):
    """Sum of the weights of the events of a history."""

    inputs: Inputs = "dislikes"
    liked_columns: int | None = None
    """At most so many liked items are read, the most liked ones."""

    @abstractmethod
    def find_weights(self, events: UserEvents, users: int) -> np.ndarray | csr_matrix:
        """Weights for the targets of what may stand in a history, float [columns, T]."""

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        events, users = UserEvents.of_log(known.events, self.inputs)
        self.tokens = Tokens.of(events, len(known.items))
        self.columns = columns(events, self.tokens, self.liked_columns)
        self.weights = self.find_weights(events, len(users))

    def scores(self, instances: Instances) -> np.ndarray:
        history = indicators(UserEvents.of_instances(instances, self.inputs), self.columns, len(instances))
        found = history @ self.weights
        result = np.zeros((len(instances), len(self.known.items)), np.float32)
        result[:, self.tokens.rows[: self.tokens.targets]] = found.toarray() if issparse(found) else found
        return result


class EASE(Linear):
    """`l2` is the paper's lambda."""

    name = "ease"
    liked_columns = 4000  # the Gram matrix is inverted whole

    def __init__(self, inputs: Inputs = "dislikes", *, l2: float = 30.0) -> None:
        self.name += SUFFIX[inputs]
        self.inputs, self.l2 = inputs, l2

    def find_weights(self, events: UserEvents, users: int) -> np.ndarray:
        x = indicators(events, self.columns, users)
        return ease_weights((x.T @ x).toarray(), self.tokens.targets, self.l2).astype(np.float32)


class ItemKNN(Linear):
    """Neighbours by cosine."""

    name = "item_knn"

    def __init__(self, inputs: Inputs = "dislikes", *, neighbours: int = 100, shrinkage: float = 3.0) -> None:
        self.name += SUFFIX[inputs]
        self.inputs, self.neighbours, self.shrinkage = inputs, neighbours, shrinkage

    def find_weights(self, events: UserEvents, users: int) -> csr_matrix:
        """The nearest of each row, an item itself left out."""
        x = indicators(events, self.columns, users)
        targets = self.tokens.targets
        matrix = cosine_neighbours(x, targets, self.neighbours, self.shrinkage)
        weight = np.where(np.arange(x.shape[1]) < targets, 1.0, POSITIVE_WEIGHT)
        return (diags(weight) @ matrix).tocsr()


class SwingNeighbours(Linear):
    """Neighbours by Swing (paper equation 5)."""

    name = "swing_neighbours"

    def __init__(self, *, neighbours: int = 20, alpha2: float = 1.0) -> None:
        self.neighbours, self.alpha2 = neighbours, alpha2

    def find_weights(self, events: UserEvents, users: int) -> csr_matrix:
        """Similarities as `items.swing` finds them."""
        log = self.known.events  # in the order of time, which Swing's caps want
        dislikes = log.take(log.is_dislike)
        token = self.tokens.of_row[dislikes.items] - 1
        found, values = swing(dislikes.owners()[1], token, self.tokens.targets, self.neighbours, alpha2=self.alpha2)
        row, place = np.nonzero(found >= 0)
        shape = (self.tokens.targets, self.tokens.targets)
        return csr_matrix((values[row, place], (row, found[row, place])), shape)


def columns(events: UserEvents, tokens: Tokens, at_most: int | None) -> np.ndarray:
    """int64 [3, n_items]: the column of an item under a mark, -1 for none.

    First the targets in the order of their tokens, then `at_most` items with the other mark, the most frequent
    ones (ties to the smaller row).
    """
    n_items = len(tokens.of_row)
    result = np.full((3, n_items), -1)
    result[PREDICTED, tokens.rows[: tokens.targets]] = np.arange(tokens.targets)
    counts = np.bincount(events.rows[events.marks == OTHER], minlength=n_items)
    frequent = np.argsort(-counts, kind="stable")[: (counts > 0).sum()][:at_most]
    result[OTHER, frequent] = tokens.targets + np.arange(len(frequent))
    return result


def indicators(events: UserEvents, columns: np.ndarray, n: int) -> csr_matrix:
    """float64 [n, number of columns]: 1 where an owner's event has a column (see `columns`)."""
    column = columns[events.marks, events.rows]
    kept = column >= 0
    shape = (n, int(columns.max()) + 1)
    return csr_matrix((np.ones(int(kept.sum())), (events.owners[kept], column[kept])), shape)
