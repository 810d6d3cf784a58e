"""The sentences in which a calibration (`deploy.calibrate`) is told to people."""

from collections.abc import Callable

from conrec.evaluate.results import Calibration, Estimate, Outcome
from conrec.evaluate.risk_control import divided


def describe(result: Calibration) -> str:
    """What was promised and what happened, in plain lines for people."""
    budget, confidence, evidence = result.likes_lost, result.confidence, result.evidence
    what = "a user's likes lost, averaged over users" if result.units == "users" else "all likes lost"
    lines = [f"promised: at most {budget:.2%} of {what}, {_how(confidence)}"]
    if result.units == "likes":
        lines.append("(as if the likes of one user had nothing to do with each other; the promise over users does not)")
    lines.append(f"calibrated on {evidence.validation.users:,} users of validation with a like")
    if (decodings := evidence.decodings) > 1:
        how = f"the promise is made for all of them at once, so for this one {_how(confidence, decodings)}"
        if confidence is None:
            how = "a promise on average does not allow for that"
        lines.append(f"the predicted set is one of {decodings}, chosen on validation; {how}")
    if result.refused:
        lines.append(result.refused)
    else:
        lines.append(f"threshold: drop what scores above {result.threshold:.4g} (score: {result.score})")
        lines += _table(evidence.validation, evidence.test)
        lines.append(evidence.verdict or "")
        lines.append(f"send {result.send:.2g} times as many candidates as you show, and 95 % of the lists stay full")
        if not evidence.validation.dropped:
            lines.append(
                "it drops nothing: so many likes share the highest score that the next lower one costs too much"
            )
    lines.append("other budgets, each promised alone:")
    for one in evidence.budgets:
        if one.threshold is None:
            lines.append(f"  {one.likes_lost:6.2%}: refused, needs {one.units_needed:,} {result.units}")
        else:
            avoided = _shown(one.dislikes_avoided_on_test)
            lines.append(
                f"  {one.likes_lost:6.2%}: threshold {one.threshold:.4g}, on test {_shown(one.on_test)} lost,"
                f" {avoided} of the dislikes avoided"
            )
    if result.segments is not None:
        lines += _segment_lines(result)
    return "\n".join(lines)


def verdict(lost: Estimate | None, budget: float) -> str:
    """Kept on test or not. The promise is about users like those of validation; later ones may be others.

    lost: share of the likes lost on test, `mean` and `ci95`; None where nobody liked anything.
    """
    if lost is None or lost.mean is None or lost.ci95[0] is None:
        return "nothing to judge by: nobody liked anything in the test windows"
    if lost.mean <= budget:
        return "kept on test"
    if lost.ci95[0] <= budget:
        return "above the budget on test, within what chance allows (the interval holds the budget)"
    return (
        "NOT KEPT on test: significantly more was lost than promised, so users after validation are not like those in "
        "it; calibrate on newer data, and with a smaller budget while the log drifts"
    )


def refusal(needed: int, users: int, likes: int, units: str, budget: float, confidence: float | None) -> str:
    """Why there is no threshold, and how much data there would have to be.

    needed: units that a promise takes at least; users, likes: what validation holds.
    """
    need = f"{needed:,} likes"
    if units == "users":
        need = f"{needed:,} users with a like" + (f" (some {needed * likes // users:,} likes)" if users else "")
    return (
        f"refused: too little data to promise that at most {budget:.2%} of the likes are lost {_how(confidence)}: even "
        f"if none were lost it takes {need}, and the validation windows hold {users:,} users with {likes:,} likes"
        f"; take a longer log or a larger budget"
    )


def _how(confidence: float | None, parts: int = 1) -> str:
    return "on average" if confidence is None else f"with a confidence of {divided(confidence, parts):.4g}"


def _table(validation: Outcome, test: Outcome) -> list[str]:
    rows: list[tuple[str, Callable[[Outcome], str]]] = [
        ("users with a like", lambda x: f"{x.users:,}"),
        ("likes lost, averaged over users", lambda x: _shown(x.likes_lost_by_users)),
        ("likes lost, of all", lambda x: _shown(x.likes_lost_by_likes)),
        ("dislikes avoided", lambda x: _shown(x.dislikes_avoided)),
        ("of everything dropped", lambda x: "-" if x.dropped is None else f"{x.dropped:.2%}"),
    ]
    head = f"{'':32} {'validation':26} test"
    return [head, *(f"{name:32} {text(validation):26} {text(test)}" for name, text in rows)]


def _shown(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.mean:.2%} ({one.ci95[0]:.2%} to {one.ci95[1]:.2%})"


def _segment_lines(result: Calibration) -> list[str]:
    segments, evidence, units = result.segments, result.evidence.segments, result.units
    assert segments is not None
    assert evidence is not None
    together = "each on average" if result.confidence is None else "all together with the confidence above"
    lines = [f"by {segments.by}, {together}:"]
    refused = []
    for name, threshold in segments.thresholds.items():
        label = name or "(no category)"
        if threshold is None:
            refused.append(f"{label} ({evidence.each[name].units if name in evidence.each else 0})")
        else:
            one = evidence.each[name]
            lines.append(f"  {label}: threshold {threshold:.4g}, on test {_shown(one.on_test)} lost, {one.verdict}")
    if refused:
        need = max((one.units_needed for one in evidence.each.values()), default=0)
        lines.append(f"  nothing dropped for want of data (it takes {need:,} {units}): {', '.join(refused)}")
    after = evidence.test
    lines.append(
        f"  the segments' thresholds on all of test: {_shown(after.likes_lost(units))} lost, "
        f"{_shown(after.dislikes_avoided)} of the dislikes avoided"
    )
    return lines
