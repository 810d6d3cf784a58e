"""SASRec (Kang and McAuley, ICDM 2018, arXiv 1808.09781): causal self-attention over the items of a history.

    x_t = e(item_t) + p_t (+ m(sign_t) where positives are read, too)
    x   = x + Dropout(Attention(LayerNorm(x)));   x = x + Dropout(FFN(LayerNorm(x)))    `layers` times, causal
    r(i | history) = LayerNorm(x_last) . e(i)

docs/baselines.md says how it is trained, and how it departs from the paper.
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
