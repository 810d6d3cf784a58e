"""What the replay found, for people and for programs, and what it means in an operator's own numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.evaluate.compare import pooled
from conrec.evaluate.protocol import OURS, is_ours

SHOWN_AT = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Likes lost of the thresholds in the table."""


@dataclass(frozen=True)
class Operator:
    """One platform's numbers."""

    daily_exposures: float
    cost_of_dislike: float
    value_of_click: float

    def __post_init__(self) -> None:
        for flag, value in (
            ("--daily-exposures", self.daily_exposures),
            ("--cost-of-dislike", self.cost_of_dislike),
            ("--value-of-click", self.value_of_click),
        ):
            if not (np.isfinite(value) and value >= 0):
                raise ConrecError(f"{flag} {value}: give a number, 0 or more")


def read_replays(run: Path, recipe: Recipe) -> dict[str, Any]:
    """The replay on test of all seeds that are there; ConrecError where there is none.

    `systems`: name -> `auc`, `avoided_at` (likes lost -> share of the dislikes) and `ci95` of each; CoNRec and its
    parts are means over seeds. `differences`: other -> likes lost -> CoNRec's lead, paired over users. `chosen`,
    `suppression` and `curve` are those of the first seed's threshold, which is what is served.
    """
    folders = [run / "filter" / f"seed{seed}" for seed in recipe.seeds]
    folders = [folder for folder in folders if (folder / "replay.json").is_file()]
    if not folders:
        raise ConrecError(f"{run / 'filter'}: no replay there; bring the run as far as filter first")
    try:
        reports = [json.loads((folder / "replay.json").read_text(encoding="utf-8")) for folder in folders]
        tests = [report["test"] for report in reports]
        first = tests[0]
        compared = pooled(folders, "test") if len(folders) > 1 else first
        systems = {}
        for name in first["systems"]:
            same = [test["systems"][name] for test in tests if name in test["systems"]]
            aucs = [one["auc"] for one in same if one["auc"] is not None]
            at = compared["avoided_at"].get(name, {})
            systems[name] = {
                "auc": float(np.mean(aucs if is_ours(name) else aucs[:1])) if aucs else None,
                "avoided_at": {_key(budget): one["mean"] for budget, one in at.items()},
                "ci95": {_key(budget): one["ci95"] for budget, one in at.items()},
            }
        ours = first["systems"][OURS]
        return {
            "dataset": recipe.name,
            "score": reports[0]["score"],
            "seeds": [report["seed"] for report in reports],
            "events": ours["events"],
            "dislikes": ours["dislikes"],
            "likes": ours["likes"],
            "rate_before": ours["rate_before"],
            "systems": systems,
            "differences": {
                other: {_key(budget): one for budget, one in table.items()}
                for other, table in compared["comparisons"].items()
            },
            "threshold": reports[0]["threshold"],
            "chosen": ours["chosen"],
            "suppression": first["suppression"],
            "curve": ours["curve"],
        }
    except (OSError, ValueError, KeyError) as error:
        raise ConrecError(
            f"{run / 'filter'}: not readable ({error}); make the stage filter anew with --force"
        ) from None


def estimate(found: dict[str, Any], operator: Operator) -> dict[str, Any] | None:
    """A day of the operator's, threshold by threshold along CoNRec's curve; None where there was nothing to trade.

    Exposures, dislikes and likes come as they do in the replay. What is dropped is taken as replaced by something
    that is neither disliked nor liked: a dislike avoided is worth its cost, a like lost costs its value. `best` is
    the threshold of the highest net value; it drops nothing where nothing pays.
    """
    curve = found["curve"]
    if curve is None:
        return None
    dislikes = operator.daily_exposures * found["dislikes"] / found["events"]
    likes = operator.daily_exposures * found["likes"] / found["events"]

    def day(n: int) -> dict[str, float]:
        avoided, lost = dislikes * curve["dislikes_avoided"][n], likes * curve["likes_lost"][n]
        return {
            "threshold": curve["threshold"][n],
            "likes_lost_share": curve["likes_lost"][n],
            "dropped_share": curve["dropped"][n],
            "dislikes_avoided": avoided,
            "likes_lost": lost,
            "net_value": avoided * operator.cost_of_dislike - lost * operator.value_of_click,
        }

    days = [day(n) for n in range(len(curve["threshold"]))]
    best = max(days, key=lambda one: (one["net_value"], -one["dropped_share"]))
    at = {_key(budget): days[_point(curve, budget)] for budget in SHOWN_AT}
    return {"dislikes_a_day": dislikes, "likes_a_day": likes, "at": at, "best": best}


