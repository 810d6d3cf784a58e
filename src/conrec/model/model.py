"""A fitted model: a run folder that answers from Python."""

import html
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conrec.data.sources import named
from conrec.deploy import replay
from conrec.deploy.calibrate import By, calibrate, describe
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.evaluate.compare import filter_metrics
from conrec.evaluate.results import Calibration, FilterMetrics
from conrec.files import read_json, write_json
from conrec.filter.decision import Decision
from conrec.filter.filter import CoNRecFilter
from conrec.report.html import trade_off
from conrec.run import LOG, open_run


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Dislikes avoided against likes lost on test, of the model and of other filters; a notebook shows it."""

    summary: replay.ReplaySummary
    """Figures with intervals, and paired differences."""
    metrics: FilterMetrics
    """The same with the curves."""

    def avoided(self, likes_lost: float = 0.01, system: str = "conrec") -> float | None:
        """Share of the dislikes avoided where so many likes may be lost: 0.01, 0.02 or 0.05."""
        return self.summary.systems[system].avoided[f"{likes_lost:.2f}"].mean

    def __repr__(self) -> str:
        return replay.describe(self.summary)

    def _repr_html_(self) -> str:
        try:
            return trade_off(self.metrics)
        except ModuleNotFoundError:
            return f"<pre>{html.escape(repr(self))}\nThe curves need pip install 'conrec[report]'</pre>"


class Calibrated(Calibration, frozen=True):
    """A promise about lost likes (`threshold`), or why there is none and how much data it would take (`refused`)."""

    def __repr__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap">{html.escape(repr(self))}</pre>'


class Model:
    """What `conrec.fit` learned. Everything lies in its run folder, which every verb of the command line takes, too."""

    def __init__(self, folder: Path) -> None:
        """Use `conrec.fit` or `conrec.load`."""
        self.folder = folder
        self.recipe, _, _ = open_run(folder)
        self._replay = folder / "filter" / f"seed{self.recipe.seeds[0]}"

    def __repr__(self) -> str:
        return f"<conrec model in {self.folder}: {self.account.get('kept', 0):,} events>"

    @property
    def account(self) -> dict[str, Any]:
        """Every row of the log: read, kept, dropped by cause; beside `items` and `images`."""
        return read_json(self.folder / "prepare" / "accounting.json")

    def evaluate(self) -> Evaluation:
        """Dislikes avoided against likes lost on the held-out weeks (or users), beside other filters."""
        summary, metrics = replay.read_replays(self.folder, self.recipe), filter_metrics([self._replay])
        assert metrics is not None
        return Evaluation(summary, metrics)

    def calibrate(
        self,
        likes_lost: float = 0.01,
        confidence: float | None = 0.95,
        by: By | None = None,
        unwanted: float | None = None,
        surface: str | None = None,
    ) -> Calibrated:
        """Choose the threshold that `filter` drops by: at most this share of likes is lost, so surely.

        Where the held-out weeks hold too little to promise that, the result says what is missing, and nothing is
        dropped. The arguments are those of `conrec calibrate`; docs/guarantee.md says what is promised.
        """
        told: dict[str, Any] = {"confidence": confidence, "by": by, "unwanted": unwanted, "surface": surface}
        found = calibrate(self.folder, self.recipe, likes_lost=likes_lost, **told)
        self.__dict__.pop("conrec_filter", None)
        return Calibrated(*msgspec.structs.astuple(found))

    def filter(self, user: str, candidates: Sequence[str], threshold: float | None = None, **more: Any) -> Decision:
        """Decide about a user's ranked candidates (item ids, best first); unknown users and items pass.

        The threshold is the calibrated one. Before `calibrate` it is what the held-out weeks chose for the recipe's
        `filter.likes_lost`, which promises nothing. `more`: as in `CoNRecFilter.filter` (`surface`,
        `want`, `mode`).
        """
        return self.conrec_filter.filter(user, candidates, threshold, **more)

    def predict_proba(self, users: str | Sequence[str], items: Sequence[str]) -> np.ndarray:
        """Probability of a dislike for pairs of a user and an item, float64 [n]; nan where either is unknown.

        How often what scores so was disliked once it was shown, on the validation period (`score.probability`). Known
        are the items of the catalogue and the users with a dislike. A `users` that is one id stands for all.
        """
        owners = [users] * len(items) if isinstance(users, str) else list(users)
        if len(owners) != len(items):
            raise ValueError(f"{len(owners)} users and {len(items)} items: give as many of both")
        found: list[float | None] = []
        for user, pairs in groupby(zip(owners, items), key=itemgetter(0)):
            some = [item for _, item in pairs]
            decision = self.conrec_filter.filter(user, some, dry_run=True, mode="demote")
            found += decision.probabilities or [None] * len(some)
        return np.array(found, np.float64)

    def save(self, folder: str | Path) -> Path:
        """Copy the run folder, with a published snapshot: `conrec serve FOLDER/snapshots`, `conrec refresh FOLDER`.

        ConrecError where the folder holds something already.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise ConrecError(f"{folder}: holds files already; choose a new folder, or remove it")
        _ = self.conrec_filter  # published
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock", "*.partial"))
        paths = read_json(folder / "paths.json")
        old, new = (os.path.abspath(run / LOG) for run in (self.folder, folder))
        paths["data"] = [source.replace(old, new) for source in named(paths["data"])]
        write_json(folder / "paths.json", paths)
        return folder

    @cached_property
    def conrec_filter(self) -> CoNRecFilter:
        """The filter over the published snapshot; a snapshot is published first if need be."""
        refresh(self.folder, self.recipe)
        calibrated = (self.folder / "calibration.json").exists()
        threshold = None if calibrated else read_json(self._replay / "replay.json").get("threshold")
        salt_file = self.recipe.salt_file or None
        return CoNRecFilter.load(self.folder / "snapshots", threshold=threshold, salt_file=salt_file)


def load(folder: str | Path) -> Model:
    """The model in a run folder, of `Model.save` or of `conrec run`; ConrecError for one without a filter."""
    model = Model(Path(folder))
    if not (model._replay / "manifest.json").is_file():
        raise ConrecError(f"{model._replay}: not there or not complete; bring the run as far as filter first")
    return model
