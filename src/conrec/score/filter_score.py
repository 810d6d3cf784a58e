"""The filter's score, in the form in which it is served (`score.factors`): a user's side and the items' side.

    score(u, i) = b_u + b_i + <p_u, q_i> + w * max over the predicted dislikes j of u of cos(i, j)

The default is a logistic regression of two parts, which are each of that form:

    s * history(u, i) + w * cosine(u, i) + constant

what the log says (`score.history`, itself learned on the training period), and the paper's own score.
The few weights are fitted to a third of the
users of validation (`fitting_users`), so that the others can still calibrate a threshold (`evaluate.risk_control`).
None is negative, and a part that does not help, on users it was not fitted to, is left out. A user without predictions
counts as one of average cosine. `paper` is the paper's score: w = 1 and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.score.factors import ItemFactors
from conrec.score.history import HistoryScore
from conrec.score.similarity import NOTHING_NEAR

FOLDS = 5
"""Of users, to see whether a part helps."""
ENOUGH = 100
"""Dislikes and likes each, from which on the parts are weighed; with less the history stands alone."""
FITTING_PART = 3
"""The weights are fitted to one user of so many; the others are left for a threshold to be calibrated on."""


def fitting_users(users: np.ndarray) -> np.ndarray:
    """bool [n]: whose dislikes and likes the weights may be fitted to, a third of the users (str [n]).

    Drawn by a hash of the user's id: the same users on every machine and in every log, whatever else is in it.
    """
    names, which = np.unique(users, return_inverse=True)
    hashes = [hashlib.sha256(b"weights of the score:" + name.encode()).digest() for name in names.tolist()]
    return np.array([int.from_bytes(value[:8], "big") % FITTING_PART == 0 for value in hashes], bool)[which]


def enough_to_weigh(disliked: np.ndarray) -> bool:
    """Whether these exposures (bool [m], the others are likes) suffice to fit weights to."""
    return int(min(disliked.sum(), (~disliked).sum())) >= ENOUGH


@dataclass
class FilterScore:
    """A fitted score. One object serves every day: the sides are made anew from the log of the day."""

    name: str
    """`default` or `paper`."""
    cosine_weight: float = 1.0
    """w."""
    history: HistoryScore | None = None
    history_weight: float = 1.0
    """s."""
    constant: float = 0.0
    usual_cosine: float = 0.0
    """What a user without predictions counts as having."""

    @classmethod
    def paper(cls) -> FilterScore:
        """The largest cosine to a predicted dislike, and nothing else."""
        return cls("paper")

    @property
    def dimensions(self) -> int:
        """d, the length of p and q; 0 for the paper's score."""
        return self.history.dimensions if self.history is not None else 0

    def weighed(self, history: np.ndarray, cosine: np.ndarray, disliked: np.ndarray, users: np.ndarray) -> FilterScore:
        """The score with its weights fitted to these exposures; the history alone where they are too few.

        history, cosine: float [m], of dislikes and likes; disliked: bool [m]; users [m].
        A part stays where it lowers the logistic loss on users that its weight was not fitted to.
        """
        if not enough_to_weigh(disliked):
            return replace(self, cosine_weight=0.0, history_weight=1.0)
        parts = {"history": history, "cosine": cosine}
        added = [name for name in parts if name != "history"]
        choices = [("history", *some) for n in range(len(added) + 1) for some in combinations(added, n)]
        fold = np.random.default_rng(0).integers(FOLDS, size=len(users))[np.unique(users, return_inverse=True)[1]]
        columns = {names: np.stack([parts[name] for name in names], 1) for names in choices}
        fits = {names: _logistic(columns[names], disliked) for names in choices}
        # Without parts of weight 0, a score without the cosine is the same whatever cosine was there to choose.
        choices = [names for names in choices if (fits[names][0][1:] > 0).all()]
        chosen = min(choices, key=lambda names: _held_out_loss(columns[names], disliked, fold))
        weights, constant = fits[chosen]
        of = dict(zip(chosen, weights.tolist()))
        return replace(
            self,
            history_weight=of["history"],
            cosine_weight=of.get("cosine", 0.0),
            constant=constant,
            usual_cosine=float(cosine.mean()),
        )

    def item_factors(self, log_view: LogView, cutoff: np.datetime64) -> ItemFactors:
        """Every item's vector and bias on the day of `cutoff`."""
        n = len(log_view.items)
        vectors, biases = [np.zeros((n, 0))], np.zeros(n)
        if self.history is not None:
            of_history, biases = self.history.item_factors(log_view, cutoff)
            vectors.append(of_history)
        biases = self.history_weight * biases
        return ItemFactors(log_view.catalog.unit, np.hstack(vectors).astype(np.float32), biases.astype(np.float32))

    def user_factors(
        self, log_view: LogView, instances: Instances, predicted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [B, d] and biases float32 [B] of the instances' users at the instances' cuts.

        predicted: int32 [B, K], rows of the predicted dislikes, best first, -1 where there are no more.
        """
        n = len(instances)
        vectors, biases = [np.zeros((n, 0))], np.zeros(n)
        if self.history is not None:
            of_history, biases = self.history.user_factors(log_view, instances)
            vectors.append(self.history_weight * of_history)
        biases = self.history_weight * biases + self.constant
        if self.history is not None:
            without = (predicted < 0).all(axis=1)
            biases = biases + np.where(without, self.cosine_weight * (self.usual_cosine - NOTHING_NEAR), 0)
        return np.hstack(vectors).astype(np.float32), biases.astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the score into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.history is not None:
            self.history.save(folder / "history.safetensors")
        table = {name: getattr(self, name) for name in NUMBERS}
        table |= {"name": self.name, "dimensions": self.dimensions}
        (folder / "score.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FilterScore:
        """What `save` wrote; ConrecError where it is not there or not readable."""
        try:
            table = json.loads((folder / "score.json").read_text(encoding="utf-8"))
            path = folder / "history.safetensors"
            return cls(
                str(table["name"]),
                **{name: float(table[name]) for name in NUMBERS},
                history=HistoryScore.load(path) if path.exists() else None,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConrecError(f"{folder}: no readable score ({error}); run the filter stage again") from error


NUMBERS = ("cosine_weight", "history_weight", "constant", "usual_cosine")


def _held_out_loss(columns: np.ndarray, wanted: np.ndarray, fold: np.ndarray) -> float:
    """Logistic loss of each fold under weights fitted to the others."""
    loss = 0.0
    for n in np.unique(fold):
        here = fold == n
        weights, constant = _logistic(columns[~here], wanted[~here])
        margin = np.where(wanted[here], 1.0, -1.0) * (columns[here] @ weights + constant)
        loss += float(np.logaddexp(0, -margin).sum())
    return loss


def _logistic(columns: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """Maximum likelihood with weights that are not negative: weights [k] and the constant."""
    centre, scale = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-9)
    x = np.hstack([(columns - centre) / scale, np.ones((len(columns), 1))])
    sign = np.where(wanted, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ weights)
        slope = -sign * expit(-margin)
        return float(np.logaddexp(0, -margin).mean()), x.T @ slope / len(x)

    bounds = [(0.0, None)] * columns.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(x.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = found[:-1] / scale
    return weights, float(found[-1] - weights @ centre)
