"""The other systems as cells: each tuned once on validation with one budget, then trained under every seed.

The settings are chosen under the first seed that is asked for on a data set: a grid of at most four, by FHR@20 on
validation (by CandAcc on held-out questions where a system ranks candidates only). The weights of the item prior, for
lists and for candidates, are chosen under every seed, as they are for CoNRec. A row with positives takes the settings
of its row without.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conrec.baselines.base import Recommender, TrainingData, training_data
from conrec.baselines.bert4rec import GRID as BERT4REC_GRID
from conrec.baselines.bert4rec import BERT4Rec
from conrec.baselines.best_form import under_prior
from conrec.baselines.caser import GRID as CASER_GRID
from conrec.baselines.caser import Caser
from conrec.baselines.ease import EASE
from conrec.baselines.ease import GRID as EASE_GRID
from conrec.baselines.fdsa import FDSA
from conrec.baselines.fdsa import GRID as FDSA_GRID
from conrec.baselines.generative import Generative
from conrec.baselines.instructrec import GRID as INSTRUCTREC_GRID
from conrec.baselines.instructrec import InstructRec
from conrec.baselines.knn import GRID as KNN_GRID
from conrec.baselines.knn import SWING_GRID, ItemKNN, SwingNeighbours
from conrec.baselines.lcrec import GRID as LCREC_GRID
from conrec.baselines.lcrec import LcRec
from conrec.baselines.p5cid import GRID as P5CID_GRID
from conrec.baselines.p5cid import P5Cid
from conrec.baselines.reversed import Reversed
from conrec.baselines.s3rec import GRID as S3REC_GRID
from conrec.baselines.s3rec import S3Rec
from conrec.baselines.sasrec import GRID as SASREC_GRID
from conrec.baselines.sasrec import SASRec
from conrec.baselines.tallrec import GRID as TALLREC_GRID
from conrec.baselines.tallrec import TallRec
from conrec.baselines.tiger import GRID as TIGER_GRID
from conrec.baselines.tiger import Tiger
from conrec.baselines.titles import TitleRanker
from conrec.baselines.trivial import trivial_systems
from conrec.baselines.tuning import tune
from conrec.baselines.with_prior import WithPrior
from conrec.config import LmConfig
from conrec.data.instances import Instances
from conrec.evaluate.protocol import Outputs, read_candidates, read_oracle
from conrec.features.prepared_log import PreparedLog
from conrec.progress import say
from conrec.studies.cells import Cell, Measured, key, made
from conrec.studies.models import Models, Variant, ids_inputs, measured

Settings = dict[str, Any]
ORACLE = "oracle"
QUICK_PRETRAINING = {"pretraining_epochs": 1}


@dataclass(frozen=True)
class Place:
    """Where a system is trained: what it may read, and under which seed."""

    variant: Variant
    understood: Callable[[], Path]
    """The language model after context understanding; made when asked for."""
    seed: int
    quick: bool

    @property
    def prior(self) -> dict[str, float]:
        """The item prior that CoNRec uses."""
        config = self.variant.recipe.predict
        return {"prior_days": config.prior_days, "prior_smoothing": config.prior_smoothing}

    @property
    def lm(self) -> LmConfig:
        """CoNRec's backbone."""
        return self.variant.recipe.lm


@dataclass(frozen=True)
class Other:
    """A system: how to make it, and what may be tried."""

    name: str
    make: Callable[[Place, Settings], Recommender]
    grid: Sequence[Settings] = ({},)
    seeded: bool = True
    """False: nothing is drawn, so one seed says all."""
    needs: tuple[str, ...] = ()
    """What of the recipe it reads beyond log, IDs and prior: `lm`, `understand`."""
    weighed: bool = True
    """The item prior is added with a weight chosen on validation; False: it is taken as it is."""
    settings_of: Other | None = None
    """The system whose settings it takes, instead of trying the grid itself: the same one without positives."""


def published(quick: bool) -> list[Other]:
    """The ten of the paper; of those that can read positives a second row each."""
    found: list[Other] = []
    sequence: list[tuple[Any, Any]] = [
        (Caser, CASER_GRID),
        (SASRec, SASREC_GRID),
        (BERT4Rec, BERT4REC_GRID),
        (FDSA, FDSA_GRID),
        (S3Rec, S3REC_GRID),
    ]
    for cls, grid in sequence:
        first = Other(cls.__name__.lower(), _sequence(cls, "dislikes"), grid)
        found += _with_positives(first, _sequence(cls, "both"))
    generative: list[tuple[str, Any, Any, tuple[str, ...]]] = [
        ("p5_cid", P5Cid, P5CID_GRID, ()),
        ("tiger", Tiger, TIGER_GRID, ()),
        ("lc_rec", LcRec, LCREC_GRID, ("lm",)),
    ]
    for name, cls, grid, needs in generative:
        first = Other(name, _generative(cls, positives=False), grid, needs=needs)
        found += _with_positives(first, _generative(cls, positives=True))
    titles: list[tuple[str, Any, Any]] = [
        ("tallrec", TallRec, TALLREC_GRID),
        ("instructrec", InstructRec, INSTRUCTREC_GRID),
    ]
    for name, cls, grid in titles:
        first = Other(name, _titles(cls, positives=False), grid, needs=("lm", "understand"))
        found += _with_positives(first, _titles(cls, positives=True))
    return [replace(other, grid=other.grid[:1]) if quick else other for other in found]


