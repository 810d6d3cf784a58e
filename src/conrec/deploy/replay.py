"""The filter replay of a run for people and for programs, and its meaning in an operator's own numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.evaluate.compare import pooled
from conrec.evaluate.protocol import OURS, is_ours
from conrec.evaluate.results import (
    AtThreshold,
    Curve,
    Differences,
    Estimate,
    FilterComparison,
    FilterReplay,
    Suppression,
    Verdict,
    read,
)

SHOWN_AT = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Likes lost of the thresholds in the table."""


class SystemSummary(Struct, frozen=True):
    """One filter, means over seeds where it is CoNRec or a part of it."""

    auc: float | None
    avoided: dict[str, Estimate]
    """Likes lost ("0.01") -> share of the dislikes avoided."""


class ReplaySummary(Struct, frozen=True):
    """The filter replay on test of all seeds."""

    dataset: str
    score: str
    seeds: list[int]
    exposures: int
    dislikes: int
    likes: int
    rate_before: float | None
    systems: dict[str, SystemSummary]
    differences: dict[str, Differences]
    """Other filter -> likes lost -> CoNRec's lead, paired over users."""
    threshold: float | None
    """The first seed's, which is what is served; so are `chosen`, `suppression`, and `curve`."""
    chosen: AtThreshold | None
    suppression: Suppression | None
    curve: Curve | None


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
        raise ConrecError(f"{run / 'filter'}: no replay there; bring the run as far as filter first")
    replays = [read(folder / "replay.json", FilterReplay) for folder in folders]
    tests = [replay.test for replay in replays]
    first, ours = tests[0], tests[0].systems[OURS]
    compared = (pooled(folders, "test") if len(folders) > 1 else first.comparison) or FilterComparison({}, {}, None)
    systems = {}
    for name in first.systems:
        aucs = [test.systems[name].auc for test in tests if name in test.systems]
        known = [auc for auc in aucs if auc is not None]
        systems[name] = SystemSummary(
            auc=float(np.mean(known if is_ours(name) else known[:1])) if known else None,
            avoided={_key(budget): one for budget, one in compared.avoided.get(name, {}).items()},
        )
    return ReplaySummary(
        dataset=recipe.name,
        score=replays[0].score,
        seeds=[replay.seed for replay in replays],
        exposures=ours.exposures,
        dislikes=ours.dislikes,
        likes=ours.likes,
        rate_before=ours.rate_before,
        systems=systems,
        differences={
            other: {_key(budget): one for budget, one in table.items()} for other, table in compared.differences.items()
        },
        threshold=replays[0].threshold,
        chosen=ours.chosen,
        suppression=first.suppression,
        curve=ours.curve,
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
        return Day(
            threshold=curve.threshold[n],
            likes_lost_share=curve.likes_lost[n],
            dropped_share=curve.dropped[n],
            dislikes_avoided=avoided,
            likes_lost=lost,
            net_value=avoided * operator.cost_of_dislike - lost * operator.value_of_click,
        )

    days = [day(n) for n in range(len(curve.threshold))]
    best = max(days, key=lambda one: (one.net_value, -one.dropped_share))
    return DailyEstimate(dislikes, likes, {_key(budget): days[_point(curve, budget)] for budget in SHOWN_AT}, best)


def describe(found: ReplaySummary, guess: DailyEstimate | None = None) -> str:
    """The replay as text: what is gained, what it costs and whom, and a day of the operator's."""
    seeds = ", ".join(map(str, found.seeds))
    lines = [
        f"filter replay of {found.dataset}: {found.exposures:,} exposures, {found.dislikes:,} disliked and "
        f"{found.likes:,} liked ({found.rate_before or 0:.1%} negative); score: {found.score}; seed {seeds}",
        "",
        "dislikes avoided where 1, 2 and 5 % of the likes may be lost, with 95 % intervals over users:",
        f"{'':26} {'AUC':>5}" + "".join(f"  {budget:>16}" for budget in ("1 %", "2 %", "5 %")),
    ]
    for name, system in sorted(found.systems.items(), key=lambda one: -(one[1].auc or 0)):
        if system.auc is None:
            continue
        cells = [f"{_share(one.mean)} ({_share(one.ci95[0])}-{_share(one.ci95[1])})" for one in system.avoided.values()]
        verdicts = [one.verdict for one in found.differences.get(name, {}).values()]
        note = "" if is_ours(name) else "  " + _verdict(verdicts)
        lines.append(f"{name:26} {_share(system.auc)}" + "".join(f"  {cell:>16}" for cell in cells) + note)
    lines += ["", *_cost(found)]
    if (curve := found.curve) is not None:
        lines += ["", "threshold   avoided     lost  dropped  negative after"]
        for budget in SHOWN_AT:
            n = _point(curve, budget)
            after = curve.rate_after[n]
            lines.append(
                f"{curve.threshold[n]:9.4g} {curve.dislikes_avoided[n]:9.2%} {curve.likes_lost[n]:8.2%} "
                f"{curve.dropped[n]:8.2%}  {'' if after is None else format(after, '14.2%')}"
            )
    if guess is not None:
        lines += ["", *_day(guess)]
    return "\n".join(lines)


def _cost(found: ReplaySummary) -> list[str]:
    """Over-suppression at the threshold in use, as lines."""
    chosen, hit = found.chosen, found.suppression
    if chosen is None or hit is None:
        return ["over-suppression: no threshold could be chosen on validation, so nothing is dropped"]
    lines = [
        f"over-suppression at the threshold in use ({chosen.threshold:.4g}): {chosen.likes_lost:.2%} of the "
        f"likes lost, {chosen.dropped:.2%} of everything dropped, {chosen.dislikes_avoided:.2%} of the dislikes "
        f"avoided; negative feedback {chosen.rate_before:.2%} before, {chosen.rate_after or 0:.2%} after",
        f"of {hit.lists:,} lists {hit.lists_touched:,} lose something, {hit.lists_halved:,} more than half, "
        f"{hit.lists_emptied:,} everything; the hardest hit {hit.hard_hit:.0%} lose {hit.hard_hit_lose:.0%} "
        "or more",
    ]
    for user in hit.users:
        lines.append(
            f"  user {user.user}: {user.dropped} of {user.shown} dropped, {user.likes_lost} of {user.likes} likes "
            "among them"
        )
    return lines


def _day(guess: DailyEstimate) -> list[str]:
    lines = [
        f"a day of yours without a filter: {guess.dislikes_a_day:,.0f} dislikes, {guess.likes_a_day:,.0f} likes",
        "likes lost   dislikes avoided   likes lost a day   net value",
    ]
    for budget, one in guess.at.items():
        figures = f"{one.dislikes_avoided:18,.0f} {one.likes_lost:18,.0f} {one.net_value:11,.0f}"
        lines.append(f"{float(budget):10.1%} {figures}")
    best = guess.best
    if best.net_value <= 0:
        return [*lines, "nothing pays: at these values of a dislike and a click, drop nothing"]
    return [
        *lines,
        f"best: lose {best.likes_lost_share:.2%} of the likes (threshold {best.threshold:.4g}, drops "
        f"{best.dropped_share:.2%} of everything), net value {best.net_value:,.0f} a day",
    ]


def _point(curve: Curve, budget: float) -> int:
    """The point of the curve that avoids most within the budget."""
    within = [n for n, lost in enumerate(curve.likes_lost) if lost <= budget + 1e-9]
    return max(within, key=lambda n: (curve.dislikes_avoided[n], -curve.dropped[n]))


def _verdict(verdicts: list[Verdict]) -> str:
    """One system against CoNRec at the three budgets, in words."""
    if len(set(verdicts)) == 1:
        return {"better": "below conrec", "worse": "ABOVE conrec"}.get(verdicts[0], "not told apart from conrec")
    short = {"better": "below", "worse": "ABOVE", "not significant": "n.s."}
    return ", ".join(short[verdict] for verdict in verdicts)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")


def _key(budget: float | str) -> str:
    """A budget as the key that programs look for: 0.01 -> "0.01", 0.1 -> "0.10"."""
    return f"{float(budget):.3f}" if round(float(budget) * 1000) % 10 else f"{float(budget):.2f}"
