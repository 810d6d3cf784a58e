"""What a network of sequences reads, and its size; without torch, for whoever only names them."""

from dataclasses import dataclass
from typing import Literal

Inputs = Literal["dislikes", "dislikes+likes"]
"""Which events it reads."""


@dataclass(frozen=True)
class Sizes:
    """Size and training of a network; each recommender has defaults of its own."""

    width: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    epochs: float = 60
    learning_rate: float = 1e-3