def trivial() -> list[Other]:
    """Popularity, category rules, content neighbours."""

    def maker(n: int) -> Callable[[Place, Settings], Recommender]:
        return lambda place, settings: trivial_systems(**place.prior)[n]

    names = [(n, system) for n, system in enumerate(trivial_systems(1.0, 1.0))]
    return [Other(system.name, maker(n), seeded=False, weighed=False) for n, system in names]


def further(quick: bool) -> list[Other]:
    """Neighbours, EASE, and a model of likes reversed."""
    found = [
        Other("item_knn", lambda place, s: ItemKNN("dislikes", **s), KNN_GRID, seeded=False),
        Other("item_knn+positives", lambda place, s: ItemKNN("both", **s), KNN_GRID, seeded=False),
        Other("swing_neighbours", lambda place, s: SwingNeighbours(**s), SWING_GRID, seeded=False),
        Other("ease", lambda place, s: EASE("dislikes", **s), EASE_GRID, seeded=False),
        Other("ease+positives", lambda place, s: EASE("both", **s), EASE_GRID, seeded=False),
        # Many more likes than dislikes: one setting, for each takes as long as a whole grid does elsewhere.
        Other("reversed_likes", _reversed, [{"loss": "softmax", "dropout": 0.2, "learning_rate": 1e-3}]),
    ]
    return [replace(other, grid=other.grid[:1]) if quick else other for other in found]


class Recommenders:
    """Cells of other systems; what is tuned is kept beside the models."""

    def __init__(self, models: Models, quick: bool) -> None:
        self.models, self.quick = models, quick
        self._tuned: dict[Path, Recommender] = {}
        """The system that was just chosen, trained: by where it is kept what was tried."""
        self._kept: tuple[tuple[Path, Path], tuple[TrainingData, Instances, dict[str, np.ndarray]]] | None = None

    def cell(self, other: Other, variant: Variant, tuned_on: Variant | None = None) -> Cell:
        """A system under a variant's log, IDs and prior; the settings are those chosen on `tuned_on` (without it on
        the variant itself)."""
        tuned_on = tuned_on or variant
        inputs = _inputs(other, variant) | {"tuned on": _inputs(other, tuned_on)}

        def run() -> Measured:
            settings = self.settings(other, tuned_on)
            say(f"{other.name}: {settings or 'nothing to set'}")
            known, test, candidates = self._read(variant)
            system = self._tuned.pop(self._tuning(other, variant), None)
            if system is None:
                system = self._make(other, variant, settings)
                system.fit(known)
            return measure(
                system, known, test, candidates, variant.recipe.evaluate.k, self.models.prepared(variant), settings
            )

        seed = variant.seed if other.seeded else variant.fold
        log_and_ids = (self.models.folder(step, variant) for step in ("prepare", "compress"))
        shared = (*log_and_ids, self._tuning(other.settings_of or other, tuned_on))
        return Cell(variant.dataset.name, other.name, seed, inputs, run, variant.fold, shared)

    def _tuning(self, other: Other, variant: Variant) -> Path:
        """Where it is kept what was tried."""
        return self.models.root / f"{variant.dataset.name}-tuning" / f"{other.name}-{key(_inputs(other, variant))}"

    def settings(self, other: Other, variant: Variant) -> Settings:
        """The best of the grid on validation; a grid of one has nothing to choose."""
        other = other.settings_of or other
        if len(other.grid) == 1:
            return dict(other.grid[0])
        folder = self._tuning(other, variant)

        def make(out: Path) -> None:
            known, _, _ = self._read(variant)
            best, record = tune(
                lambda **settings: self._make(other, variant, settings),
                other.grid,
                known,
                lambda system: _judge(system, known, variant.recipe.evaluate.k),
                out,
            )
            self._tuned = {} if best is None else {folder: best}
            (out / "tuning.json").write_text(json.dumps(record, indent=1))

        made(folder, make)
        record = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
        return dict(record["settings"])

    def oracle(self, variant: Variant) -> Cell | None:
        """The simulator's truth; None where the data is real, or cut at moments for which no truth is kept."""
        if not variant.recipe.data.simulated or variant.recipe.split.mode != "time":
            return None

        def run() -> Measured:
            known, test, _ = self._read(variant)
            prepared = self.models.prepared(variant)
            truth = read_oracle(prepared, test, known.items, variant.recipe.evaluate.k)
            assert truth is not None
            return measured(prepared, known.items, test, truth, {})

        inputs = _inputs(Other(ORACLE, _no_system, seeded=False), variant)
        return Cell(variant.dataset.name, ORACLE, variant.fold, inputs, run, variant.fold)

    def _make(self, other: Other, variant: Variant, settings: Settings) -> Recommender:
        """As it is used: under the item prior, unless it is that itself, has it within, or ranks candidates only."""
        system = other.make(self._place(variant), dict(settings))
        if not other.weighed or isinstance(system, Generative | TitleRanker):
            return system
        config = variant.recipe.predict
        return under_prior(system, config.prior_days, config.prior_smoothing)

    def _place(self, variant: Variant) -> Place:
        return Place(variant, lambda: self.models.understood(variant), variant.seed, self.quick)

    def _read(self, variant: Variant) -> tuple[TrainingData, Instances, dict[str, np.ndarray]]:
        """What may be known, the test instances, and candidates by split; the last variant's is kept in memory."""
        prepared, ids = self.models.prepared(variant), self.models.compressed(variant)
        if self._kept is None or self._kept[0] != (prepared, ids):
            log = PreparedLog(prepared, ids)
            items, known, test = log.items, training_data(log), log.instances.of_split("test")
            parts = {"test": test, "validation": known.validation}
            candidates = {split: read_candidates(prepared, part, items) for split, part in parts.items() if part}
            self._kept = (prepared, ids), (known, test, candidates)
        return self._kept[1]


