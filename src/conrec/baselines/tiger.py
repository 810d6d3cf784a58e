"""TIGER (Rajput et al. 2023, "Recommender Systems with Generative Retrieval", NeurIPS).

A T5 reads a user token (users hashed to 2,000) and the semantic IDs of the history, and spells the semantic ID of the
next item; the IDs come from an RQ-VAE over the items' contents. Departures: the RQ-VAE is the run's own, which also
sees images and needs no fourth code against collisions (`sid.collisions`); the history is a user's dislikes; training
and decoding know what is on offer and its prior (`baselines.generative`); AdamW; sizes for catalogues of some ten
thousand items (theirs: 4 + 4 layers of width 128).
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
