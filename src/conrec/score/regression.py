"""One logistic regression over all signals, so that it stays a dot product of a user's vector with an item's.

    score(u, i) = c + f(x_u) + g(y_i) + <x_u, M y_i> + sum over tastes k of (w_k + w'_k n_u) <p_uk, q_i>

x_u and y_i are the signals of user and item (`score.user_features`), standardised; f and g are polynomials of second
order (a rate of dislikes means more the more events it rests on); n_u is x_u's count, how much of the history may be
believed; p_uk are the user's tastes. It predicts dislike against like on periods of training, each with signals of
what came before it: exactly what the filter does. All is shrunk, products most, so that what adds nothing stays
close to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from conrec.score.user_features import Signals

LIMIT = 4.0
"""Signals further from their mean, in standard deviations, count as this far."""
PRODUCTS = 0.3
"""Products enter on this scale, so that the same penalty shrinks them more than single signals."""
PENALTY = 0.03
"""C of the regression: the inverse of the ridge penalty."""
CONFIDENCE = 1
"""Which of a user's signals says how much is known of the user (`signals`: the count)."""


@dataclass(frozen=True)
class Rows:
    """Exposures to learn from: whose, of what, and what became of them, of one day."""

    users: Signals
    items: np.ndarray
    """float64 [n, ki] signals of the day."""
    features: np.ndarray
    """float32 [n, d]."""
    owner: np.ndarray
    """int [m], rows of `users`."""
    shown: np.ndarray
    """int [m], rows of `items`."""
    disliked: np.ndarray
    """bool [m]; the others are likes."""

    def crossed(self) -> np.ndarray:
        """float64 [m, tastes]: <p_uk, q_i>."""
        q = self.features[self.shown]
        return np.stack([np.einsum("md,md->m", taste[self.owner], q) for taste in self.users.tastes], 1)

    def without_tastes(self) -> Rows:
        """The same, had nobody a taste (for the ablation)."""
        return replace(self, users=replace(self.users, tastes=[np.zeros_like(one) for one in self.users.tastes]))


@dataclass(frozen=True)
class Combination:
    """Fitted weights."""

    user_mean: np.ndarray
    user_scale: np.ndarray
    item_mean: np.ndarray
    item_scale: np.ndarray
    """float64 [ku], [ku], [ki], [ki]: of the standardisation."""
    intercept: float
    user: np.ndarray
    """float64 [ku + ku (ku + 1) / 2]: f."""
    item: np.ndarray
    """float64 [ki + ki (ki + 1) / 2]: g."""
    product: np.ndarray
    """float64 [ku, ki]: M."""
    taste: np.ndarray
    """float64 [2, tastes]: w and w'."""

    @classmethod
    def fit(cls, days: Sequence[Rows]) -> Combination:
        """Learn from some days. ValueError without both signs."""
        from sklearn.linear_model import LogisticRegression  # a score that is only served needs no scikit-learn

        disliked = np.concatenate([np.zeros(0, bool), *(day.disliked for day in days)])
        if disliked.all() or not disliked.any():
            raise ValueError("nothing to learn from: the training periods do not hold both dislikes and likes")
        x = np.concatenate([day.users.numbers[day.owner] for day in days])
        y = np.concatenate([day.items[day.shown] for day in days])
        crossed = np.concatenate([day.crossed() for day in days])
        moments = [(z.mean(axis=0), np.maximum(z.std(axis=0), 1e-6)) for z in (x, y)]
        x, y = (_standard(z, *moment) for z, moment in zip((x, y), moments))
        reach = np.maximum(crossed.std(axis=0), 1e-6)
        crossed = crossed / reach
        columns = [
            _second_order(x),
            _second_order(y),
            PRODUCTS * (x[:, :, None] * y[:, None, :]).reshape(len(x), -1),
            crossed,
            PRODUCTS * crossed * x[:, [CONFIDENCE]],
        ]
        widths = np.cumsum([column.shape[1] for column in columns])[:-1]
        model = LogisticRegression(C=PENALTY, max_iter=1000).fit(np.hstack(columns), disliked)
        user, item, product, taste, confident = np.split(model.coef_[0], widths)
        return cls(
            *moments[0],
            *moments[1],
            float(model.intercept_[0]),
            user,
            item,
            PRODUCTS * product.reshape(x.shape[1], y.shape[1]),
            np.stack([taste, PRODUCTS * confident]) / reach,
        )

    def item_factors(self, numbers: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float64 [n, ki + d] and biases float64 [n] of items, from their signals and features."""
        y = _standard(numbers, self.item_mean, self.item_scale)
        return np.hstack([y, features]), _second_order(y) @ self.item

    def user_factors(self, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float64 [B, ki + d] and biases float64 [B]."""
        x = _standard(signals.numbers, self.user_mean, self.user_scale)
        weights = self.taste[0] + x[:, [CONFIDENCE]] * self.taste[1]
        taste = sum(weights[:, [k]] * one for k, one in enumerate(signals.tastes))
        return np.hstack([x @ self.product, taste]), self.intercept + _second_order(x) @ self.user

    def scores(self, rows: Rows) -> np.ndarray:
        """float64 [m]: of the exposures."""
        vectors, biases = self.item_factors(rows.items, rows.features)
        p, b = self.user_factors(rows.users)
        crossed = np.einsum("md,md->m", p[rows.owner], vectors[rows.shown])
        return b[rows.owner] + biases[rows.shown] + crossed

    def state(self) -> dict[str, np.ndarray]:
        """As arrays."""
        return {name: np.asarray(getattr(self, name), np.float64) for name in [f.name for f in fields(self)]}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> Combination:
        """From `state`."""
        arrays = {name: state[name] for name in [f.name for f in fields(cls)] if name != "intercept"}
        return cls(intercept=float(state["intercept"].item()), **arrays)


def _standard(z: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip((z - mean) / scale, -LIMIT, LIMIT)


def _second_order(z: np.ndarray) -> np.ndarray:
    """[m, k] -> [m, k + k (k + 1) / 2]: each column, and the products of any two, on their scale."""
    left, right = np.triu_indices(z.shape[1])
    return np.hstack([z, PRODUCTS * z[:, left] * z[:, right]])
