"""The filter's score of one user's candidates: one matrix product, against a Python loop over the candidates.

The work is the whole formula of `conrec.score.factors`. Exact means: the same scores to 1e-5. The lower bound fetches
the vectors and multiplies them, nothing more.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Result, Work, compared, in_turns, one_thread
from conrec.score.factors import ItemFactors, UserFactors, served_scores

CANDIDATES, DIMENSIONS = 500, 150
LOOP = "Python loop over the candidates"
TOLERANCE = 1e-5


def bench(quick: bool) -> Result:
    """500 candidates, vectors of 150 dimensions."""
    n, calls, turns = (1_000, 3, 2) if quick else (50_000, 200, 15)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n, DIMENSIONS), np.float32) / np.float32(DIMENSIONS**0.5)
    items = ItemFactors.of(vectors, rng.standard_normal(n, np.float32))
    user = UserFactors(rng.standard_normal(DIMENSIONS, np.float32), float(rng.standard_normal()))
    rows = rng.choice(n, CANDIDATES, replace=False)
    with one_thread():
        taken = in_turns(
            {
                "ours": _often(lambda: served_scores(items, user, rows), calls),
                "lower bound": _often(lambda: vectors.take(rows, axis=0) @ user.vector, calls),
                LOOP: _often(lambda: one_by_one(items, user, rows), max(1, calls // 20)),
            },
            turns,
        )
    for name in taken:
        taken[name] /= max(1, calls // 20) if name == LOOP else calls
    difference = float(np.abs(served_scores(items, user, rows) - one_by_one(items, user, rows)).max())
    return compared(
        taken,
        LOOP,
        bench="filter",
        work=f"{CANDIDATES} candidates, {DIMENSIONS} dimensions, {n:,} items",
        exact=difference <= TOLERANCE,
        targets={} if quick else {"under 150 us": bool(np.median(taken["ours"]) < 150e-6)},
        details={"largest_difference_of_scores": difference},
    )


def one_by_one(items: ItemFactors, user: UserFactors, rows: np.ndarray) -> np.ndarray:
    """Scores float32 [c], one candidate after the other."""
    scores = [user.bias + items.biases[row] + items.vectors[row] @ user.vector for row in rows.tolist()]
    return np.array(scores, np.float32)


def _often(work: Work, times: int) -> Work:
    """One call is too short for the clock."""

    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated
