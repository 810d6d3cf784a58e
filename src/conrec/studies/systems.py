"""The baselines as cells: each tuned once on validation with one budget, then trained under every seed.

The settings are chosen under the first seed that is asked for on a data set: a grid of at most four, by FHR@20 on
validation (by CandAcc on held-out questions where a baseline ranks candidates only). The weights of the item prior, for
lists and for candidates, are chosen under every seed, as they are for CoNRec. A row with positives takes the settings
of its row without.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from conrec.baselines.base import Recommender, Settings, TrainingData, training_data
from conrec.baselines.bert4rec import BERT4Rec
from conrec.baselines.caser import Caser
from conrec.baselines.fdsa import FDSA
from conrec.baselines.instructrec import InstructRec
from conrec.baselines.lcrec import LcRec
from conrec.baselines.lift import under_prior
from conrec.baselines.linear import EASE, ItemKNN, SwingNeighbours
from conrec.baselines.p5cid import P5Cid
from conrec.baselines.s3rec import S3Rec
from conrec.baselines.sasrec import SASRec
from conrec.baselines.tallrec import TallRec
from conrec.baselines.tiger import Tiger
from conrec.baselines.trivial import trivial_systems
from conrec.baselines.tuning import GRIDS, tune
from conrec.data.distractors import read_candidates
from conrec.data.instances import Instances
from conrec.evaluate.protocol import read_oracle
from conrec.features.prepared_log import PreparedLog
from conrec.progress import say
from conrec.stages.evaluate import theirs
from conrec.studies.cells import Cell, Measured, cached, key
from conrec.studies.datasets import policy_alone
from conrec.studies.models import Models, Variant, measured
from conrec.studies.models import inputs as inputs_of_stage

ORACLE = "oracle"
PUBLISHED: tuple[Any, ...] = (Caser, SASRec, BERT4Rec, FDSA, S3Rec, P5Cid, Tiger, LcRec, TallRec, InstructRec)
"""The ten systems of the paper's table 1: each takes `inputs`, `seed`, what it `needs`, and its settings."""
SECTIONS = {"lm": "lm", "understood": "understand"}
"""Section of the recipe that decides about a need, beside the prior, which is in every key."""


@dataclass(frozen=True)
class BaselineSpec:
    """A baseline's name, how to make it, and which settings may be tried."""

    name: str
    make: Callable[..., Recommender]
    """Called with one of the settings, what it needs, and the `seed` where it has one, by name."""
    grid: Sequence[Settings] = ({},)
    seeded: bool = True
    """False: nothing is drawn, so one seed says all."""
    needs: tuple[str, ...] = ()
    """Options that come from the run (see `Recommender.needs`)."""
    add_prior: bool = True
    """The item prior is added with a weight chosen on validation, where the recommender can take it."""
    settings_of: "BaselineSpec | None" = None
    """The baseline whose settings it takes, instead of trying the grid itself: the same one without positives."""


def _twice(one: Any, quick: bool, seeded: bool = True) -> list[BaselineSpec]:
    """A recommender on dislikes, and once more with positives; what draws nothing chooses its settings again there."""
    grid = [GRIDS[one.name][0] | one.quick] if quick else GRIDS[one.name]
    first = BaselineSpec(one.name, one, grid, seeded, one.needs)
    both = replace(first, name=f"{one.name}+positives", make=partial(one, "dislikes+likes"))
    return [first, replace(both, settings_of=first) if seeded else both]


def published(quick: bool) -> list[BaselineSpec]:
    """The ten systems of the paper."""
    return [spec for one in PUBLISHED for spec in _twice(one, quick)]


def further(quick: bool) -> list[BaselineSpec]:
    """Neighbours and EASE."""
    knn, swing, ease = (_twice(one, quick, seeded=False) for one in (ItemKNN, SwingNeighbours, EASE))
    return [*knn, swing[0], *ease]  # Swing has no form with positives


def trivial() -> list[BaselineSpec]:
    """Popularity, category rules, content neighbours."""

    def made(n: int, **prior: float) -> Recommender:
        return trivial_systems(**prior)[n]

    prior = ("prior_days", "prior_smoothing")
    names = [system.name for system in trivial_systems(1.0, 1.0)]
    return [
        BaselineSpec(name, partial(made, n), seeded=False, needs=prior, add_prior=False) for n, name in enumerate(names)
    ]


