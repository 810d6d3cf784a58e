"""Result files of a run, each as a type that reads, checks, and documents it (`docs/results_format.md`).

`metrics.json` is `Metrics`, `filter/seedN/replay.json` is `FilterReplay`, `calibration.json` is `Calibration`, and a
stage's `manifest.json` is `StageManifest`. Shares lie between 0 and 1. A budget is a share of the likes that may be
lost, written as "0.01". What None stands for, where the type allows it, that page says.
"""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from conrec.errors import ConrecError
from conrec.files import write_whole

T = TypeVar("T")

Interval = tuple[float | None, float | None]
"""Both ends of a 95 % bootstrap interval over users; None where nothing was measured."""
Verdict = Literal["better", "worse", "not significant"]


def read(path: Path, kind: type[T], mend: str = "run its stage again with --force") -> T:
    """A JSON file as its type. Fields that this version does not know are passed over.

    FileNotFoundError where there is none; ConrecError, which ends with `mend`, where it is not of this type.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise ConrecError(f"{path}: not readable ({error}); {mend}") from None


def write(path: Path, result: Struct) -> None:
    """A result as JSON, one value a line. ValueError where a number is not finite."""
    write_whole(path, json.dumps(msgspec.to_builtins(result), indent=1, allow_nan=False) + "\n")


class Estimate(Struct, frozen=True):
    """A mean with its interval."""

    mean: float | None
    ci95: Interval


class Figure(Estimate, frozen=True):
    """One metric of one system: the mean over instances, with the interval of that mean."""

    seeds: list[float | None]
    instances: int


class Difference(Struct, frozen=True, omit_defaults=True):
    """A paired difference on the same instances or exposures; positive where the first of the two is higher."""

    difference: float | None
    ci95: Interval
    verdict: Verdict
    instances: int | None = None


Figures = dict[str, Figure]
Differences = dict[str, Difference]


class StageFigures(Struct, frozen=True):
    """One training stage's checkpoint: its figures, and its gain over earlier checkpoints."""

    figures: Figures
    differences: dict[str, Differences]
    """Earlier stage (the warm-up, and the stage just before) -> metric -> this stage minus that one."""


class Validity(Struct, frozen=True):
    """Properties of CoNRec's predicted lists."""

    valid: float | None
    """Share of predicted items that could be recommended."""
    unique: float | None
    """Share of lists that hold no item twice. Must be 1."""
    filled: float | None
    """Share of the k places of a list that hold an item."""


class SplitMetrics(Struct, frozen=True, kw_only=True):
    systems: dict[str, Figures]
    comparisons: dict[str, Differences]
    """System -> metric -> CoNRec minus that system."""
    stages: dict[str, StageFigures]
    instances: dict[str, int] = {}
    """Metric -> how many instances count."""
    validity: Validity | None = None


def ahead(comparisons: dict[str, Differences]) -> list[tuple[str, str]]:
    """System and metric (or budget) wherever one is significantly ahead of CoNRec; the oracle, which knows the truth,
    aside. No simple system and no part of CoNRec should be among them.

    comparisons: CoNRec minus each system, as in `SplitMetrics` and `FilterComparison`.
    """
    return [
        (system, metric)
        for system, differences in comparisons.items()
        for metric, one in differences.items()
        if one.verdict == "worse" and system != "oracle"
    ]


class Protocol(Struct, frozen=True):
    horizon_days: int
    k: int
    seeds: list[int]
    bootstrap: int


class PriorWeight(Struct, frozen=True):
    """Weights of the prior that were chosen on validation for one baseline with a prior."""

    weight: float
    validation_FHR: dict[str, float]
    candidate_weight: float | None
    validation_CandAcc: dict[str, float]


class Curve(Struct, frozen=True):
    """Trade-off of a filter, threshold by threshold, ascending; lists of one length."""

    threshold: list[float]
    dislikes_avoided: list[float]
    likes_lost: list[float]
    dropped: list[float]
    """Share of all exposures that are dropped."""
    rate_after: list[float | None]
    """Share of dislikes among the exposures that stay."""


class AtThreshold(Struct, frozen=True):
    """A filter at one threshold that was chosen beforehand."""

    rate_before: float
    threshold: float
    dislikes_avoided: float
    likes_lost: float
    dropped: float
    rate_after: float | None


class FilterFigures(Struct, frozen=True):
    exposures: int
    dislikes: int
    likes: int
    rate_before: float | None
    auc: float | None = None
    """Area under the ROC curve of dislikes against likes."""
    avoided_at: dict[str, float] = {}
    """Budget -> share of dislikes avoided, with the threshold set on these very exposures."""
    curve: Curve | None = None
    chosen: AtThreshold | None = None
    """At the threshold that validation chose."""


class HardestHit(Struct, frozen=True):
    user: str
    share: float
    """Share of the user's exposures that are dropped."""
    shown: int
    dropped: int
    likes: int
    likes_lost: int


class Suppression(Struct, frozen=True):
    """Over-suppression at the threshold in use. A list: what one user was shown after one cutoff."""

    lists: int
    lists_touched: int
    lists_halved: int
    lists_emptied: int
    hard_hit: float
    """Share of lists that counts as hardest hit."""
    hard_hit_lose: float
    """Smallest share of its items that such a list loses."""
    users: list[HardestHit]


