"""TIGER (Rajput et al. 2023, "Recommender Systems with Generative Retrieval", NeurIPS).

A T5 reads a user token (users hashed to 2,000) and the semantic IDs of the history, and spells the semantic ID of the
next item; the IDs come from an RQ-VAE over the items' contents. Departures: the RQ-VAE is the run's own, which also
sees images and needs no fourth code against collisions (`sid.collisions`); the history is a user's dislikes; training
and decoding know what is on offer and its prior (`baselines.generative`); AdamW; sizes for catalogues of some ten
thousand items (theirs: 4 + 4 layers of width 128).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conrec.baselines.encoder_decoder import PAD, Words, build_encoder_decoder
from conrec.baselines.generative import Generative
from conrec.data.instances import Instances, Ragged

USERS = 2000


GRID: tuple[dict[str, object], ...] = tuple(
    {"learning_rate": a, "dropout": b} for a in (1e-3, 3e-3) for b in (0.1, 0.3)
)
"""Settings to choose from on validation."""


class Tiger(Generative):
    """T5 over the catalogue's semantic IDs; options as in `Generative`."""

    def __init__(
        self,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        epochs: float = 8,
        learning_rate: float = 3e-3,
        **options: Any,
    ) -> None:
        super().__init__("tiger", epochs=epochs, learning_rate=learning_rate, **options)
        self.width, self.layers, self.heads, self.dropout = width, layers, heads, dropout

    def build(self, folder: Path) -> None:
        """A T5 of random weights for the catalogue's codes; ValueError without a catalogue."""
        if self.known.catalog is None:
            raise ValueError("tiger needs the catalogue")
        self.codes, self.pad = self.known.catalog.codes, PAD
        self.words = Words(self.known.catalog.sizes, USERS)
        self.policy = build_encoder_decoder(
            self.words,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            dropout=self.dropout,
            seed=self.seed,
        )

    def prompts(self, instances: Instances) -> Ragged:
        """User token, dislikes, positives."""
        return self.words.prompts(
            instances,
            self.codes,
            positives=self.positives,
            max_dislikes=self.max_dislikes,
            max_positives=self.max_positives,
        )