def describe(found: dict[str, Any], guess: dict[str, Any] | None = None) -> str:
    """The replay in plain lines: what is gained, what it costs and whom, and a day of the operator's."""
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"filter replay of {found['dataset']}: {found['events']:,} exposures, {found['dislikes']:,} disliked and "
        f"{found['likes']:,} liked ({found['rate_before'] or 0:.1%} negative); score: {found['score']}; seed {seeds}",
        "",
        "dislikes avoided where 1, 2 and 5 % of the likes may be lost, with 95 % intervals over users:",
        f"{'':26} {'AUC':>5}" + "".join(f"  {budget:>16}" for budget in ("1 %", "2 %", "5 %")),
    ]
    for name, system in sorted(found["systems"].items(), key=lambda one: -(one[1]["auc"] or 0)):
        if system["auc"] is None:
            continue
        cells = [f"{_share(v)} ({_share(lo)}-{_share(hi)})" for v, (lo, hi) in _cells(system)]
        verdicts = [one["verdict"] for one in found["differences"].get(name, {}).values()]
        note = "" if is_ours(name) else "  " + _verdict(verdicts)
        lines.append(f"{name:26} {_share(system['auc'])}" + "".join(f"  {cell:>16}" for cell in cells) + note)
    lines += ["", *_cost(found)]
    if found["curve"] is not None:
        lines += ["", "threshold   avoided     lost  dropped  negative after"]
        for budget in SHOWN_AT:
            n, curve = _point(found["curve"], budget), found["curve"]
            after = curve["rate_after"][n]
            lines.append(
                f"{curve['threshold'][n]:9.4g} {curve['dislikes_avoided'][n]:9.2%} {curve['likes_lost'][n]:8.2%} "
                f"{curve['dropped'][n]:8.2%}  {'' if after is None else format(after, '14.2%')}"
            )
    if guess is not None:
        lines += ["", *_day(guess)]
    return "\n".join(lines)


def _cost(found: dict[str, Any]) -> list[str]:
    """Over-suppression, at the threshold in use."""
    chosen, hit = found["chosen"], found["suppression"]
    if chosen is None or hit is None:
        return ["over-suppression: no threshold could be chosen on validation, so nothing is dropped"]
    lines = [
        f"over-suppression at the threshold in use ({chosen['threshold']:.4g}): {chosen['likes_lost']:.2%} of the "
        f"likes lost, {chosen['dropped']:.2%} of everything dropped, {chosen['dislikes_avoided']:.2%} of the dislikes "
        f"avoided; negative feedback {chosen['rate_before']:.2%} before, {chosen['rate_after'] or 0:.2%} after",
        f"of {hit['lists']:,} lists {hit['lists_touched']:,} lose something, {hit['lists_halved']:,} more than half, "
        f"{hit['lists_emptied']:,} everything; the hardest hit {hit['hard_hit']:.0%} lose {hit['hard_hit_lose']:.0%} "
        "or more",
    ]
    for user in hit["users"]:
        lines.append(
            f"  user {user['user']}: {user['dropped']} of {user['shown']} dropped, {user['likes_lost']} of "
            f"{user['likes']} likes among them"
        )
    return lines


def _day(guess: dict[str, Any]) -> list[str]:
    lines = [
        f"a day of yours without a filter: {guess['dislikes_a_day']:,.0f} dislikes, {guess['likes_a_day']:,.0f} likes",
        "likes lost   dislikes avoided   likes lost a day   net value",
    ]
    for budget, one in guess["at"].items():
        figures = f"{one['dislikes_avoided']:18,.0f} {one['likes_lost']:18,.0f} {one['net_value']:11,.0f}"
        lines.append(f"{float(budget):10.1%} {figures}")
    best = guess["best"]
    if best["net_value"] <= 0:
        return [*lines, "nothing pays: at these values of a dislike and a click, drop nothing"]
    return [
        *lines,
        f"best: lose {best['likes_lost_share']:.2%} of the likes (threshold {best['threshold']:.4g}, drops "
        f"{best['dropped_share']:.2%} of everything), net value {best['net_value']:,.0f} a day",
    ]


def _point(curve: dict[str, Any], budget: float) -> int:
    """Of the curve's points within the budget the one that avoids most."""
    within = [n for n, lost in enumerate(curve["likes_lost"]) if lost <= budget + 1e-9]
    return max(within, key=lambda n: (curve["dislikes_avoided"][n], -curve["dropped"][n]))


def _cells(system: dict[str, Any]) -> list[tuple[float, list[float]]]:
    return [(value, system["ci95"][budget]) for budget, value in system["avoided_at"].items()]


def _verdict(verdicts: list[str]) -> str:
    """Of CoNRec at the three budgets against this system."""
    if len(set(verdicts)) == 1:
        return {"better": "below conrec", "worse": "ABOVE conrec"}.get(verdicts[0], "not told apart from conrec")
    short = {"better": "below", "worse": "ABOVE", "not significant": "n.s."}
    return ", ".join(short[verdict] for verdict in verdicts)


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _key(budget: float | str) -> str:
    """0.01 -> "0.01", 0.1 -> "0.10": the keys that programs look for."""
    return f"{float(budget):.3f}" if round(float(budget) * 1000) % 10 else f"{float(budget):.2f}"