class Band(Struct, frozen=True):
    """95 % interval of CoNRec's trade-off curve; lists of one length."""

    likes_lost: list[float]
    dislikes_avoided: list[float]
    low: list[float]
    high: list[float]


class FilterComparison(Struct, frozen=True):
    """Dislikes avoided by every filter at a few budgets, with intervals over users."""

    avoided: dict[str, dict[str, Estimate]]
    """System -> budget -> share of dislikes avoided."""
    differences: dict[str, Differences]
    """System -> budget -> CoNRec minus that system."""
    band: Band | None


class Reliability(Struct, frozen=True):
    """Calibrated probabilities of a dislike against what happened, in bins of one size; lists of one length."""

    ece: float
    """Expected calibration error: the mean of |predicted - observed|."""
    predicted: list[float]
    observed: list[float]
    low: list[float]
    """Ends of the 95 % interval of `observed`."""
    high: list[float]


class SplitReplay(Struct, frozen=True, kw_only=True):
    instances: int
    coverage: float | None
    """Share of exposures whose user had a predicted list."""
    systems: dict[str, FilterFigures]
    suppression: Suppression | None
    comparison: FilterComparison | None = None
    reliability: Reliability | None = None
    """Of the probabilities of the score, as calibrated on validation; on test."""


class FilterReplay(Struct, frozen=True, kw_only=True):
    """`replay.json`: the filter replay of one seed."""

    seed: int
    likes_lost_budget: float
    threshold: float | None
    """Chosen on validation within the budget, or set by the recipe."""
    validation: SplitReplay
    test: SplitReplay


class SeedReplay(Struct, frozen=True):
    seed: int
    threshold: float | None
    auc: float | None
    avoided_at: dict[str, float]


class FilterMetrics(SplitReplay, frozen=True, kw_only=True):
    """The filter replay on test of all seeds.

    CoNRec's numbers are means over seeds, and `comparison` is of all seeds together. Curves, `suppression`, and
    `coverage` are the first seed's.
    """

    likes_lost_budget: float
    seeds: list[SeedReplay]


class Metrics(SplitMetrics, frozen=True, kw_only=True):
    """`metrics.json`: every system of a run, on test (at the top) and on validation."""

    dataset: str
    split_mode: str
    fold: int | None
    protocol: Protocol
    validation: SplitMetrics
    prior_weights: dict[str, PriorWeight]
    filter: FilterMetrics | None


class StageManifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`manifest.json`: what a stage's folder was made from, and what it took."""

    stage: str
    seed: int | None
    key: str
    """SHA-256 of `inputs`: the folder is up to date as long as it stays the same."""
    outputs: str
    """SHA-256 of the files in the folder."""
    contents: str | None = None
    """The same since a user was forgotten (`conrec forget`); null: none was."""
    versions: dict[str, str]
    seconds: float
    peak_memory_mb: float
    inputs: dict[str, Any] = {}
    """Settings that the stage depends on, and `outputs` of the stages before it."""


class Outcome(Struct, frozen=True):
    """What a filter with one threshold, or one a segment, does to the exposures of a split."""

    users: int
    likes: int
    dislikes: int
    likes_lost_by_users: Estimate | None
    likes_lost_by_likes: Estimate | None
    dislikes_avoided: Estimate | None
    dropped: float | None
    unwanted: Estimate | None = None
    """Share of what is left to a user that is disliked, averaged over users."""


class BudgetOutcome(Struct, frozen=True):
    """What a budget of lost likes would bring, promised alone."""

    likes_lost: float
    threshold: float | None
    units_needed: int
    on_validation: float | None
    on_test: Estimate | None
    dislikes_avoided_on_test: Estimate | None


class SegmentOutcome(Struct, frozen=True):
    """What the promise for one segment rests on, and what became of it on test."""

    units: int
    units_needed: int
    on_validation: float | None
    on_test: Estimate | None
    verdict: str | None


class SegmentEvidence(Struct, frozen=True):
    """What the segments' thresholds do together and each."""

    validation: Outcome
    test: Outcome
    each: dict[str, SegmentOutcome]


class SegmentThresholds(Struct, frozen=True):
    """One threshold for each category of items or level of users' activity."""

    by: str
    edges: list[float] | None
    thresholds: dict[str, float | None]


class CalibrationEvidence(Struct, frozen=True, omit_defaults=True):
    """What a calibration rests on, what happened on test, and a verdict."""

    seed: int
    scores: str
    units_needed: int
    validation: Outcome
    test: Outcome
    verdict: str | None
    budgets: list[BudgetOutcome]
    segments: SegmentEvidence | None = None
    unwanted_verdict: str | None = None


class Calibration(Struct, frozen=True):
    """`calibration.json`: the threshold that a budget of lost likes allows."""

    likes_lost: float
    confidence: float | None
    threshold: float | None
    segments: SegmentThresholds | None
    refused: str | None
    evidence: CalibrationEvidence
    send: float = 1.0
    """How many times as many candidates as are shown fill 95 % of the lists after the filter."""
    unwanted: float | None = None
    """At most this share of what is left to a user is disliked, promised together with `likes_lost`."""
