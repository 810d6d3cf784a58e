"""Bidirectional translation between semantic IDs and titles (paper, section 3, context understanding)."""

from __future__ import annotations

import numpy as np

from conrec.lm.prompts import Sample, sid_to_title, title_to_sid
from conrec.lm.vocabulary import Vocabulary


def translation_samples(vocabulary: Vocabulary, codes: np.ndarray, titles: list[str]) -> list[Sample]:
    """Two samples an item, codes int [n, T]: from its ID to its title, and back."""
    samples = []
    for code, title in zip(codes, titles):
        samples += [sid_to_title(vocabulary, code, title), title_to_sid(vocabulary, code, title)]
    return samples
