"""The filter's score: how close is a candidate to the nearest item that the user is predicted to dislike?

Paper, section 1 and "offline filtering": the generated semantic IDs are turned back into vectors by the codebook,
and a candidate's score is its largest cosine to any of them. All rows given here have length 1 (`Catalog.unit`), so
a cosine is a dot product. A user without predictions scores `NOTHING_NEAR`, below every threshold: all pass.
"""

import numpy as np

NOTHING_NEAR = -1.0
"""The smallest possible cosine; no threshold in [-1, 1] drops it."""
_ONE = np.float32(1)


def max_cosine(candidates: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of one user's candidates.

    candidates: float32 [c, d] unit rows; predicted: float32 [p, d] unit rows.
    Returns the score float32 [c] in [-1, 1], and which prediction was nearest, int64 [c] (the first of equals; -1
    where there are no predictions).
    """
    if not len(predicted):
        return np.full(len(candidates), NOTHING_NEAR, np.float32), np.full(len(candidates), -1, np.int64)
    cosine = predicted @ candidates.T
    return np.clip(cosine.max(axis=0), -1, 1), cosine.argmax(axis=0)


def largest_cosine(candidates: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The score alone, as `max_cosine` gives it: which prediction was nearest costs as much again."""
    if not len(predicted):
        return np.full(len(candidates), NOTHING_NEAR, np.float32)
    # One row a prediction: the maximum then runs over whole rows, which processors do four times as fast.
    largest = (predicted @ candidates.T).max(axis=0)
    # np.clip takes twice as long for so few.
    np.minimum(largest, _ONE, out=largest)
    return np.maximum(largest, -_ONE, out=largest)


def max_cosine_batch(
    unit: np.ndarray, candidates: np.ndarray, predicted: np.ndarray, rows_at_once: int = 1024
) -> np.ndarray:
    """Scores of many users' candidates at once.

    unit: float32 [n, d], the items' unit rows; candidates: int [B, c] and predicted: int [B, p] are rows of it, -1
    pads either. Returns float32 [B, c]; `NOTHING_NEAR` for padding and for users without predictions.
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
