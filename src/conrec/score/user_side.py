"""The user's side of the history score without a log: from one user's own history to the factors that are served.

A snapshot takes this along, and each user's history, so that a dislike of a moment ago counts at the next request. What
it computes is what the daily job computes of such a history on the day of the snapshot: both go through
`FeatureSnapshot.of_histories` and `Regression.user_factors`. The items' side stays that of the day.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from conrec.data.instances import Ragged
from conrec.features.attribute_rates import RatesOf, changed_rates
from conrec.score.bias import BiasTerms, Link
from conrec.score.factors import ItemFactors
from conrec.score.feature_snapshot import FeatureSnapshot, embedded
from conrec.score.regression import Regression, part_of
from conrec.score.user_history import History, of_lists

LINKS: tuple[Link, ...] = ("logit", "identity")
RATES = "shape", "reasons", "mean", "projection"


def user_side(day: FeatureSnapshot, regression: Regression, cutoff: np.datetime64) -> dict[str, np.ndarray]:
    """What `UserSide` is made of, but for the items' vectors, which are in the item factors already."""
    arrays = {f"regression/{name}": value for name, value in regression.state().items()}
    arrays |= {f"bias/{link}": terms.items for link, terms in day.bias_terms.items()}
    arrays |= {"ratings": day.item_ratings, "scalars": np.array([day.rated, day.base, day.mean, day.std])}
    if day.rates is not None:
        matrix, everybody = day.rates.rates.of_day(cutoff)
        values = everybody.shape, everybody.reasons, day.rates.mean, day.rates.projection
        arrays |= {f"rates/{name}": value for name, value in zip(RATES, values)}
        arrays |= {f"matrix/{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        arrays["landmarks"] = day.rates.landmarks
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}


class UserSide:
    """All that the user's side of a history score depends on, beside the history."""

    def __init__(self, arrays: dict[str, np.ndarray], items: ItemFactors, widths: tuple[int, int]) -> None:
        """arrays: `user_side`; items: those of the same snapshot, with the widths of `SnapshotItems`. KeyError or
        ValueError where they do not fit."""
        rated, base, mean, std = arrays["scalars"].tolist()
        features, latent, embeddings = np.split(items.vectors, np.cumsum(widths), axis=1)
        own = part_of(arrays, "bias")
        terms = {link: BiasTerms(link, own[link], own[link]) for link in LINKS if link in own}
        no_log: Any = None
        self._day = FeatureSnapshot(
            no_log, bool(rated), embeddings, latent, features, base, mean, std, arrays["ratings"], terms, None
        )
        self._regression = Regression.restore(part_of(arrays, "regression"))
        self._rates = part_of(arrays, "rates")
        if self._rates:
            rows = tuple(arrays[f"matrix/{name}"] for name in ("data", "indices", "indptr"))
            self._matrix = csr_matrix(rows, shape=(len(rows[2]) - 1, len(self._rates["shape"])))
            self._landmarks = RatesOf.items(self._matrix[arrays["landmarks"]], self._rates["shape"])
        self.factors(of_lists([0], []))  # so that the first dislike finds all of it compiled

    def factors(self, history: History) -> tuple[np.ndarray, float]:
        """Vector float32 [d] and bias of a user."""
        own = history.events[np.abs(history.events["sign"]) <= 1]
        one = np.zeros(len(own), np.int64)
        features = self._day.of_histories(1, one, own["item"], own["sign"], own["value"].astype(np.float64))
        if self._rates:
            features.embeddings.append(self._rate_embedding(history))
        vectors, biases = self._regression.user_factors(features)
        return vectors[0].astype(np.float32), float(np.float32(biases[0]))

    def _rate_embedding(self, history: History) -> np.ndarray:
        """Dislike rates by attribute as a user embedding (`score.feature_snapshot.RateEmbeddings`), float32 [1, d]."""
        shape, reasons, mean, projection = (self._rates[name] for name in RATES)
        disliked = history.events[history.events["sign"] == 1]
        shown, rejected = (Ragged(one["item"], np.array([0, len(one)])) for one in (history.shown, disliked))
        counts = np.abs(history.shown["count"])
        changes = changed_rates(self._matrix, shape, reasons, shown, counts, rejected, disliked["reason"])
        return embedded(self._landmarks.of_users(changes), mean, projection)
