from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conrec.baselines.base import Recommender, Settings
from conrec.baselines.lift import under_prior
from conrec.baselines.linear import EASE, ItemKNN, SwingNeighbours
from conrec.baselines.tuning import BUDGET, GRIDS, tune
from conrec.baselines.with_prior import WithPrior
from conrec.config import LmConfig
from conrec.data.instances import Instances
from conrec.evaluate.metrics import hit_any
from conrec.studies.systems import PUBLISHED
from tests.baselines.planted import chain


class Guess(Recommender):
    """Knows the answer for the share `good` of the instances."""

    name = "guess"

    def __init__(self, good: float) -> None:
        self.good = good

    def scores(self, instances: Instances) -> np.ndarray:
        scores = np.zeros((len(instances), len(self.known.items)), np.float32)
        known = instances.ids % 100 < 100 * self.good
        scores[known, instances.next[known]] = 10
        return scores


GRID = [{"good": good} for good in (0.1, 0.9, 0.5, 0.9)]


def guess(settings: Settings) -> Recommender:
    return under_prior(Guess(**settings), 14.0, 0.05)


def test_the_best_on_validation_is_kept_and_everything_is_recorded(tmp_path: Path) -> None:
    known, test = chain()
    best, record = tune(guess, GRID, known, 5, tmp_path)
    assert isinstance(best, WithPrior)
    assert best.inner.good == 0.9  # type: ignore[attr-defined]
    assert record["settings"] == {"good": 0.9}
    assert [one["settings"] for one in record["tried"]] == GRID
    assert known.validation is not None
    found = float(hit_any(best.recommend(known.validation, 5), known.validation.future).mean())
    assert max(record["tried"][1]["validation"].values()) == pytest.approx(found)
    assert record["tried"][1]["validation"][str(best.weight)] == pytest.approx(found)
    assert json.loads(json.dumps(record)) == record
    assert len(best.recommend(test, 5)) == len(test)


@pytest.mark.parametrize(("stopped_at", "lost"), [(1, False), (3, True)])
def test_a_choice_goes_on_where_it_was_interrupted(tmp_path: Path, stopped_at: int, lost: bool) -> None:
    known, _ = chain()
    trained: list[float] = []

    def counted(settings: Settings) -> Recommender:
        if len(trained) == stopped_at:
            raise KeyboardInterrupt
        trained.append(settings["good"])
        return guess(settings)

    with pytest.raises(KeyboardInterrupt):
        tune(counted, GRID, known, 5, tmp_path)
    stopped_at = -1
    best, record = tune(counted, GRID, known, 5, tmp_path)
    assert trained == [one["good"] for one in GRID]
    whole_folder = tmp_path / "whole"
    whole_folder.mkdir()
    _, whole = tune(guess, GRID, known, 5, whole_folder)
    assert record["settings"] == whole["settings"]
    assert [one["validation"] for one in record["tried"]] == [one["validation"] for one in whole["tried"]]
    # The second setting is the best, of the last three the first: trained after a stop at 1, before one at 3.
    assert (best is None) == lost


def test_what_cannot_be_tuned(tmp_path: Path) -> None:
    known, _ = chain(users=20)
    for grid in ([], [{"l2": 1.0}] * (BUDGET + 1)):
        with pytest.raises(ValueError, match="grid"):
            tune(guess, grid, known, 5, tmp_path)


def test_every_grid_is_the_budget() -> None:
    for recommender in (*PUBLISHED, EASE, ItemKNN, SwingNeighbours):
        grid = GRIDS[recommender.name]
        assert len(grid) == len({str(settings) for settings in grid}) == BUDGET
        given = {"prior_days": 14.0, "prior_smoothing": 0.05, "lm": LmConfig(), "understood": Path()}
        for settings in grid:
            recommender(**{name: given[name] for name in recommender.needs}, **settings)
