"""What the log before a cutoff says of every item and of a user: the numbers that the score combines.

Each signal belongs to an item or to a user; what is about both is a user's taste, a vector over the items' features.
So whatever is linear in the signals, in products of a user's with an item's, and in <taste, features> has the form in
which a score is served (`score.factors`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conrec.data.instances import Instances
from conrec.data.knowledge import DAY
from conrec.features.attribute_rates import AttributeRates
from conrec.features.log_view import ExplicitFeedback, LogView
from conrec.score.bias import Effects, Link, fit_effects, user_effects, user_tastes

USER_SMOOTHING, ITEM_SMOOTHING = 3.0, 5.0
"""So many events at the base rate are added to everybody's."""
LATEST = 5
"""A user's newest ratings that are looked at apart."""
RECENT_DAYS = 28.0
FADING_DAYS = 14.0
TASTES: tuple[tuple[Link, float], ...] = (("logit", 0.1), ("logit", 0.3), ("identity", 0.03))
"""How tastes are fitted: to what, and how far they may reach (`effects.user_tastes`). The combination weighs them."""
HISTORY = 300
"""A user's newest events that a taste is fitted to."""
LANDMARKS = 2000
"""Items, evenly taken, that rates by attribute are carried over into the taste space on."""
USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Signals:
    """Of some users: their numbers and their tastes."""

    numbers: np.ndarray
    """float64 [B, ku]."""
    tastes: list[np.ndarray]
    """float32 [B, d] each: one an entry of TASTES that applies, and where the log has exposures one of the rates at
    which the user dislikes attributes."""


@dataclass(frozen=True)
class RateTastes:
    """How often a user disliked what was shown, by attribute (`features.attribute_rates`), as a taste.

    Nothing else here looks at what was shown and left alone. The log of the rate, less what it usually is, is carried
    over into the taste space by least squares on landmark items. How far below the average a rate is, a linear function
    of so few dimensions cannot follow without losing sight of the high ones; so the average is added to every rate.
    """

    rates: AttributeRates
    landmarks: np.ndarray
    """int [l], rows of items."""
    usual: np.ndarray
    """float32 [l]: their rates for somebody unknown."""
    projection: np.ndarray
    """float64 [l, d]: from the landmarks to a taste, a constant left out."""

    @classmethod
    def of(cls, rates: AttributeRates, cutoff: np.datetime64, features: np.ndarray) -> RateTastes:
        """features: float32 [n, d], the items in the taste space."""
        landmarks = np.unique(np.linspace(0, len(features) - 1, LANDMARKS).round().astype(np.int64))
        x = np.hstack([features[landmarks].astype(np.float64), np.ones((len(landmarks), 1))])
        projection = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T)[:-1].T
        return cls(rates, landmarks, rates.mean(cutoff, landmarks), projection)

    def users(self, instances: Instances) -> np.ndarray:
        """float32 [B, d]."""
        average = self.usual.mean()
        tastes = np.zeros((len(instances), self.projection.shape[1]))
        for start in range(0, len(instances), USERS_AT_ONCE):
            index = np.arange(start, min(start + USERS_AT_ONCE, len(instances)))
            rates = np.exp(self.rates.of_items(instances.take(index), self.landmarks))
            tastes[index] = np.log((rates + average) / (self.usual + average)) @ self.projection
        return tastes.astype(np.float32)


