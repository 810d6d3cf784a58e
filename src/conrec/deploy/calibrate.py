"""The verb `calibrate`: from an operator's budget of lost likes to the threshold that the filter is deployed with.

Reads every exposure of the replay with its score (`RUN/filter/seedN/scores.parquet`), chooses thresholds on validation
by `evaluate.risk_control` and looks at what they would have done on test, which they have never seen. docs/guarantee.md
has both promises, and why all validation users may calibrate the score.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.exposures import DISLIKED, LIKED
from conrec.data.histories import Histories
from conrec.data.instances import Events, read_events, read_items
from conrec.errors import ConrecError
from conrec.evaluate import results
from conrec.evaluate.bootstrap import bootstrap
from conrec.evaluate.protocol import OURS
from conrec.evaluate.risk_control import Promise, divided, promise, promise_of_the_rest, promises
from conrec.files import file_digest, readable
from conrec.filter.thresholds import NO_CATEGORY, activity_segments
from conrec.report.texts import sentences

By = Literal["category", "activity"]
COMMON_BUDGETS = (0.005, 0.01, 0.02, 0.05, 0.10)
"""Beside the budget asked for, so that an operator sees what another one would bring."""
GRID = np.linspace(-12, 12, 481)
"""Thresholds that a promise of what is left may choose from, whatever the data."""
ENOUGH = 10
"""Exposures of a user from which on the share that is dropped says what a list would lose."""


@dataclass(frozen=True)
class Exposures:
    """One row an exposure of a replay."""

    users: np.ndarray
    """int [n]: who it was shown to, numbered."""
    labels: np.ndarray
    """int8 [n]: DISLIKED, NEUTRAL or LIKED."""
    scores: np.ndarray
    """float [n], higher = rather disliked."""
    segments: np.ndarray
    """str [n]; all the same where there are none."""

    @property
    def liked(self) -> np.ndarray:
        return np.asarray(self.labels == LIKED)

    def take(self, mask: np.ndarray) -> Exposures:
        return Exposures(self.users[mask], self.labels[mask], self.scores[mask], self.segments[mask])

    def likes(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the likes, and whose each is."""
        return self.scores[self.liked], self.users[self.liked]


