"""The filter's trade-off in the report: dislikes avoided against likes lost, for every filter."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conrec.evaluate.protocol import OURS, is_ours
from conrec.evaluate.results import AtThreshold, Band, Curve, Differences, FilterFigures, FilterMetrics, Reliability
from conrec.report.charts import Series, lines
from conrec.report.formats import label
from conrec.report.systems import ORACLE

BUDGETS = ("0.01", "0.02", "0.05")
CURVES_SHOWN = 7


def filtering(replay: FilterMetrics) -> dict[str, Any] | None:
    """The filter replay as tables and charts; None where no filter was measured.

    `rival`: CoNRec beside the best other filter at one budget. `unbeaten`: other filters, with the budgets at which
    CoNRec's lead is `undecided` or it avoids fewer (`worse`). `systems`: all filters, the highest AUC first.
    """
    systems = replay.systems
    if not systems:
        return None
    order = sorted(systems, key=lambda name: -(systems[name].auc or 0))
    others = [name for name in order if not is_ours(name)]
    curves = {name: curve for name in [OURS, *others] if (curve := systems[name].curve)}
    shown = dict(list(curves.items())[:CURVES_SHOWN])
    ours, comparison = systems[OURS], replay.comparison
    band = comparison.band if comparison else None
    return {
        "ours": ours,
        "rival": _rival(systems),
        "unbeaten": _unbeaten(comparison.differences) if comparison else None,
        "systems": [(label(name), systems[name]) for name in order],
        "budgets": BUDGETS,
        "legend": [(label(name), number) for number, name in enumerate(shown)],
        "svgs": [_chart(shown, ours.chosen, limit, band) for limit in (1.0, 0.1)] if shown else [],
        "reliability": replay.reliability and _diagram(replay.reliability),
    }


def _rival(systems: Mapping[str, FilterFigures]) -> dict[str, Any] | None:
    """The best other filter at one budget: whether CoNRec's is worth deploying at all."""
    budget = "0.02"
    at = {name: one.avoided_at[budget] for name, one in systems.items() if budget in one.avoided_at}
    # `conrec_paper` is made of our own lists.
    others = [name for name in at if name != ORACLE and not is_ours(name)]
    if OURS not in at or not others:
        return None
    best = max(others, key=at.__getitem__)
    return {"budget": float(budget), "name": label(best), "other": at[best], "ours": at[OURS]}


def _unbeaten(comparisons: Mapping[str, Differences]) -> list[dict[str, Any]] | None:
    """Filters that CoNRec does not beat significantly, with the budgets; None where none was compared."""
    if not comparisons:
        return None
    found = []
    for name, table in comparisons.items():
        undecided = [float(budget) for budget, one in table.items() if one.verdict == "not significant"]
        worse = [float(budget) for budget, one in table.items() if one.verdict == "worse"]
        if worse or (undecided and not is_ours(name)):  # a part of ours must not be ahead either
            found.append({"name": label(name), "undecided": undecided, "worse": worse})
    return found


def _chart(curves: Mapping[str, Curve], chosen: AtThreshold | None, up_to: float, band: Band | None) -> str:
    """Dislikes avoided against likes lost, as far as `up_to` of the likes; a dot on the threshold in use.

    band: CoNRec's 95 % interval over users where it is known (the first tenth of the likes).
    """
    series = []
    for name, curve in curves.items():
        points = sorted((x, y) for x, y in zip(curve.likes_lost, curve.dislikes_avoided) if x <= up_to)
        if name == OURS and band and up_to <= max(band.likes_lost):
            columns = map(np.asarray, (band.likes_lost, band.dislikes_avoided, band.low, band.high))
            series.append(Series(label(name), *columns))
            continue
        xs, ys = zip(*points) if points else ((), ())
        series.append(Series(label(name), _thinned(xs), _thinned(ys)))
    part = "the whole range" if up_to == 1 else f"the first {up_to:.0%} of likes lost"
    title = f"Dislikes avoided against likes lost, {part}"
    text = "One line a system; higher is better. The same figures stand in the table below."
    marks = []
    if chosen and OURS in curves and chosen.likes_lost <= up_to:
        marks = [(label(OURS), chosen.likes_lost, chosen.dislikes_avoided)]
    form = "~%"
    return lines(series, title, text, "likes lost", y_format=form, x_format=form, from_zero=True, marks=marks)


def _diagram(found: Reliability) -> str:
    x, y, low, high = map(np.asarray, (found.predicted, found.observed, found.low, found.high))
    ends = np.array([0.0, max(found.predicted[-1], max(found.observed))])
    text = "The line of what was observed, with its 95 % interval, should lie on the diagonal."
    series = [Series("observed", x, y, low, high), Series("as predicted", ends, ends)]
    title = "Share that was disliked, by predicted probability of a dislike"
    return lines(series, title, text, "probability", y_format="~%", x_format="~%", from_zero=True)


def _thinned(values: Sequence[float], most: int = 120) -> np.ndarray:
    """At most `most` of a curve's points, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return np.asarray(values, dtype=float)[places]
