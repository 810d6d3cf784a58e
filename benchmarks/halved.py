"""What is left of a list of 20 where half its dislikes go, as "You Don't Bring Me Flowers" (RecSys 2025) measures it.

    python -m benchmarks.halved RUN

RUN is a run that came as far as its filter stage, of a log that says what was shown. Of a user's window on test the
first 20 exposures are the list, and what was shown after them is what a ranker has further down. Windows of fewer than
40 are left out, so that every list can be filled. Each way has a threshold of its own, at which the lists hold half the
dislikes that they held:

    removal        what passes of the list, which gets shorter (`want` not asked)
    from below     the first 20 that pass of everything (`want = 20`, and more candidates than are shown)
    replacement    removal, filled with what the user liked before (`replace = true`); what would have become of that
                   the log does not say, so it counts as neither liked nor disliked

Counted are the length, the share of the window's likes that the list holds (recall), and nDCG with a like as the gain,
averaged over lists, with 95 % intervals over users.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from conrec.data.exposures import DISLIKED, LIKED
from conrec.evaluate.bootstrap import bootstrap

K = 20
SCORED = ("conrec", "label")
WAYS = ("removal", "from below", "replacement")
Shown = list[tuple[str, np.ndarray, np.ndarray]]
"""A user, and the scores and labels of the exposures of one window, in the order of the log."""


def listed(scores: np.ndarray, labels: np.ndarray, way: str, threshold: float) -> np.ndarray:
    """Labels of what is in the list, in its order; 0 for what fills it and was not shown."""
    passes = scores <= threshold
    kept = labels[passes][:K] if way == "from below" else labels[:K][passes[:K]]
    return np.append(kept, np.zeros(K - len(kept), int)) if way == "replacement" else kept


def measured(shown: Shown, way: str, threshold: float) -> np.ndarray:
    """float64 [lists, 4]: dislikes in the list, its length, recall, and nDCG (nan without a like)."""
    discount = 1 / np.log2(np.arange(K) + 2)
    rows = []
    for _, scores, labels in shown:
        own = listed(scores, labels, way, threshold)
        likes, of = own == LIKED, np.count_nonzero(labels == LIKED)
        ideal = discount[: min(of, K)].sum()
        gains = (likes.sum() / of, discount[: len(own)][likes].sum() / ideal) if of else (np.nan, np.nan)
        rows.append((np.count_nonzero(own == DISLIKED), len(own), *gains))
    return np.array(rows)


def halving(shown: Shown, way: str) -> float:
    """The highest threshold at which the lists hold at most half the dislikes of the unfiltered ones."""
    half = measured(shown, "removal", np.inf)[:, 0].sum() / 2
    steps = np.unique(np.concatenate([scores for _, scores, _ in shown]))
    low, high = 0, len(steps)  # fewer pass at a lower threshold; from below others move up, so nearly so
    while low < high:
        middle = (low + high + 1) // 2
        if measured(shown, way, steps[middle - 1])[:, 0].sum() <= half:
            low = middle
        else:
            high = middle - 1
    return float(steps[low - 1]) if low else -np.inf


def read(run: Path) -> Shown:
    table = pq.read_table(run / "filter" / "seed0" / "scores.parquet", filters=[("split", "=", "test")])
    users, cutoffs = (table[name].to_numpy(zero_copy_only=False).astype(str) for name in ("user_id", "cutoff"))
    order = np.lexsort((cutoffs, users))  # stable
    users, cutoffs = users[order], cutoffs[order]
    starts = np.flatnonzero((users[1:] != users[:-1]) | (cutoffs[1:] != cutoffs[:-1])) + 1
    parts = zip(*(np.split(column, starts) for column in (users, *(table[n].to_numpy()[order] for n in SCORED))))
    return [(own[0], scores, labels) for own, scores, labels in parts if len(labels) >= 2 * K]


def table(shown: Shown) -> str:
    """In Markdown."""
    users = np.array([user for user, _, _ in shown])
    lines = ["| | dislikes | length | recall | nDCG |", "|---|---|---|---|---|"]

    def row(name: str, values: np.ndarray) -> None:
        cells = (f"{one.mean:.3f} ({one.low:.3f}-{one.high:.3f})" for one in bootstrap(users, values))
        lines.append(f"| {name} | {' | '.join(cells)} |")

    row("unfiltered", measured(shown, "removal", np.inf))
    for way in WAYS:
        row(way, measured(shown, way, halving(shown, way)))
    return "\n".join([f"{len(shown):,} lists of {K}, {len(np.unique(users)):,} users", "", *lines])


def main(arguments: Any) -> None:
    print(table(read(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
