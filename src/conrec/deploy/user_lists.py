"""What a snapshot keeps of a user's history: the newest items, and which of them each prediction follows from."""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Ragged


def newest(lists: Ragged, width: int) -> np.ndarray:
    """int32 [B, width]: the last of each list, last first, -1 where there are no more."""
    place = np.arange(width)
    rows = np.full((len(lists), width), -1, np.int32)
    there = place < lists.lengths[:, None]
    at = lists.offsets[1:, None] - 1 - place
    rows[there] = lists.values[at[there]]
    return rows


def reason_index(unit: np.ndarray, predicted: np.ndarray, dislikes: np.ndarray) -> np.ndarray:
    """int8 [B, K]: which past dislike (its position) each prediction is closest to, -1 without any.

    unit: float32 [n, d], the items' unit rows; predicted: int [B, K] and dislikes: int [B, M] are rows, -1 pads.
    """
    cosine = np.einsum("bkd,bmd->bkm", unit[predicted], unit[dislikes], optimize=True)
    cosine[np.broadcast_to(dislikes[:, None] < 0, cosine.shape)] = -np.inf
    nearest = cosine.argmax(axis=2).astype(np.int8)
    nearest[(predicted < 0) | (dislikes[:, :1] < 0)] = -1
    return nearest