class Recommenders:
    """Cells of baselines; the settings tried are kept beside the models."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._chosen: dict[Path, Recommender] = {}
        """The recommender that was just chosen, trained, by the folder of its tuning."""

    def cell(self, spec: BaselineSpec, variant: Variant, tuned_on: Variant | None = None) -> Cell:
        """A baseline under a variant's log, IDs and prior; the settings are those chosen on `tuned_on` (without it on
        the variant itself)."""
        tuned_on = tuned_on or variant
        inputs = _inputs(spec, variant) | {"tuned on": _inputs(spec, tuned_on)}

        def run() -> Measured:
            settings = self.settings(spec, tuned_on)
            say(f"{spec.name}: {settings or 'nothing to set'}")
            known, _, _ = _read(self.models.log(variant))
            system = self._chosen.pop(self._tuning(spec, variant), None)
            if system is None:
                system = self._make(spec, variant, settings)
                system.fit(known)
            return self._measure(system, variant, settings)

        seed = variant.seed if spec.seeded else variant.fold
        log_and_ids = (self.models.folder(step, variant) for step in ("prepare", "compress"))
        shared = (*log_and_ids, self._tuning(spec.settings_of or spec, tuned_on))
        return Cell(variant.dataset.name, spec.name, seed, inputs, run, variant.fold, shared)

    def _tuning(self, spec: BaselineSpec, variant: Variant) -> Path:
        return self.models.root / f"{variant.dataset.name}-tuning" / f"{spec.name}-{key(_inputs(spec, variant))}"

    def settings(self, spec: BaselineSpec, variant: Variant) -> Settings:
        """The best of the grid on validation; a grid of one has nothing to choose."""
        spec = spec.settings_of or spec
        if len(spec.grid) == 1:
            return dict(spec.grid[0])
        folder = self._tuning(spec, variant)

        def make(out: Path) -> None:
            known, _, _ = _read(self.models.log(variant))
            best, record = tune(partial(self._make, spec, variant), spec.grid, known, variant.recipe.evaluate.k, out)
            self._chosen = {} if best is None else {folder: best}
            (out / "tuning.json").write_text(json.dumps(record, indent=1))

        cached(folder, make)
        record = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
        return dict(record["settings"])

    def oracle(self, variant: Variant) -> Cell | None:
        """The simulator's truth; None where the data is real, or cut at moments for which no truth is kept."""
        if not variant.recipe.data.simulated or variant.recipe.split.mode != "time":
            return None

        def run() -> Measured:
            log = self.models.log(variant)
            test = log.instances.of_split("test")
            truth = read_oracle(log.prepared, test, log.items, variant.recipe.evaluate.k)
            assert truth is not None
            return measured(log, test, truth, {})

        return Cell(variant.dataset.name, ORACLE, variant.fold, _key_of(ORACLE, variant, 0), run, variant.fold)

    def _make(self, spec: BaselineSpec, variant: Variant, settings: Settings) -> Recommender:
        """A recommender as it is measured: under the item prior where it can take it."""
        seed = {"seed": variant.seed} if spec.seeded else {}
        needed = {name: self._option(name, variant) for name in spec.needs}
        system = spec.make(**seed, **needed | settings)
        if not (spec.add_prior and system.adds_prior):
            return system
        config = variant.recipe.predict
        return under_prior(system, config.prior_days, config.prior_smoothing)

    def _option(self, need: str, variant: Variant) -> Any:
        """What a recommender `needs`: CoNRec's item prior, its language model, that one after context understanding."""
        if need == "understood":
            return self.models.built("understand", replace(variant, recipe=policy_alone(variant.recipe)))
        return variant.recipe.lm if need == "lm" else getattr(variant.recipe.predict, need)

    def _measure(self, system: Recommender, variant: Variant, settings: Settings) -> Measured:
        """Tune the weights of a trained recommender on validation, and measure it on test."""
        log = self.models.log(variant)
        known, test, candidates = _read(log)
        k, facts = variant.recipe.evaluate.k, dict[str, Any](settings=settings)
        if known.validation is not None:
            lists = system.tune(known.validation, k)
            ranks = system.tune_candidates(known.validation, candidates["validation"])
            if lists or ranks:
                facts["form"] = system.form
                facts["FHR on validation"] = {str(weight): value for weight, value in lists.items()}
                facts["CandAcc on validation"] = {str(weight): value for weight, value in ranks.items()}
        outputs = theirs(system, test, candidates["test"], k)
        found = measured(log, test, outputs, facts)
        return replace(found, values={"CandAcc": found.values["CandAcc"]}) if system.candidates_only else found


@lru_cache(1)
def _read(log: PreparedLog) -> tuple[TrainingData, Instances, dict[str, np.ndarray]]:
    """Training data, test instances, and candidates by split; those of the last log stay in memory."""
    known, test = training_data(log), log.instances.of_split("test")
    parts = {"test": test, "validation": known.validation}
    return known, test, {n: read_candidates(log.prepared, part, log.items) for n, part in parts.items() if part}


def _inputs(spec: BaselineSpec, variant: Variant) -> dict[str, Any]:
    """What a baseline depends on; without seeds all seeds are one."""
    sections = {SECTIONS[name]: getattr(variant.recipe, SECTIONS[name]) for name in spec.needs if name in SECTIONS}
    seed = variant.seed if spec.seeded else 0
    return _key_of(spec.name, variant, seed, spec.grid) | sections


def _key_of(system: str, variant: Variant, seed: int, grid: Sequence[Settings] = ({},)) -> dict[str, Any]:
    recipe = variant.recipe
    prior = {"prior_days": recipe.predict.prior_days, "prior_smoothing": recipe.predict.prior_smoothing}
    own = {"system": system, "grid": [dict(one) for one in grid], "seed": seed}
    return inputs_of_stage("compress", variant) | prior | own | {"k": recipe.evaluate.k}
