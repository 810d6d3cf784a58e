"""The feature snapshot: what the log before a cutoff says of every item, and of a user.

Each feature belongs to an item or to a user; what is about both is a vector of the user over the item embeddings
(a user embedding) or over their latent factors. So whatever is linear in the features, in products of a user's with an
item's, and in such dot products has the form in which a score is served (`score.factors`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conrec.data.instances import Instances
from conrec.data.knowledge import DAY
from conrec.features.attribute_rates import AttributeRates
from conrec.features.log_view import ExplicitFeedback, LogView
from conrec.score.bias import BiasTerms, Link, fit_bias_terms, user_bias_terms, user_embeddings
from conrec.score.latent import PRIOR_STD, latent_factors, turned

USER_SMOOTHING, ITEM_SMOOTHING = 3.0, 5.0
"""Smoothing: so many events at the base rate are added to everybody's."""
LATEST = 5
"""How many of a user's newest ratings have a mean of their own."""
RECENT_DAYS = 28.0
FADING_DAYS = 14.0
EMBEDDINGS: tuple[tuple[Link, float], ...] = (("logit", 0.1), ("logit", 0.3), ("identity", 0.03))
"""How user embeddings are fitted: to what, and with which standard deviation of the prior (`bias.user_embeddings`)."""
HISTORY = 300
"""How many of a user's newest events an embedding is fitted to."""
LANDMARKS = 2000
"""How many items, evenly taken, dislike rates by attribute are carried over into the embedding space on."""
USERS_AT_ONCE = 256


@dataclass(frozen=True)
class UserFeatures:
    """Features and embeddings of some users."""

    values: np.ndarray
    """float64 [B, ku]: the features."""
    embeddings: list[np.ndarray]
    """float32 [B, d] each: one an entry of EMBEDDINGS that applies, and where the log has exposures one of the dislike
    rates by attribute."""
    latent: np.ndarray
    """float32 [B, f]: over the items' latent factors."""


@dataclass(frozen=True)
class RateEmbeddings:
    """Dislike rates by attribute (`features.attribute_rates`) as user embeddings.

    Nothing else here looks at what was shown and left alone. The log of the rate, less that of somebody unknown, is
    carried over into the embedding space by least squares on landmark items. How far below the average a rate is, a
    linear function of so few dimensions cannot follow without losing sight of the high ones; so the average is added to
    every rate.
    """

    rates: AttributeRates
    landmarks: np.ndarray
    """int [l], rows of items."""
    mean: np.ndarray
    """float32 [l]: their rates for somebody unknown."""
    projection: np.ndarray
    """float64 [l, d]: from the landmarks to an embedding, a constant left out."""

    @classmethod
    def of(
        cls, rates: AttributeRates, cutoff: np.datetime64, landmarks: np.ndarray, embeddings: np.ndarray
    ) -> RateEmbeddings:
        """The projection for a day. landmarks: `landmarks_of`; embeddings: theirs, float32 [l, d]."""
        x = np.hstack([embeddings.astype(np.float64), np.ones((len(landmarks), 1))])
        projection = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T)[:-1].T
        return cls(rates, landmarks, rates.mean(cutoff, landmarks), projection)

    def users(self, instances: Instances) -> np.ndarray:
        """Embeddings of the instances' users, float32 [B, d]."""
        found = np.zeros((len(instances), self.projection.shape[1]), np.float32)
        for start in range(0, len(instances), USERS_AT_ONCE):
            index = np.arange(start, min(start + USERS_AT_ONCE, len(instances)))
            rates = self.rates.of_items(instances.take(index), self.landmarks)
            found[index] = embedded(rates, self.mean, self.projection)
        return found


def landmarks_of(items: int) -> np.ndarray:
    """int64 [l]: rows of so many items, evenly taken."""
    return np.unique(np.linspace(0, items - 1, LANDMARKS).round().astype(np.int64))


