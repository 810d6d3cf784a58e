"""Residual k-means: the fast quantiser, and where the RQ-VAE's codebooks start from.

Level by level the residuals are clustered and the nearest centre is taken off; a semantic ID is the list of centres
(paper section 3: R(d) = X - sum of the codewords before, Z(d) = the codeword nearest to R(d)).
"""

import faiss
import numpy as np

from conrec.sid.catalog import reconstruct


def residual_kmeans(latents: np.ndarray, sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Codewords per level, float32 [size, d] each, for `latents` float32 [n, d] with n >= max(sizes)."""
    residual = np.ascontiguousarray(latents, np.float32)
    codewords = []
    for level, size in enumerate(sizes):
        any_size = {"min_points_per_centroid": 1, "max_points_per_centroid": 10**9}
        clusters = faiss.Kmeans(residual.shape[1], size, niter=25, seed=seed + level, **any_size)
        clusters.train(residual)
        words = np.array(clusters.centroids, np.float32)
        codewords.append(words)
        residual = residual - words[nearest(residual, words)]
    return codewords


def refine(latents: np.ndarray, codewords: list[np.ndarray], rounds: int = 10) -> list[np.ndarray]:
    """The codewords after `rounds` of greedy assignment, and moving each to the mean of what it stands for.

    A codeword's target is what the other levels leave over, so levels end up fitting each other; codes without an
    item move to the residuals that are reconstructed worst. Keeps the round with the smallest squared error.
    """
    words = [w.copy() for w in codewords]
    best, smallest = words, np.inf
    for _ in range(rounds + 1):
        codes = assign(latents, words)
        error = float(((latents - reconstruct(codes, words)) ** 2).sum())
        if error < smallest:
            best, smallest = [w.copy() for w in words], error
        for level, level_words in enumerate(words):
            target = latents - reconstruct(codes, words) + level_words[codes[:, level]]
            uses = np.bincount(codes[:, level], minlength=len(level_words))
            sums = np.zeros_like(level_words)
            np.add.at(sums, codes[:, level], target)
            level_words[uses > 0] = sums[uses > 0] / uses[uses > 0, None]
            revive(latents, codes, words, level, uses == 0)
    return best


def revive(latents: np.ndarray, codes: np.ndarray, words: list[np.ndarray], level: int, dead: np.ndarray) -> None:
    """Move the `dead` codes (bool [size]) of a level onto the residuals that are reconstructed worst, in place."""
    before = reconstruct(codes[:, :level], words[:level]) if level else np.zeros_like(latents)
    worst = np.argsort(-((latents - reconstruct(codes, words)) ** 2).sum(axis=1), kind="stable")[: dead.sum()]
    words[level][np.flatnonzero(dead)[: len(worst)]] = (latents - before)[worst]


def assign(latents: np.ndarray, codewords: list[np.ndarray]) -> np.ndarray:
    """Greedy codes, int32 [n, levels]: the nearest codeword of each level to what the levels before left over."""
    residual = np.asarray(latents, np.float32)
    codes = np.empty((len(latents), len(codewords)), np.int32)
    for level, words in enumerate(codewords):
        codes[:, level] = nearest(residual, words)
        residual = residual - words[codes[:, level]]
    return codes


def nearest(x: np.ndarray, words: np.ndarray, block: int = 8192) -> np.ndarray:
    """int32 [n]: the row of `words` nearest to each row of `x`, ties to the smaller row."""
    half = (words**2).sum(axis=1) / 2
    found = [np.argmin(half - x[n : n + block] @ words.T, axis=1) for n in range(0, len(x), block)]
    return np.concatenate(found).astype(np.int32) if found else np.zeros(0, np.int32)
