"""Latent factors of explicit feedback: which items the same people dislike, beyond bias terms and content.

What the bias terms leave of every dislike and like, over its standard deviation, is a sparse matrix of users by items.
Of its truncated singular value decomposition U S V' (as in PureSVD, Cremonesi et al. 2010) the items keep

    q_i = (V S)_i / sqrt(n_i + SHRINKAGE),   n_i dislikes and likes.

As far as n_i / (n_i + SHRINKAGE) lacks of 1, a ridge regression of q on the content embeddings is added. docs/filter.md
says why, how a user gets a vector over q, and why nothing but <p_u, q_i> may count.
"""

import numpy as np
from scipy.sparse import csr_matrix

from conrec.score.bias import BiasTerms, user_bias_terms

FACTORS = 32
SHRINKAGE = 10.0
PRIOR_STD = 1.0
"""Standard deviation of the prior of a user's vector."""
TOLERANCE = 1e-3
"""Relative error of a squared singular value; where many are alike, less takes twice as long."""
RIDGE = 3.0
"""Penalty of the regression on content embeddings, whose length is 1."""
NOISE = 0.05
"""Added to the variance of a residual, so that what was almost certain does not count without bounds."""


def latent_factors(
    terms: BiasTerms, users: np.ndarray, items: np.ndarray, targets: np.ndarray, content: np.ndarray
) -> np.ndarray:
    """q of all items, float32 [n, f], f at most FACTORS and fewer where few users or items are known.

    users (numbers), items: int [m]; targets: float [m], 1 disliked and 0 liked; terms: fitted to them; content: float
    [n, D], the items' content embeddings.
    """
    from scipy.sparse.linalg import svds  # what only serves users needs none of it

    n = len(terms.items)
    _, users = np.unique(users, return_inverse=True)
    known, columns = np.unique(items, return_inverse=True)
    shape = int(users.max(initial=-1)) + 1, len(known)
    factors = np.zeros((n, max(0, min(FACTORS, min(shape) - 1))), np.float32)
    b_u = user_bias_terms(terms, users, items, targets, shape[0])
    p = 1 / (1 + np.exp(-b_u[users] - terms.items[items]))
    residual = (targets - p) / np.sqrt(p * (1 - p) + NOISE)
    residuals = csr_matrix((residual.astype(np.float32), (users, columns)), shape)
    if factors.size and residuals.count_nonzero():
        start = np.random.default_rng(0).normal(size=min(shape))
        _, sizes, right = svds(residuals, factors.shape[1], v0=start, tol=TOLERANCE)
        counts = np.bincount(columns) + SHRINKAGE
        factors[known] = right.T * sizes / np.sqrt(counts)[:, None]
        lacks = np.ones(n, np.float32)
        lacks[known] = SHRINKAGE / counts
        gram, moments = RIDGE * np.eye(content.shape[1]), np.zeros((content.shape[1], factors.shape[1]))
        for some in np.split(known, range(65536, len(known), 65536)):
            own = content[some]
            weighted = own.T * (1 - lacks[some])
            gram, moments = gram + weighted @ own, moments + weighted @ factors[some]
        factors += lacks[:, None] * (content @ np.linalg.solve(gram, moments).astype(np.float32))
    return factors


def turned(factors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Factors [n, f] turned towards those of another day, [m, g] with m <= n: [n, g], the same dot products if g >= f.

    Orthogonal Procrustes (Schönemann 1966). So a user's vector of one day goes with the items of another.
    """
    left, _, right = np.linalg.svd(factors[: len(reference)].T @ reference, full_matrices=False)
    return factors @ (left @ right)
