"""SASRec (Kang and McAuley, ICDM 2018, arXiv 1808.09781): causal self-attention over the items of a history.

    x_t = e(item_t) + p_t (+ m(sign_t) where positives are read, too)
    x   = x + Dropout(Attention(LayerNorm(x)));   x = x + Dropout(FFN(LayerNorm(x)))    `layers` times, causal
    r(i | history) = LayerNorm(x_last) . e(i)

with FFN(x) = ReLU(x W1 + b1) W2 + b2 as wide as the model, and item embeddings shared between input and output. The
paper's loss is binary cross-entropy against one sampled negative per position; `loss="softmax"` is cross-entropy over
all targets instead, which Klenitskiy and Vasilev (RecSys 2023, arXiv 2309.07602) found to be what makes SASRec weak
or strong. Both are on the grid. Departures: positions count from the oldest event shown (the paper pads on the left).
"""

from conrec.baselines.sequence_model import NextItemRecommender
from conrec.features.attention import SelfAttention
from conrec.features.sizes import Sizes


class SASRec(NextItemRecommender):
    """Defaults are the paper's, but for the width (50 there)."""

    name = "sasrec"
    sizes = Sizes(heads=1)

    def build(self) -> SelfAttention:
        return SelfAttention(self.tokens, self.length, self.sizes, self.signed)
