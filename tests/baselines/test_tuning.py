from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from conrec.baselines import bert4rec, caser, ease, fdsa, knn, s3rec, sasrec
from conrec.baselines.base import System
from conrec.baselines.ease import EASE
from conrec.baselines.tuning import BUDGET, tune
from conrec.data.instances import Instances
from conrec.evaluate.metrics import hit_any
from tests.baselines.planted import chain

PRIOR = {"k": 5, "prior_days": 14.0, "prior_smoothing": 0.05}


class Guess(System):
    """Knows the answer for the share `good` of the instances."""

    name = "guess"

    def __init__(self, good: float) -> None:
        self.good = good

    def scores(self, instances: Instances) -> np.ndarray:
        scores = np.zeros((len(instances), len(self.known.items)), np.float32)
        known = instances.ids % 100 < 100 * self.good
        scores[known, instances.next[known]] = 10
        return scores


def test_the_best_on_validation_is_kept_and_everything_is_recorded() -> None:
    known, test = chain()
    grid = [{"good": good} for good in (0.1, 0.9, 0.5, 0.9)]
    best, record = tune(Guess, grid, known, **PRIOR)
    assert best.inner.good == 0.9  # type: ignore[attr-defined]
    assert record["settings"] == {"good": 0.9}
    assert record["system"] == "guess+prior"
    assert [one["settings"] for one in record["tried"]] == grid
    assert known.validation is not None
    found = float(hit_any(best.recommend(known.validation, 5), known.validation.future).mean())
    assert max(record["tried"][1]["validation"].values()) == pytest.approx(found)
    assert record["tried"][1]["validation"][str(record["weight"])] == pytest.approx(found)
    assert json.loads(json.dumps(record)) == record
    assert len(best.recommend(test, 5)) == len(test)


def test_what_cannot_be_tuned() -> None:
    known, _ = chain(users=20)
    for grid in ([], [{"l2": 1.0}] * (BUDGET + 1)):
        with pytest.raises(ValueError, match="grid"):
            tune(EASE, grid, known, **PRIOR)
    with pytest.raises(ValueError, match="validation"):
        tune(EASE, ease.GRID, replace(known, validation=None), **PRIOR)


def test_every_grid_is_the_budget() -> None:
    grids = [module.GRID for module in (bert4rec, caser, ease, fdsa, knn, s3rec, sasrec)] + [knn.SWING_GRID]
    for grid in grids:
        assert len(grid) == len({str(settings) for settings in grid}) == BUDGET
    for make, grid in (
        (bert4rec.BERT4Rec, bert4rec.GRID),
        (caser.Caser, caser.GRID),
        (fdsa.FDSA, fdsa.GRID),
        (s3rec.S3Rec, s3rec.GRID),
        (sasrec.SASRec, sasrec.GRID),
        (ease.EASE, ease.GRID),
        (knn.ItemKNN, knn.GRID),
        (knn.SwingNeighbours, knn.SWING_GRID),
    ):
        for settings in grid:
            make(**settings)
