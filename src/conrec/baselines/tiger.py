"""TIGER (Rajput et al. 2023, "Recommender Systems with Generative Retrieval", NeurIPS).

A T5 reads a user token and the semantic IDs of the history, and spells the semantic ID of the next item; the IDs come
from an RQ-VAE over the items' contents. docs/baselines.md says how it departs from the paper.
"""

from pathlib import Path

from conrec.baselines.encoder_decoder import T5Recommender
from conrec.features.sizes import Sizes


class Tiger(T5Recommender):
    """T5 over the catalogue's semantic IDs; options as in `Generative`."""

    name = "tiger"
    sizes = Sizes(heads=4, dropout=0.1, epochs=8, learning_rate=3e-3)
    requires = ("catalog",)

    def build(self, folder: Path) -> None:
        assert self.known.catalog is not None
        self.build_t5(self.known.catalog.codes, self.known.catalog.sizes)