def _judge(system: Recommender, known: TrainingData, k: int) -> dict[Any, float]:
    """FHR@k on validation by weight of the prior; CandAcc on held-out questions of a ranker."""
    if isinstance(system, TitleRanker):
        return {"CandAcc": system.accuracy}
    assert isinstance(system, Generative | WithPrior)
    assert known.validation is not None
    return dict(system.tune(known.validation, k))


def measure(
    system: Recommender,
    known: TrainingData,
    test: Instances,
    candidates: dict[str, np.ndarray],
    k: int,
    prepared: Path,
    settings: Settings,
) -> Measured:
    """Weigh the prior of a trained system on validation, and measure on test. A ranker of candidates has no lists."""
    facts: dict[str, Any] = {"settings": settings}
    if isinstance(system, Generative | WithPrior) and known.validation is not None:
        lists, ranks = (
            system.tune(known.validation, k),
            system.tune_candidates(known.validation, candidates["validation"]),
        )
        facts["form"] = system.inner.name if isinstance(system, WithPrior) else system.name
        facts["FHR on validation"] = {str(weight): value for weight, value in lists.items()}
        facts["CandAcc on validation"] = {str(weight): value for weight, value in ranks.items()}
    scores = system.score_candidates(test, candidates["test"]).astype(np.float64)
    scores[(candidates["test"] < 0).all(axis=1)] = np.nan
    found = measured(prepared, known.items, test, Outputs(system.recommend(test, k), {"CandAcc": scores}), facts)
    if isinstance(system, TitleRanker):
        return replace(found, values={"CandAcc": found.values["CandAcc"]})
    return found


def _sequence(cls: Any, reads: str) -> Callable[[Place, Settings], Recommender]:
    def make(place: Place, settings: Settings) -> Recommender:
        system: Recommender = cls(
            reads, seed=place.seed, **settings, **(QUICK_PRETRAINING if place.quick and cls is S3Rec else {})
        )
        if place.quick:
            system.epochs = 1  # type: ignore[attr-defined]
        return system

    return make


def _generative(cls: Any, positives: bool) -> Callable[[Place, Settings], Recommender]:
    def make(place: Place, settings: Settings) -> Recommender:
        options: Settings = {"positives": positives, "seed": place.seed, **place.prior, **settings}
        if cls is LcRec:
            options["lm"] = place.lm
        if place.quick:
            options |= {"epochs": 0.5, "beams": 20} | (
                {"language_epochs": 0.2, "asymmetric": 50} if cls is LcRec else {}
            )
        system: Recommender = cls(**options)
        return system

    return make


def _titles(cls: Any, positives: bool) -> Callable[[Place, Settings], Recommender]:
    def make(place: Place, settings: Settings) -> Recommender:
        options = settings | ({"epochs": 1, "samples": 40} if place.quick else {})
        system: Recommender = cls(
            lm=place.lm, understood=place.understood(), positives=positives, seed=place.seed, **options
        )
        return system

    return make


def _reversed(place: Place, settings: Settings) -> Recommender:
    likes = SASRec("likes", seed=place.seed, **settings)
    if place.quick:
        likes.epochs = 1
    return Reversed(likes)


def _no_system(place: Place, settings: Settings) -> Recommender:
    raise NotImplementedError("the oracle is read, not made")


def _with_positives(first: Other, make: Callable[[Place, Settings], Recommender]) -> list[Other]:
    """A system, and as a second row the same one reading positives, under the same settings."""
    return [first, replace(first, name=f"{first.name}+positives", make=make, settings_of=first)]


def _inputs(other: Other, variant: Variant) -> dict[str, Any]:
    """What a system depends on; without seeds all seeds are one."""
    recipe = variant.recipe
    sections = {name: getattr(recipe, name) for name in other.needs}
    prior = {"prior_days": recipe.predict.prior_days, "prior_smoothing": recipe.predict.prior_smoothing}
    own = {"system": other.name, "grid": [dict(one) for one in other.grid], "seed": variant.seed if other.seeded else 0}
    return ids_inputs(variant) | sections | prior | own | {"k": recipe.evaluate.k}
