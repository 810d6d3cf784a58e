"""The filter's score of one user's candidates: one matrix product, against a Python loop over the candidates.

The work is the whole formula of `conrec.score.factors`, with the nearest prediction. Exact means: the same scores
to 1e-5 and the same nearest predictions. The lower bound fetches the vectors and multiplies them, nothing more.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Result, Work, compared, in_turns, one_thread
from conrec.score.factors import ItemFactors, UserFactors, score, scores_alone

CANDIDATES, PREDICTED, DIMENSIONS, LEARNED = 500, 20, 64, 16
LOOP = "Python loop over the candidates"
TOLERANCE = 1e-5


def bench(quick: bool) -> Result:
    """500 candidates against 20 predicted dislikes, vectors of 64 and 16 dimensions."""
    n, calls, turns = (1_000, 3, 2) if quick else (50_000, 200, 15)
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((n, DIMENSIONS)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    vectors = rng.standard_normal((n, LEARNED)).astype(np.float32)
    items = ItemFactors(unit, vectors, rng.standard_normal(n).astype(np.float32))
    user = UserFactors(
        rng.choice(n, PREDICTED, replace=False).astype(np.int32),
        rng.standard_normal(LEARNED).astype(np.float32),
        float(rng.standard_normal()),
    )
    rows = rng.choice(n, CANDIDATES, replace=False)
    with one_thread():
        taken = in_turns(
            {
                "ours": _often(lambda: score(items, user, rows, 1.0), calls),
                "ours, scores alone": _often(lambda: scores_alone(items, user, rows, 1.0), calls),
                "lower bound": _often(lambda: unit.take(rows, axis=0) @ unit.take(user.predicted, axis=0).T, calls),
                LOOP: _often(lambda: one_by_one(items, user, rows), max(1, calls // 20)),
            },
            turns,
        )
    for name in taken:
        taken[name] /= max(1, calls // 20) if name == LOOP else calls
    ours, ours_nearest = score(items, user, rows, 1.0)
    scores, nearest = one_by_one(items, user, rows)
    difference = float(np.abs(ours - scores).max())
    return compared(
        taken,
        LOOP,
        bench="filter",
        work=f"{CANDIDATES} candidates, {PREDICTED} predicted dislikes, {n:,} items",
        exact=difference <= TOLERANCE and bool((ours_nearest == nearest).all()),
        targets={} if quick else {"under 150 us": bool(np.median(taken["ours"]) < 150e-6)},
        details={"largest_difference_of_scores": difference},
    )


def one_by_one(items: ItemFactors, user: UserFactors, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 [c] and nearest predictions int64 [c], one candidate after the other."""
    predicted = items.unit[user.predicted]
    scores, nearest = [], []
    for row in rows.tolist():
        cosine = predicted @ items.unit[row]
        best = int(cosine.argmax())
        scores.append(user.bias + items.biases[row] + items.vectors[row] @ user.vector + cosine[best])
        nearest.append(user.predicted[best])
    return np.array(scores, np.float32), np.array(nearest, np.int64)


def _often(work: Work, times: int) -> Work:
    """One call is too short for the clock."""

    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated
