"""The filter replay of a run for people and for programs, and its meaning in an operator's own numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.evaluate import results
from conrec.evaluate.compare import pooled
from conrec.evaluate.protocol import OURS, is_ours
from conrec.report.texts import sentences

SHOWN_AT = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Likes lost of the thresholds in the table."""


class SystemSummary(Struct, frozen=True):
    """One filter, means over seeds where it is CoNRec or a part of it."""

    auc: float | None
    avoided: dict[str, results.Estimate]
    """Likes lost ("0.01") -> share of the dislikes avoided."""


class ReplaySummary(Struct, frozen=True):
    """The filter replay on test of all seeds."""

    dataset: str
    seeds: list[int]
    exposures: int
    dislikes: int
    likes: int
    rate_before: float | None
    systems: dict[str, SystemSummary]
    differences: dict[str, results.Differences]
    """Other filter -> likes lost -> CoNRec's lead, paired over users."""
    threshold: float | None
    """The first seed's, which is what is served; so is all below."""
    chosen: results.AtThreshold | None
    suppression: results.Suppression | None
    curve: results.Curve | None
    reliability: results.Reliability | None


class Day(Struct, frozen=True):
    """One day of an operator's at one threshold."""

    threshold: float
    likes_lost_share: float
    dropped_share: float
    dislikes_avoided: float
    """A count, as is `likes_lost`."""
    likes_lost: float
    net_value: float


class DailyEstimate(Struct, frozen=True):
    """One day of an operator's, without a filter and along CoNRec's curve."""

    dislikes_a_day: float
    likes_a_day: float
    at: dict[str, Day]
    """Likes lost -> the day."""
    best: Day
    """The day of the highest net value; it drops nothing where nothing pays."""


@dataclass(frozen=True)
class Operator:
    """Traffic and values of one platform."""

    daily_exposures: float
    cost_of_dislike: float
    value_of_click: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise ConrecError(f"--{name.replace('_', '-')} {value}: give a number, 0 or more")


def read_replays(run: Path, recipe: Recipe) -> ReplaySummary:
    """The filter replays of all seeds of a run that are there; ConrecError where there is none."""
    folders = [run / "filter" / f"seed{seed}" for seed in recipe.seeds]
    folders = [folder for folder in folders if (folder / "replay.json").is_file()]
    if not folders:
        raise ConrecError(
            f"{run / 'filter'}: no replay there; bring the run as far as filter first, or take a longer log"
        )
    replays = [results.read(folder / "replay.json", results.FilterReplay) for folder in folders]
    tests = [replay.test for replay in replays]
    first, ours = tests[0], tests[0].systems[OURS]
    comparison = pooled(folders, "test") if len(folders) > 1 else first.comparison
    compared = comparison or results.FilterComparison({}, {}, None)
    systems = {}
    for name in first.systems:
        aucs = [test.systems[name].auc for test in tests if name in test.systems]
        known = [auc for auc in aucs if auc is not None]
        systems[name] = SystemSummary(
            auc=float(np.mean(known if is_ours(name) else known[:1])) if known else None,
            avoided={_key(budget): one for budget, one in compared.avoided.get(name, {}).items()},
        )
    leads = compared.differences.items()
    return ReplaySummary(
        dataset=recipe.name,
        seeds=[replay.seed for replay in replays],
        exposures=ours.exposures,
        dislikes=ours.dislikes,
        likes=ours.likes,
        rate_before=ours.rate_before,
        systems=systems,
        differences={other: {_key(budget): one for budget, one in lead.items()} for other, lead in leads},
        threshold=replays[0].threshold,
        chosen=ours.chosen,
        suppression=first.suppression,
        curve=ours.curve,
        reliability=first.reliability,
    )


def estimate(found: ReplaySummary, operator: Operator) -> DailyEstimate | None:
    """One day of the operator's, threshold by threshold; None where there was nothing to trade.

    Exposures, dislikes and likes come as they do in the replay. What is dropped is taken as replaced by something
    that is neither disliked nor liked: a dislike avoided is worth its cost, a like lost costs its value.
    """
    curve = found.curve
    if curve is None:
        return None
    dislikes = operator.daily_exposures * found.dislikes / found.exposures
    likes = operator.daily_exposures * found.likes / found.exposures

    def day(n: int) -> Day:
        avoided, lost = dislikes * curve.dislikes_avoided[n], likes * curve.likes_lost[n]
        net = avoided * operator.cost_of_dislike - lost * operator.value_of_click
        return Day(curve.threshold[n], curve.likes_lost[n], curve.dropped[n], avoided, lost, net)

    days = [day(n) for n in range(len(curve.threshold))]
    best = max(days, key=lambda one: (one.net_value, -one.dropped_share))
    return DailyEstimate(dislikes, likes, {_key(budget): days[_point(curve, budget)] for budget in SHOWN_AT}, best)


def describe(found: ReplaySummary, guess: DailyEstimate | None = None) -> str:
    """The replay as text: what is gained, what it costs and whom, and a day of the operator's."""
    ranked = [(name, one, is_ours(name)) for name, one in found.systems.items() if one.auc is not None]
    ranked.sort(key=lambda each: -(each[1].auc or 0))
    points = [] if found.curve is None else [_point(found.curve, budget) for budget in SHOWN_AT]
    return str(sentences("deploy/replay.txt").describe(found, ranked, points, guess)).rstrip("\n")


def _point(curve: results.Curve, budget: float) -> int:
    within = [n for n, lost in enumerate(curve.likes_lost) if lost <= budget + 1e-9]
    return max(within, key=lambda n: (curve.dislikes_avoided[n], -curve.dropped[n]))


def _key(budget: float | str) -> str:
    """A budget as the key that programs look for: 0.01 -> "0.01", 0.1 -> "0.10"."""
    return f"{float(budget):.3f}" if round(float(budget) * 1000) % 10 else f"{float(budget):.2f}"