@dataclass(frozen=True)
class Day:
    """All that concerns items on the day of a cutoff, and what a user's history is compared with."""

    told: ExplicitFeedback
    rated: bool
    """Whether the log has ratings; without them nothing here is made of them."""
    features: np.ndarray
    """float32 [n, d]: the items in the taste space."""
    numbers: np.ndarray
    """float64 [n, ki]: the items' signals."""
    base: float
    """Share of dislikes among all dislikes and likes."""
    mean: float
    """Of the ratings, and their standard deviation."""
    spread: float
    item_ratings: np.ndarray
    """float64 [n]: smoothed mean rating, turned around and scaled (higher = worse)."""
    effects: dict[Link, Effects]
    rates: RateTastes | None
    """None without exposures."""

    @classmethod
    def of(cls, log_view: LogView, cutoff: np.datetime64, features: np.ndarray, rated: bool, exposed: bool) -> Day:
        """Of what is known at the cutoff. In `users` mode that is the same on every day, and nothing is asked of time.

        rated, exposed: whether the log has ratings, and what was shown.
        """
        told, n = log_view.told, len(log_view.items)
        in_time = log_view.train_users is None
        known = told.before(cutoff) if log_view.train_users is None else told.by_users(log_view.train_users)
        users, items, signs, times = told.users[known], told.items[known], told.signs[known], told.times[known]
        disliked, liked = (np.bincount(items[signs == sign], minlength=n) for sign in (1, -1))
        base = float((disliked.sum() + 1) / (disliked.sum() + liked.sum() + 2))
        signed = np.flatnonzero(signs)
        prior = np.hstack([np.ones((n, 1)), features])
        logit = fit_effects("logit", users[signed], items[signed], (signs[signed] > 0) * 1.0, prior, len(told.names))
        effects: dict[Link, Effects] = {"logit": logit}
        numbers = {
            "rate": log_odds(disliked, liked, base, ITEM_SMOOTHING),
            "count": np.log1p(disliked + liked),
            "effect": logit.items,
            "effect by content": logit.prior,
        }
        mean, spread, ratings = 0.0, 1.0, np.zeros(n)
        if rated:
            have = np.flatnonzero(~np.isnan(told.values[known]))
            who, what, values, when = users[have], items[have], told.values[known][have], times[have]
            if len(values):
                mean, spread = float(values.mean()), float(values.std()) or 1.0
            worse = (mean - values) / spread
            effects["identity"] = fit_effects("identity", who, what, worse, prior, len(told.names))
            counts = np.bincount(what, minlength=n)
            ratings = np.bincount(what, worse, n) / (counts + ITEM_SMOOTHING)
            of_user = np.bincount(who, worse - ratings[what], len(told.names))
            of_user = of_user / (np.bincount(who, minlength=len(told.names)) + USER_SMOOTHING)
            squares = np.bincount(what, worse**2, n) + ITEM_SMOOTHING
            numbers |= {
                "ratings": np.log1p(counts),
                "mean": ratings,
                "residual": np.bincount(what, worse - of_user[who], n) / (counts + ITEM_SMOOTHING),
                "spread": np.sqrt(np.maximum(squares / (counts + ITEM_SMOOTHING) - ratings**2, 0.01)),
                "rating effect": effects["identity"].items,
                "rating effect by content": effects["identity"].prior,
            }
            if in_time:
                late = when >= cutoff - np.timedelta64(round(RECENT_DAYS * 24), "h")
                recent = np.bincount(what[late], worse[late], n) + ITEM_SMOOTHING * ratings
                numbers["mean lately"] = recent / (np.bincount(what[late], minlength=n) + ITEM_SMOOTHING)
        if in_time:
            late = times >= cutoff - np.timedelta64(round(FADING_DAYS * 24), "h")
            # An item may have been seen first after this cutoff; of such an age nothing is known.
            age = -(log_view.items.first_seen - cutoff) / DAY
            numbers |= {
                "age": np.log1p(np.nan_to_num(np.maximum(age, 0))),
                "events lately": np.log1p(np.bincount(items[late], minlength=n)),
                "dislikes lately": np.log1p(np.bincount(items[late & (signs > 0)], minlength=n)),
            }
        rates = RateTastes.of(log_view.attribute_rates, cutoff, features) if exposed else None
        signals = np.stack(list(numbers.values()), 1)
        return cls(told, rated, features, signals, base, mean, spread, ratings, effects, rates)

    def users(self, instances: Instances) -> Signals:
        """Of the instances' users, each at its own cutoff; who has no history gets what is usual."""
        n = len(instances)
        places, owner = self.told.histories(instances)
        items, signs = self.told.items[places], self.told.signs[places]
        signed = np.flatnonzero(signs)
        disliked, liked = (np.bincount(owner[signs == sign], minlength=n) for sign in (1, -1))
        logit = self.effects["logit"]
        targets = (signs[signed] > 0) * 1.0
        effect = user_effects(logit, owner[signed], items[signed], targets, n)
        numbers = {
            "rate": log_odds(disliked, liked, self.base, USER_SMOOTHING),
            "count": np.log1p(disliked + liked),
            "effect": effect,
        }
        usable: dict[Link, tuple[np.ndarray, ...]] = {
            "logit": (owner[signed], items[signed], targets, effect[owner[signed]] + logit.items[items[signed]])
        }
        if self.rated:
            have = np.flatnonzero(~np.isnan(self.told.values[places]))
            who, what = owner[have], items[have]
            worse = (self.mean - self.told.values[places][have]) / self.spread
            counts = np.bincount(who, minlength=n) + USER_SMOOTHING
            mean = np.bincount(who, worse, n) / counts
            rating_effect = user_effects(self.effects["identity"], who, what, worse, n)
            expected = rating_effect[who] + self.effects["identity"].items[what]
            # Histories are in the order of time: the place from the end says how new an event is.
            newest = np.cumsum(np.bincount(who, minlength=n))[who] - np.arange(len(who)) <= LATEST
            latest = np.bincount(who[newest], worse[newest], n) + 2 * mean
            squares = np.bincount(who, worse**2, n) + USER_SMOOTHING
            noise = np.bincount(who, (worse - expected) ** 2, n) + 0.5 * USER_SMOOTHING
            numbers |= {
                "ratings": np.log1p(counts - USER_SMOOTHING),
                "mean": mean,
                "residual": np.bincount(who, worse - self.item_ratings[what], n) / counts,
                "spread": np.sqrt(np.maximum(squares / counts - mean**2, 0.01)),
                "noise": np.sqrt(noise / counts),
                "latest": latest / (np.bincount(who[newest], minlength=n) + 2),
                "rating effect": rating_effect,
            }
            usable["identity"] = (who, what, worse, expected)
        tastes = []
        for link, reach in TASTES:
            if link in usable:
                who, what, wanted, offsets = usable[link]
                new = np.cumsum(np.bincount(who, minlength=n))[who] - np.arange(len(who)) <= HISTORY
                features = self.features[what[new]]
                tastes.append(user_tastes(link, who[new], offsets[new], wanted[new], features, n, reach))
        if self.rates is not None:
            tastes.append(self.rates.users(instances))
        return Signals(np.stack(list(numbers.values()), 1), tastes)


def log_odds(disliked: np.ndarray, liked: np.ndarray, base: float, smoothing: float) -> np.ndarray:
    """Log-odds of the rate of dislikes, smoothed towards `base`."""
    rate = (disliked + smoothing * base) / (disliked + liked + smoothing)
    return np.log(rate) - np.log1p(-rate)
