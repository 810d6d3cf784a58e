"""One logistic regression over all features, so that it stays a dot product of a user's vector with an item's.

    score(u, i) = c + f(x_u) + g(y_i) + <x_u, M y_i> + sum over k of (w_k + w'_k n_u) <p_uk, q_ik>

x_u and y_i are the features of user and item (`score.feature_snapshot`), standardised; f and g are polynomials of
second order (a rate of dislikes means more the more events it rests on); n_u is x_u's count, how much of the history
may be believed; p_uk are the user's vectors over the items' embeddings or latent factors, q_ik. It predicts dislike
against like on backtest windows (docs/filter.md). All is shrunk, products most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from conrec.score.feature_snapshot import UserFeatures

LIMIT = 4.0
"""UserFeatures further from their mean, in standard deviations, count as this far."""
PRODUCTS = 0.3
"""Products enter on this scale, so that the same penalty shrinks them more than single features."""
PENALTY = 0.03
"""C of the regression: the inverse of the ridge penalty."""
CONFIDENCE = 1
"""Which of a user's features says how much is known of the user: the count."""
_pairs = cache(np.triu_indices)


@dataclass(frozen=True)
class Rows:
    """Exposures of one day to learn from: whose, of what, and what became of them."""

    users: UserFeatures
    items: np.ndarray
    """float64 [n, ki]: the items' features."""
    embeddings: np.ndarray
    """float32 [n, d]: the items' embeddings."""
    latent: np.ndarray
    """float32 [n, f]: the items' latent factors."""
    owner: np.ndarray
    """int [m], rows of `users`."""
    shown: np.ndarray
    """int [m], rows of `items`."""
    disliked: np.ndarray
    """bool [m]; the others are likes."""

    def crossed(self) -> np.ndarray:
        """Products <p_uk, q_i> of each exposure, float64 [m, k]; the last is that of the latent factors."""
        q, users = self.embeddings[self.shown], self.users
        pairs = [*((one, q) for one in users.embeddings), (users.latent, self.latent[self.shown])]
        return np.stack([np.einsum("md,md->m", one[self.owner], own) for one, own in pairs], 1)


@dataclass(frozen=True)
class Regression:
    """The fitted weights."""

    user_mean: np.ndarray
    user_scale: np.ndarray
    item_mean: np.ndarray
    item_scale: np.ndarray
    """float64 [ku], [ku], [ki], [ki]: what standardises the features."""
    intercept: float
    user: np.ndarray
    """float64 [ku + ku (ku + 1) / 2]: f."""
    item: np.ndarray
    """float64 [ki + ki (ki + 1) / 2]: g."""
    product: np.ndarray
    """float64 [ku, ki]: M."""
    embedding: np.ndarray
    """float64 [2, k]: w and w'."""

    @classmethod
    def fit(cls, days: Sequence[Rows]) -> Regression:
        """Learn from the rows of some days. ValueError where they do not hold both signs."""
        from sklearn.linear_model import LogisticRegression  # a score that is only served needs no scikit-learn

        disliked = np.concatenate([np.zeros(0, bool), *(day.disliked for day in days)])
        if disliked.all() or not disliked.any():
            raise ValueError("nothing to learn from: the training periods do not hold both dislikes and likes")
        x = np.concatenate([day.users.values[day.owner] for day in days])
        y = np.concatenate([day.items[day.shown] for day in days])
        crossed = np.concatenate([day.crossed() for day in days])
        moments = [(z.mean(axis=0), np.maximum(z.std(axis=0), 1e-6)) for z in (x, y)]
        x, y = (_standard(z, *moment) for z, moment in zip((x, y), moments))
        scale = np.maximum(crossed.std(axis=0), 1e-6)
        crossed = crossed / scale
        columns = [
            _second_order(x),
            _second_order(y),
            PRODUCTS * (x[:, :, None] * y[:, None, :]).reshape(len(x), -1),
            crossed,
            PRODUCTS * crossed * x[:, [CONFIDENCE]],
        ]
        widths = np.cumsum([column.shape[1] for column in columns])[:-1]
        model = LogisticRegression(C=PENALTY, max_iter=1000).fit(np.hstack(columns), disliked)
        user, item, product, embedding, confident = np.split(model.coef_[0], widths)
        return cls(
            *moments[0],
            *moments[1],
            float(model.intercept_[0]),
            user,
            item,
            PRODUCTS * product.reshape(x.shape[1], y.shape[1]),
            np.stack([embedding, PRODUCTS * confident]) / scale,
        )

    def item_factors(
        self, features: np.ndarray, latent: np.ndarray, embeddings: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float64 [n, ki + f + d] and biases float64 [n] of items."""
        y = _standard(features, self.item_mean, self.item_scale)
        return np.hstack([y, latent, embeddings]), _second_order(y) @ self.item

    def user_factors(self, users: UserFeatures) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float64 [B, ki + f + d] and biases float64 [B] of users."""
        x = _standard(users.values, self.user_mean, self.user_scale)
        weights = self.embedding[0] + x[:, [CONFIDENCE]] * self.embedding[1]
        embedding = sum(weights[:, [k]] * one for k, one in enumerate(users.embeddings))
        vectors = np.hstack([x @ self.product, weights[:, -1:] * users.latent, embedding])
        return vectors, self.intercept + _second_order(x) @ self.user

    def scores(self, rows: Rows) -> np.ndarray:
        """Scores of the exposures, float64 [m]."""
        vectors, biases = self.item_factors(rows.items, rows.latent, rows.embeddings)
        p, b = self.user_factors(rows.users)
        crossed = np.einsum("md,md->m", p[rows.owner], vectors[rows.shown])
        return b[rows.owner] + biases[rows.shown] + crossed

    def state(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(getattr(self, name), np.float64) for name in [f.name for f in fields(self)]}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> Regression:
        arrays = {name: state[name] for name in [f.name for f in fields(cls)] if name != "intercept"}
        return cls(intercept=float(state["intercept"].item()), **arrays)


def part_of(state: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of one part of a state, those under `name/`."""
    return {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}


def _standard(z: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip((z - mean) / scale, -LIMIT, LIMIT)


def _second_order(z: np.ndarray) -> np.ndarray:
    """Columns [m, k] -> [m, k + k (k + 1) / 2]: each one, and the products of any two, on their scale."""
    left, right = _pairs(z.shape[1])
    return np.hstack([z, PRODUCTS * z[:, left] * z[:, right]])