def embedded(rates: np.ndarray, mean: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Embeddings float32 [B, d] of users with these rates on the landmarks, float32 [B, l]; see `RateEmbeddings`."""
    average = mean.mean()
    return np.asarray(np.log((rates + average) / (mean + average)) @ projection, np.float32)


@dataclass(frozen=True)
class FeatureSnapshot:
    """All features of items on the day of a cutoff, and what a user's history is compared with."""

    feedback: ExplicitFeedback
    rated: bool
    """Whether the log has ratings; without them nothing here is made of them."""
    item_embeddings: np.ndarray
    """float32 [n, d]."""
    latent: np.ndarray
    """float32 [n, f]: latent factors, of this day."""
    item_features: np.ndarray
    """float64 [n, ki]."""
    base: float
    """Share of dislikes among all dislikes and likes."""
    mean: float
    std: float
    item_ratings: np.ndarray
    """float64 [n]: smoothed mean rating, turned around and scaled (higher = worse)."""
    bias_terms: dict[Link, BiasTerms]
    rates: RateEmbeddings | None
    """None without exposures."""

    @classmethod
    def of(
        cls,
        log_view: LogView,
        cutoff: np.datetime64,
        embeddings: np.ndarray,
        rated: bool,
        exposed: bool,
        reference: np.ndarray | None = None,
    ) -> FeatureSnapshot:
        """The snapshot of what is known at the cutoff.

        embeddings: float32 [n, d], those of the items; rated, exposed: whether the log has ratings, and what was shown;
        reference: latent factors of another day to turn those of this day towards.
        In `users` mode the same is known on every day, and no feature is about time.
        """
        feedback, n = log_view.told, len(log_view.items)
        in_time = log_view.train_users is None
        known = feedback.known(cutoff, log_view.train_users)
        users, items, signs = feedback.users[known], feedback.items[known], feedback.signs[known]
        times = feedback.times[known]
        disliked, liked = (np.bincount(items[signs == sign], minlength=n) for sign in (1, -1))
        base = float((disliked.sum() + 1) / (disliked.sum() + liked.sum() + 2))
        signed = np.flatnonzero(signs)
        disliked_of = (signs[signed] > 0) * 1.0
        logit = fit_bias_terms("logit", users[signed], items[signed], disliked_of, embeddings, len(feedback.names))
        bias_terms: dict[Link, BiasTerms] = {"logit": logit}
        latent = latent_factors(logit, users[signed], items[signed], disliked_of, log_view.content)
        latent = latent if reference is None else turned(latent, reference)
        features = {
            "rate": log_odds(disliked, liked, base, ITEM_SMOOTHING),
            "count": np.log1p(disliked + liked),
            "bias": logit.items,
            "bias by content": logit.prior,
        }
        mean, std, ratings = 0.0, 1.0, np.zeros(n)
        if rated:
            have = np.flatnonzero(~np.isnan(feedback.values[known]))
            who, what, values, when = users[have], items[have], feedback.values[known][have], times[have]
            if len(values):
                mean, std = float(values.mean()), float(values.std()) or 1.0
            worse = (mean - values) / std
            bias_terms["identity"] = fit_bias_terms("identity", who, what, worse, embeddings, len(feedback.names))
            counts = np.bincount(what, minlength=n)
            ratings = np.bincount(what, worse, n) / (counts + ITEM_SMOOTHING)
            of_user = np.bincount(who, worse - ratings[what], len(feedback.names))
            of_user = of_user / (np.bincount(who, minlength=len(feedback.names)) + USER_SMOOTHING)
            squares = np.bincount(what, worse**2, n) + ITEM_SMOOTHING
            features |= {
                "ratings": np.log1p(counts),
                "mean": ratings,
                "residual": np.bincount(what, worse - of_user[who], n) / (counts + ITEM_SMOOTHING),
                "std": np.sqrt(np.maximum(squares / (counts + ITEM_SMOOTHING) - ratings**2, 0.01)),
                "rating bias": bias_terms["identity"].items,
                "rating bias by content": bias_terms["identity"].prior,
            }
            if in_time:
                late = when >= cutoff - np.timedelta64(round(RECENT_DAYS * 24), "h")
                recent = np.bincount(what[late], worse[late], n) + ITEM_SMOOTHING * ratings
                features["mean lately"] = recent / (np.bincount(what[late], minlength=n) + ITEM_SMOOTHING)
        if in_time:
            late = times >= cutoff - np.timedelta64(round(FADING_DAYS * 24), "h")
            # An item may have been seen first after this cutoff; of such an age nothing is known.
            age = -(log_view.items.first_seen - cutoff) / DAY
            features |= {
                "age": np.log1p(np.nan_to_num(np.maximum(age, 0))),
                "events lately": np.log1p(np.bincount(items[late], minlength=n)),
                "dislikes lately": np.log1p(np.bincount(items[late & (signs > 0)], minlength=n)),
            }
        rates = None
        if exposed:
            landmarks = landmarks_of(n)
            rates = RateEmbeddings.of(log_view.attribute_rates, cutoff, landmarks, embeddings[landmarks])
        columns = np.stack(list(features.values()), 1)
        return cls(feedback, rated, embeddings, latent, columns, base, mean, std, ratings, bias_terms, rates)

    def users(self, instances: Instances) -> UserFeatures:
        """Features of the instances' users, each at its own cutoff; without a history they are the mean."""
        places, owner = self.feedback.histories(instances)
        told = self.feedback
        found = self.of_histories(len(instances), owner, told.items[places], told.signs[places], told.values[places])
        if self.rates is not None:
            found.embeddings.append(self.rates.users(instances))
        return found

    def of_histories(
        self, n: int, owner: np.ndarray, items: np.ndarray, signs: np.ndarray, values: np.ndarray
    ) -> UserFeatures:
        """Features of n users from their explicit feedback, as in `ExplicitFeedback`, by user and then by time; without
        the embedding of the dislike rates by attribute. Nothing is asked of the log (`score.user_side` has none)."""
        signed = np.flatnonzero(signs)
        disliked, liked = (np.bincount(owner[signs == sign], minlength=n) for sign in (1, -1))
        logit = self.bias_terms["logit"]
        targets = (signs[signed] > 0) * 1.0
        bias = user_bias_terms(logit, owner[signed], items[signed], targets, n)
        features = {
            "rate": log_odds(disliked, liked, self.base, USER_SMOOTHING),
            "count": np.log1p(disliked + liked),
            "bias": bias,
        }
        usable: dict[Link, tuple[np.ndarray, ...]] = {
            "logit": (owner[signed], items[signed], targets, bias[owner[signed]] + logit.items[items[signed]])
        }
        if self.rated:
            have = np.flatnonzero(~np.isnan(values))
            who, what = owner[have], items[have]
            worse = (self.mean - values[have]) / self.std
            counts = np.bincount(who, minlength=n) + USER_SMOOTHING
            mean = np.bincount(who, worse, n) / counts
            rating_bias = user_bias_terms(self.bias_terms["identity"], who, what, worse, n)
            expected = rating_bias[who] + self.bias_terms["identity"].items[what]
            # Histories are in the order of time: the place from the end says how new an event is.
            newest = np.cumsum(np.bincount(who, minlength=n))[who] - np.arange(len(who)) <= LATEST
            latest = np.bincount(who[newest], worse[newest], n) + 2 * mean
            squares = np.bincount(who, worse**2, n) + USER_SMOOTHING
            noise = np.bincount(who, (worse - expected) ** 2, n) + 0.5 * USER_SMOOTHING
            features |= {
                "ratings": np.log1p(counts - USER_SMOOTHING),
                "mean": mean,
                "residual": np.bincount(who, worse - self.item_ratings[what], n) / counts,
                "std": np.sqrt(np.maximum(squares / counts - mean**2, 0.01)),
                "noise": np.sqrt(noise / counts),
                "latest": latest / (np.bincount(who[newest], minlength=n) + 2),
                "rating bias": rating_bias,
            }
            usable["identity"] = (who, what, worse, expected)

        def fitted(link: Link, vectors: np.ndarray, prior_std: float) -> np.ndarray:
            who, what, wanted, offsets = usable[link]
            new: slice | np.ndarray = slice(None)
            if len(who) > HISTORY:
                new = np.cumsum(np.bincount(who, minlength=n))[who] - np.arange(len(who)) <= HISTORY
            return user_embeddings(link, who[new], offsets[new], wanted[new], vectors[what[new]], n, prior_std)

        embeddings = [fitted(link, self.item_embeddings, std) for link, std in EMBEDDINGS if link in usable]
        latent = fitted("logit", self.latent, PRIOR_STD)
        return UserFeatures(np.stack(list(features.values()), 1), embeddings, latent)


def log_odds(disliked: np.ndarray, liked: np.ndarray, base: float, smoothing: float) -> np.ndarray:
    """Log-odds of the rate of dislikes, smoothed towards `base`; float [n]."""
    rate = (disliked + smoothing * base) / (disliked + liked + smoothing)
    return np.log(rate) - np.log1p(-rate)