def calibrate(
    run: Path,
    recipe: Recipe,
    *,
    likes_lost: float = 0.01,
    unwanted: float | None = None,
    confidence: float | None = 0.95,
    by: By | None = None,
    seed: int | None = None,
    surface: str | None = None,
) -> results.Calibration:
    """Write `run/calibration.json`, or that of a surface (`calibration.NAME.json`), and return it.

    unwanted: at most this share of what is left to a user is disliked, beside the budget of lost likes.
    confidence: None promises the budget on average only. ConrecError for a budget or a confidence outside (0, 1), and
    for a run without a filter.
    """
    for flag, share in (("likes-lost", likes_lost), ("unwanted", unwanted), ("confidence", confidence)):
        if share is not None and not 0 < share < 1:
            raise ConrecError(f"--{flag} {share}: a share, above 0 and below 1; 0.01 is 1 %")
    if unwanted is not None and (confidence is None or by is not None):
        raise ConrecError("--unwanted is promised with confidence, for one threshold; leave out --on-average and --by")
    if surface is not None and not re.fullmatch(r"[\w-]{1,64}", surface):
        raise ConrecError(f"--surface {surface!r}: give at most 64 letters, digits, - and _")
    seed = recipe.seeds[0] if seed is None else seed
    path = run / "filter" / f"seed{seed}" / "scores.parquet"
    if not path.is_file():
        raise ConrecError(f"{path}: not there; bring the run as far as filter first, or take a longer log")
    with readable(path, "the filter"):
        table = pq.read_table(path, columns=["split", "user_id", "cutoff", "item_id", "label", OURS])
    segments, edges = _segments(table, run / "prepare", by)
    users = table["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    everything = Exposures(users, table["label"].to_numpy(), table[OURS].to_numpy().astype(np.float64), segments)
    splits = table["split"].to_numpy().astype(str)
    validation, test = (everything.take(splits == split) for split in ("validation", "test"))
    each = None if confidence is None else divided(confidence, 1 if unwanted is None else 2)
    text = sentences("deploy/calibration.txt")

    chosen = promise(*validation.likes(), likes_lost, each)
    threshold, refused = chosen.threshold, None
    if threshold is not None and unwanted is not None and each is not None:
        threshold, refused = _both(validation, threshold, likes_lost, unwanted, each)
    before, after = _outcome(validation, threshold), _outcome(test, threshold)
    if chosen.threshold is None:
        refused = text.refusal(chosen.needed, before.users, before.likes, likes_lost, confidence)
    by_segment, segment_evidence = None, None
    if by is not None:
        found = promises(*validation.likes(), validation.segments[validation.liked], likes_lost, each)
        thresholds = {name: found[name].threshold if name in found else None for name in np.unique(segments).tolist()}
        by_segment = results.SegmentThresholds(by, edges, thresholds)
        outcomes = _outcome(validation, thresholds), _outcome(test, thresholds)
        of_each = {name: _segment(test, name, one, likes_lost) for name, one in found.items()}
        segment_evidence = results.SegmentEvidence(*outcomes, of_each)
    evidence = results.CalibrationEvidence(
        seed=seed,
        scores=file_digest(path),
        units_needed=chosen.needed,
        validation=before,
        test=after,
        verdict=None if refused else text.verdict(after.likes_lost_by_users, likes_lost),
        budgets=[_at(budget, each, validation, test) for budget in sorted({*COMMON_BUDGETS, likes_lost})],
        segments=segment_evidence,
        unwanted_verdict=None if refused or unwanted is None else text.verdict(after.unwanted, unwanted),
    )
    send = _send(validation, threshold if by_segment is None else by_segment.thresholds)
    result = results.Calibration(likes_lost, confidence, threshold, by_segment, refused, evidence, send, unwanted)
    results.write(run / (f"calibration.{surface}.json" if surface else "calibration.json"), result)
    return result


def _both(
    validation: Exposures, at_least: float, likes_lost: float, unwanted: float, confidence: float
) -> tuple[float | None, str | None]:
    """The threshold of the grid that keeps both promises, or why none does. at_least: what the likes ask for."""
    disliked = validation.labels == DISLIKED
    rest = promise_of_the_rest(validation.scores, disliked, validation.users, GRID, unwanted, confidence)
    high_enough = GRID[at_least <= GRID]
    if rest.threshold is not None and len(high_enough) and high_enough[0] <= rest.threshold:
        return float(high_enough[0]), None
    ends = (_outcome(validation, at_least), _outcome(validation, rest.threshold))
    return None, sentences("deploy/calibration.txt").not_both(likes_lost, unwanted, confidence, at_least, rest, *ends)


def describe(result: results.Calibration) -> str:
    """What was promised and what happened, in plain lines for people."""
    return str(sentences("deploy/calibration.txt").describe(result)).rstrip("\n")


def _segments(table: pa.Table, prepared: Path, by: By | None) -> tuple[np.ndarray, list[float] | None]:
    """The segment of every exposure, str [n]; of activity also the two edges between the three."""
    if by is None:
        return np.full(len(table), ""), None
    items = read_items(prepared)
    if by == "category":
        row = pc.index_in(table["item_id"], value_set=pa.array(items.ids, pa.string())).to_numpy()
        return np.array([category or NO_CATEGORY for category in items.categories], str)[row], None
    users = table["user_id"].to_numpy().astype(str)
    cutoffs = table["cutoff"].cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]")
    counts = activity(read_events(prepared, items), users, cutoffs)
    # The terciles of the users of validation, each at its last cutoff there.
    mask = table["split"].to_numpy().astype(str) == "validation"
    names, owner = np.unique(users[mask], return_inverse=True)
    most = np.zeros(len(names))
    np.maximum.at(most, owner, counts[mask])
    edges = [float(edge) for edge in np.quantile(most, [1 / 3, 2 / 3])] if len(most) else [0.0, 0.0]
    return activity_segments(counts, edges), edges


