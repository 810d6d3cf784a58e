"""The same budget for every system: a small grid, chosen on validation.

For each setting the system is trained once and judged as it will be used, with the item prior at its best weight; the
setting with the best figure is kept, the earlier of equals.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conrec.baselines.base import Recommender, Settings, TrainingData
from conrec.files import write_whole
from conrec.progress import say
from conrec.toml import read_table

GRIDS: dict[str, list[Settings]] = read_table(Path(__file__).with_name("grids.toml"))
"""The settings to choose from, by the system's name."""
BUDGET = 4
"""Settings that every system with anything to learn may try."""


def tune(
    make: Callable[[Settings], Recommender], grid: Sequence[Settings], known: TrainingData, k: int, folder: Path
) -> tuple[Recommender | None, dict[str, Any]]:
    """The best of `make(settings)` over the grid, fitted; and what was tried, for JSON:

    {"settings": the chosen ones, "tried": [{"settings", "validation": the fitted system's `validation_figures` for
    lists of `k`, by weight of the prior, "seconds"}]}. The highest value of each counts.

    Every setting's figures are kept in `folder`, so that the same call goes on where it was interrupted; the system is
    then None if the best setting was trained before. ValueError for an empty grid or one beyond the budget.
    """
    if not 0 < len(grid) <= BUDGET:
        raise ValueError(f"a grid of {len(grid)} settings: every system has 1 to {BUDGET}")
    best, chosen, highest = None, 0, float("-inf")
    tried: list[dict[str, Any]] = []
    for number, settings in enumerate(grid):
        kept, system = folder / f"setting{number}.json", None
        if kept.exists():
            tried.append(json.loads(kept.read_text(encoding="utf-8")))
        else:
            start = time.monotonic()
            system = make(settings)
            system.fit(known)
            figures = {str(weight): value for weight, value in system.validation_figures(k).items()}
            seconds = round(time.monotonic() - start, 1)
            tried.append({"settings": dict(settings), "validation": figures, "seconds": seconds})
            write_whole(kept, json.dumps(tried[-1], indent=1))
            say(f"{system.name} {settings}: validation {max(figures.values(), default=0.0):.4f}")
        figure = max(tried[-1]["validation"].values(), default=0.0)
        if figure > highest:
            best, chosen, highest = system, number, figure
    return best, {"settings": tried[chosen]["settings"], "tried": tried}
