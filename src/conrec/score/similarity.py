"""The paper's filter: how close is a candidate to the nearest item that the user is predicted to dislike?

Section 1 and "offline filtering": the generated semantic IDs are turned back into vectors by the codebook, and a
candidate's score is its largest cosine to any of them. It is compared in the replay and not deployed (docs/filter.md).
"""

import numpy as np

NOTHING_NEAR = -1.0
"""The smallest possible cosine: the score of a user without predictions."""


def max_cosine(unit: np.ndarray, candidates: np.ndarray, predicted: np.ndarray, rows_at_once: int = 1024) -> np.ndarray:
    """Scores of many users' candidates.

    unit: float32 [n, d], the items' unit rows (`Catalog.unit`), so that a cosine is a dot product; candidates: int
    [B, c] and predicted: int [B, p] are rows of it, -1 pads either. Returns float32 [B, c] in [-1, 1]; `NOTHING_NEAR`
    for padding and for users without predictions.
    """
    scores = np.full(candidates.shape, NOTHING_NEAR, np.float32)
    for start in range(0, len(candidates), rows_at_once):
        part = slice(start, start + rows_at_once)
        cosine = np.einsum("bcd,bpd->bcp", unit[candidates[part]], unit[predicted[part]], optimize=True)
        cosine[np.broadcast_to(predicted[part][:, None, :] < 0, cosine.shape)] = NOTHING_NEAR
        if cosine.shape[2]:
            scores[part] = np.clip(cosine.max(axis=2), -1, 1)
    scores[candidates < 0] = NOTHING_NEAR
    return scores