def activity(events: Events, users: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
    """int64 [n]: how many items each user (str [n]) disliked and liked before its cutoff (datetime64 [n])."""
    return np.sum(Histories(events).counts(users, cutoffs), axis=0)


def _dropped(exposures: Exposures, threshold: float | dict[str, float | None] | None) -> np.ndarray:
    """bool [n]: what the filter drops; one threshold, or one a segment."""
    if isinstance(threshold, dict):
        limits = {name: np.inf if limit is None else limit for name, limit in threshold.items()}
        names, which = np.unique(exposures.segments, return_inverse=True)
        return exposures.scores > np.array([limits.get(name, np.inf) for name in names.tolist()])[which]
    return exposures.scores > (np.inf if threshold is None else threshold)


def _send(exposures: Exposures, threshold: float | dict[str, float | None] | None) -> float:
    """How many candidates for a place of a list fill it for 95 % of users, as far as users have ENOUGH exposures; a
    share of each user's that is dropped is what a list of theirs would lose, and no list loses more than half."""
    counts, gone = (np.bincount(exposures.users, weights) for weights in (None, _dropped(exposures, threshold)))
    often = counts >= ENOUGH
    share = np.quantile(gone[often] / counts[often], 0.95) if often.any() else gone.sum() / max(1, counts.sum())
    return float(1 / (1 - min(share, 0.5)))


def _outcome(exposures: Exposures, threshold: float | dict[str, float | None] | None) -> results.Outcome:
    gone = _dropped(exposures, threshold)
    disliked = exposures.labels == DISLIKED
    names, owner = np.unique(exposures.users, return_inverse=True)
    left, bad = (np.bincount(owner, ~gone * one) for one in (1.0, disliked))
    return results.Outcome(
        users=len(np.unique(exposures.users[exposures.liked])),
        likes=int(exposures.liked.sum()),
        dislikes=int(disliked.sum()),
        likes_lost_by_users=_lost_by_users(exposures, gone),
        likes_lost_by_likes=_estimate(exposures.users[exposures.liked], gone[exposures.liked]),
        dislikes_avoided=_estimate(exposures.users[disliked], gone[disliked]),
        dropped=float(gone.mean()) if len(gone) else None,
        unwanted=_estimate(names, bad / np.maximum(left, 1)),
    )


def _lost_by_users(exposures: Exposures, gone: np.ndarray) -> results.Estimate | None:
    """Share of a user's likes lost, averaged over users."""
    names, owner, likes = np.unique(exposures.users[exposures.liked], return_inverse=True, return_counts=True)
    return _estimate(names, np.bincount(owner, gone[exposures.liked], len(names)) / likes)


def _estimate(users: np.ndarray, values: np.ndarray) -> results.Estimate | None:
    """A mean with its interval; None of nothing."""
    (one,) = bootstrap(users, values.astype(np.float64)[:, None])
    return None if one.mean is None else results.Estimate(one.mean, (one.low, one.high))


def _at(budget: float, confidence: float | None, validation: Exposures, test: Exposures) -> results.BudgetOutcome:
    chosen = promise(*validation.likes(), budget, confidence)
    after = None if chosen.threshold is None else _outcome(test, chosen.threshold)
    lost, avoided = (None, None) if after is None else (after.likes_lost_by_users, after.dislikes_avoided)
    return results.BudgetOutcome(budget, chosen.threshold, chosen.needed, chosen.lost, lost, avoided)


def _segment(test: Exposures, name: str, one: Promise, budget: float) -> results.SegmentOutcome:
    mine = test.take(np.asarray(test.segments == name))
    promised, lost = one.threshold is not None, _lost_by_users(mine, _dropped(mine, one.threshold))
    said = sentences("deploy/calibration.txt").verdict(lost, budget) if promised else None
    return results.SegmentOutcome(one.units, one.needed, one.lost, lost if promised else None, said)
