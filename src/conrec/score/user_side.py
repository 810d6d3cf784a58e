"""The user's side of the history score without a log: from one user's own history to the factors that are served.

A snapshot takes this along, and each user's history, so that a dislike of a moment ago counts at the next request. What
it computes is what the daily job computes of such a history on the day of the snapshot: both go through
`FeatureSnapshot.of_histories` and `Regression.user_factors`. The items' side stays that of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_matrix

from conrec.data.user_log import slices
from conrec.features.attribute_rates import personal_rates
from conrec.score.bias import BiasTerms, Link
from conrec.score.factors import ItemFactors
from conrec.score.feature_snapshot import FeatureSnapshot, embedded
from conrec.score.regression import Regression
from conrec.score.user_history import History

FILE = "user_side.safetensors"


@dataclass(frozen=True)
class Rates:
    """Dislike rates by attribute (`features.attribute_rates`) for one user at a time."""

    matrix: csr_matrix
    """float32 [items, attributes]."""
    shape: np.ndarray
    """float64 [attributes], of the prior."""
    reasons: np.ndarray
    """float64 [attributes, reasons + 1]."""
    landmarks: csr_matrix
    """Rows of `matrix`."""
    mean: np.ndarray
    projection: np.ndarray
    """As in `score.feature_snapshot.RateEmbeddings`."""

    def embedding(self, history: History) -> np.ndarray:
        """float32 [1, d]."""
        items, counts = history.shown["item"], np.abs(history.shown["count"])
        own = slices(
            self.matrix.indptr[items], self.matrix.indptr[items + 1]
        )  # the rows; scipy takes five times as long
        weights = self.matrix.data[own.values] * np.repeat(counts, own.lengths)
        shown = np.bincount(self.matrix.indices[own.values], weights, len(self.shape))[None]
        disliked = history.events[history.events["sign"] == 1]
        owners = np.zeros(len(disliked), np.int64)
        given = self.reasons[:, disliked["reason"]]
        rates = personal_rates(self.matrix, self.shape, shown, owners, disliked["item"], given)
        return embedded(np.log(self.landmarks @ rates[0]).astype(np.float32)[None], self.mean, self.projection)


@dataclass(frozen=True)
class UserSide:
    """All that the user's side of a history score depends on, beside the history."""

    day: FeatureSnapshot
    """Of the snapshot's day; its log and what only items need is left out where it was read from a file."""
    regression: Regression
    rates: Rates | None

    @classmethod
    def of(cls, day: FeatureSnapshot, regression: Regression, cutoff: np.datetime64) -> UserSide:
        """The user's side of the score with the features of a day."""
        rates = None
        if day.rates is not None:
            matrix, everybody = day.rates.rates.of_day(cutoff)
            landmarks = matrix[day.rates.landmarks]
            rates = Rates(matrix, everybody.shape, everybody.reasons, landmarks, day.rates.mean, day.rates.projection)
        return cls(day, regression, rates)

    def factors(self, history: History) -> tuple[np.ndarray, float]:
        """Vector float32 [d] and bias of a user."""
        own = history.events[np.abs(history.events["sign"]) <= 1]
        one = np.zeros(len(own), np.int64)
        features = self.day.of_histories(1, one, own["item"], own["sign"], own["value"].astype(np.float64))
        if self.rates is not None:
            features.embeddings.append(self.rates.embedding(history))
        vectors, biases = self.regression.user_factors(features)
        return vectors[0].astype(np.float32), float(np.float32(biases[0]))

    def save(self, folder: Path) -> None:
        """Write FILE; the items' embeddings and latent factors are in the item factors already."""
        day, rates = self.day, self.rates
        arrays = {f"regression/{name}": value for name, value in self.regression.state().items()}
        arrays |= {f"bias/{link}": terms.items for link, terms in day.bias_terms.items()}
        arrays |= {"ratings": day.item_ratings, "scalars": np.array([day.rated, day.base, day.mean, day.std])}
        if rates is not None:
            for name in ("matrix", "landmarks"):
                matrix = getattr(rates, name)
                for part in ("data", "indices", "indptr"):
                    arrays[f"rates/{name}/{part}"] = getattr(matrix, part)
            arrays |= {f"rates/{name}": getattr(rates, name) for name in ("shape", "reasons", "mean", "projection")}
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path, items: ItemFactors, widths: tuple[int, int]) -> UserSide | None:
        """What was saved, with the items of the same snapshot (`SnapshotItems.widths`); None where nothing was.

        KeyError, OSError or ValueError where it is not readable.
        """
        if not (folder / FILE).exists():
            return None
        arrays = load_file(folder / FILE)
        rated, base, mean, std = arrays["scalars"].tolist()
        links: tuple[Link, ...] = ("logit", "identity")
        terms = {link: arrays[f"bias/{link}"] for link in links if f"bias/{link}" in arrays}
        vectors, ends = items.vectors, np.cumsum(widths)
        day = FeatureSnapshot(
            feedback=None,  # type: ignore[arg-type]
            rated=bool(rated),
            item_embeddings=vectors[:, ends[1] :],
            latent=vectors[:, ends[0] : ends[1]],
            item_features=vectors[:, : ends[0]],
            base=base,
            mean=mean,
            std=std,
            item_ratings=arrays["ratings"],
            bias_terms={link: BiasTerms(link, own, own) for link, own in terms.items()},
            rates=None,
        )
        prefix, rates = "regression/", None
        regression = Regression.restore(
            {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
        )
        if "rates/shape" in arrays:
            matrices = []
            for name in ("matrix", "landmarks"):
                parts = [arrays[f"rates/{name}/{part}"] for part in ("data", "indices", "indptr")]
                matrices.append(csr_matrix(tuple(parts), shape=(len(parts[2]) - 1, len(arrays["rates/shape"]))))
            matrix, landmarks = matrices
            own = [arrays[f"rates/{name}"] for name in ("shape", "reasons", "mean", "projection")]
            rates = Rates(matrix, own[0], own[1], landmarks, own[2], own[3])
        return cls(day, regression, rates)
