"""Gradient boosting on the numbers that an engineer has at hand after an afternoon (protocol, filter replay).

Rates of dislikes, mean ratings, counts, how the user has met the item's category and attributes so far, its year (or
what else its attributes say in numbers), and how long ago user and item were last heard of; learned on periods of
training with what was known before each (`score.backtest`). A filter that does not beat it is no progress.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier

from conrec.baselines.base import CandidateScorer, TrainingData
from conrec.baselines.rates import ITEM_SMOOTHING, USER_SMOOTHING
from conrec.data.instances import Instances
from conrec.data.knowledge import DAY
from conrec.data.split import Split
from conrec.features.log_view import LogView
from conrec.items.fields import NUMBER, SEPARATOR
from conrec.score.backtest import Backtest
from conrec.score.feature_snapshot import log_odds

SIDES = 300
"""The most frequent values of the fields that residuals are kept of."""
RECENT_DAYS = 14


class Boosted(CandidateScorer):
    """Trees over the afternoon's numbers; for shown items, not for lists of all."""

    name = "boosted"

    def __init__(self, log_view: LogView, split: Split, backtested: Sequence[Backtest], seed: int = 0) -> None:
        """`backtested`: what it learns from."""
        self._log_view, self._split, self._backtested, self._seed = log_view, split, backtested, seed
        self._values, self._numeric = _fields(log_view)

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        rows, labels = [], []
        for one in self._backtested:
            shown, owner = one.replay.shown, one.replay.shown.owners
            day = _Day(one.log_view, one.cutoff, self._values, self._numeric)
            rows.append(day.rows(one.replay.instances, owner, shown.values))
            labels.append(one.replay.labels.values > 0)
        self._model: HistGradientBoostingClassifier | None = None
        if rows and 0 < np.concatenate(labels).mean() < 1:
            self._model = HistGradientBoostingClassifier(
                learning_rate=0.05, max_iter=200, max_leaf_nodes=15, min_samples_leaf=50, random_state=self._seed
            ).fit(np.concatenate(rows), np.concatenate(labels))

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """Log-odds, float32 [B, c]; -inf where a row is -1. All 0 where there was nothing to learn from."""
        result = np.where(candidates < 0, -np.inf, 0).astype(np.float32)
        if self._model is None:
            return result
        for cutoff in np.unique(instances.cutoffs) if self._split.train_users is None else [self._split.log_end]:
            of_day = instances.cutoffs == cutoff if self._split.train_users is None else np.ones(len(instances), bool)
            which, place = np.nonzero((candidates >= 0) & of_day[:, None])
            if len(which):
                day = _Day(self._log_view, cutoff, self._values, self._numeric)
                rows = day.rows(instances, which, candidates[which, place])
                result[which, place] = self._model.decision_function(rows)
        return result


