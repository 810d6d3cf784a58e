"""The filter's score, in the form in which it is served (`filtering.online`): a user's side and the items' side.

    score(u, i) = b_u + b_i + <p_u, q_i> + w * max over the predicted dislikes j of u of cos(i, j)

`paper` is the paper's own score: w = 1 and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conrec.data.instances import Instances
from conrec.errors import ConrecError
from conrec.filtering.online import ItemSide
from conrec.filtering.past import Past


@dataclass(frozen=True)
class FilterScore:
    """A fitted score. One object serves every day: the sides are made anew from the log of the day."""

    name: str
    """`default` or `paper`."""
    cosine_weight: float
    """w."""
    dimensions: int
    """d, the length of p and q; 0 for the paper's score."""

    @classmethod
    def paper(cls) -> FilterScore:
        """The largest cosine to a predicted dislike, and nothing else."""
        return cls("paper", 1.0, 0)

    @classmethod
    def load(cls, folder: Path) -> FilterScore:
        """What `save` wrote; ConrecError where it is not there or not readable."""
        path = folder / "score.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return cls(str(table["name"]), float(table["cosine_weight"]), int(table["dimensions"]))
        except (OSError, ValueError, KeyError) as error:
            raise ConrecError(f"{path}: no readable score ({error}); run the filter stage again") from error

    def save(self, folder: Path) -> None:
        """Write the score into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        table = {"name": self.name, "cosine_weight": self.cosine_weight, "dimensions": self.dimensions}
        (folder / "score.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    def item_side(self, past: Past, cut: np.datetime64) -> ItemSide:
        """Every item's vector and bias on the day of `cut`."""
        n = len(past.items)
        return ItemSide(past.catalog.unit, np.zeros((n, 0), np.float32), np.zeros(n, np.float32))

    def user_sides(self, past: Past, instances: Instances, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [B, d] and biases float32 [B] of the instances' users at the instances' cuts.

        predicted: int32 [B, K], rows of the predicted dislikes, best first, -1 where there are no more.
        """
        return np.zeros((len(instances), self.dimensions), np.float32), np.zeros(len(instances), np.float32)
