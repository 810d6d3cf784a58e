"""The same budget for every system: a small grid, stated in its file, chosen on validation.

A system is judged as it will be used, with the item prior: for each setting it is trained once, the prior's weight is
tuned (`BestForm`, `WithPrior`), and the setting with the best FHR@k on validation is kept, the earlier of equals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from conrec.baselines.base import Known, System
from conrec.baselines.best_form import under_prior
from conrec.baselines.with_prior import WithPrior
from conrec.progress import say

BUDGET = 6
"""Settings that a system with anything to learn may try."""


def tune(
    make: Callable[..., System],
    grid: Sequence[dict[str, Any]],
    known: Known,
    *,
    k: int,
    prior_days: float,
    prior_smoothing: float,
) -> tuple[WithPrior, dict[str, Any]]:
    """The best of `make(**settings)` over the grid, fitted, with its prior weighed; and what was tried, for JSON:

    {"system", "settings": the chosen ones, "weight": of the prior, "tried": [{"settings", "form": what the prior
    was added to, "validation": FHR@k by weight, "epoch": the one kept (null where there are none), "seconds"}]}.

    `known.validation` must be there. ValueError for an empty grid, one beyond the budget, or no validation.
    """
    if not 0 < len(grid) <= BUDGET:
        raise ValueError(f"a grid of {len(grid)} settings: every system has 1 to {BUDGET}")
    validation = known.validation
    if validation is None or not (validation.n_dislikes > 0).any():
        raise ValueError("nothing to choose on: no validation instance with a dislike before its cut")
    best, highest, chosen = None, -1.0, 0
    tried: list[dict[str, Any]] = []
    for number, settings in enumerate(grid):
        start = time.monotonic()
        system = under_prior(make(**settings), prior_days, prior_smoothing)
        system.fit(known)
        by_weight = system.tune(validation, k)
        tried.append(
            {
                "settings": dict(settings),
                "form": system.inner.name,
                "validation": {str(weight): value for weight, value in by_weight.items()},
                "epoch": getattr(system.inner, "epoch", None),
                "seconds": round(time.monotonic() - start, 1),
            }
        )
        say(f"{system.name} {settings}: validation FHR@{k} {max(by_weight.values()):.4f}")
        if max(by_weight.values()) > highest:
            best, highest, chosen = system, max(by_weight.values()), number
    assert best is not None
    record = {"system": best.name, "settings": tried[chosen]["settings"], "weight": best.weight, "tried": tried}
    return best, record