class _Day:
    """Features of users and items at a cutoff; rates as in `rates`, and means of ratings smoothed alike."""

    def __init__(self, log_view: LogView, cutoff: np.datetime64, values: csr_matrix, numeric: np.ndarray) -> None:
        told, n = log_view.told, len(log_view.items)
        known = told.known(cutoff, log_view.train_users)
        items, signs, times = told.items[known], told.signs[known], told.times[known]
        self.told, self.cutoff, self.values = told, cutoff, values
        disliked, liked = (np.bincount(items[signs == sign], minlength=n) for sign in (1, -1))
        self.base = (disliked.sum() + 1) / (disliked.sum() + liked.sum() + 2)
        self.rate = log_odds(disliked, liked, self.base, ITEM_SMOOTHING)
        # Without ratings a like counts 1 and a dislike 0.
        self.rated = not np.isnan(told.values).all()
        worth = told.values[known] if self.rated else (signs < 0) * 1.0
        self.mean = float(worth.mean()) if len(worth) else 0.0
        counts = np.bincount(items, minlength=n)
        self.item_mean = (np.bincount(items, worth, n) + ITEM_SMOOTHING * self.mean) / (counts + ITEM_SMOOTHING)
        # What the users of an item think of it, each compared with what that user thinks of others.
        by_user = np.bincount(told.users[known], minlength=len(told.names)) + USER_SMOOTHING
        strictness = np.bincount(told.users[known], worth - self.item_mean[items], len(told.names)) / by_user
        deserved = np.bincount(items, worth - strictness[told.users[known]], n) + ITEM_SMOOTHING * self.mean
        self.spread = float(worth.var()) if len(worth) else 0.0
        squares = np.bincount(items, (worth - self.mean) ** 2, n) + ITEM_SMOOTHING * self.spread
        late = times >= cutoff - RECENT_DAYS * DAY
        age = -(log_view.items.first_seen - cutoff) / DAY
        deserved, squares = deserved / (counts + ITEM_SMOOTHING), squares / (counts + ITEM_SMOOTHING)
        lately = [np.bincount(items[mask], minlength=n) for mask in (late, late & (signs > 0))]
        columns = [self.rate, disliked + liked, counts, self.item_mean, deserved, squares, np.maximum(age, 0)]
        self.items = np.column_stack([*columns, *lately, numeric])

    def rows(self, instances: Instances, owner: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """float64 [m, features] of (instance, item) pairs."""
        n = len(instances)
        places, whose = self.told.histories(instances)
        items, signs = self.told.items[places], self.told.signs[places]
        worth = self.told.values[places] if self.rated else (signs < 0) * 1.0
        disliked, liked = (np.bincount(whose[signs == sign], minlength=n) for sign in (1, -1))
        counts = np.bincount(whose, minlength=n)
        mean = (np.bincount(whose, worth, n) + USER_SMOOTHING * self.mean) / (counts + USER_SMOOTHING)
        surprise = worth - self.item_mean[items]
        strictness = np.bincount(whose, surprise, n) / (counts + USER_SMOOTHING)
        squares = np.bincount(whose, (worth - self.mean) ** 2, n) + USER_SMOOTHING * self.spread
        last = np.full(n, np.datetime64("1970-01-01", "us"))
        np.maximum.at(last, whose, self.told.times[places])
        rate, age = log_odds(disliked, liked, self.base, USER_SMOOTHING), (instances.cutoffs - last) / DAY
        spread = squares / (counts + USER_SMOOTHING)
        users = np.column_stack([rate, disliked + liked, counts, mean, strictness, spread, age])
        left = surprise - strictness[whose]
        met = csr_matrix((np.ones(len(items)), (whose, items)), (n, len(self.rate))) @ self.values
        felt = csr_matrix((left, (whose, items)), (n, len(self.rate))) @ self.values
        residual = felt.toarray() / (met.toarray() + ITEM_SMOOTHING)
        of_item = self.values[shown]
        width = np.maximum(np.asarray(of_item.sum(axis=1)).ravel(), 1)
        of_values = np.asarray(of_item.multiply(residual[owner]).sum(axis=1)).ravel() / width
        both = [users[owner], self.items[shown], of_values[:, None]]
        return np.hstack(both)


def _fields(log_view: LogView) -> tuple[csr_matrix, np.ndarray]:
    """Which of the frequent values each item has [n, v], and its numeric attributes float64 [n, a], nan for none."""
    filled = Counter(name for item in log_view.fields for name in item)
    numbers = Counter(name for item in log_view.fields for name, value in item.items() if NUMBER.fullmatch(value))
    numeric = [name for name in sorted(filled) if numbers[name] >= 0.9 * filled[name]]

    def named(item: dict[str, str]) -> set[str]:
        names = item.keys() - set(numeric)
        return {f"{name}={part.lower()}" for name in names for part in SEPARATOR.split(item[name]) if part}

    values = [named(item) for item in log_view.fields]
    counts = Counter(value for item in values for value in item)
    frequent = sorted(counts.items(), key=lambda x: (-x[1], x[0]))[:SIDES]
    column = {value: n for n, (value, _) in enumerate(frequent)}
    cells = np.array([(row, column[v]) for row, item in enumerate(values) for v in sorted(item) if v in column], int)
    rows, columns = cells.reshape(-1, 2).T
    table = csr_matrix((np.ones(len(rows)), (rows, columns)), (len(values), max(1, len(column))))
    texts = [[item.get(name, "") for name in numeric] for item in log_view.fields]
    own = [[float(text) if NUMBER.fullmatch(text) else np.nan for text in item] for item in texts]
    return table, np.array(own, float).reshape(len(log_view.fields), len(numeric))
