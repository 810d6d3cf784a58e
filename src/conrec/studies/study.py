"""What a study is: cells, how they are compared, and what the paper reports.

`paper/NAME.py` makes the cells, where they are no mere variants of a recipe. `paper/NAME.toml` holds the rest: the
variants, the words, who is compared with whom, and the paper's figures.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conrec.studies.cells import Cell
from conrec.studies.datasets import NAMES, Dataset
from conrec.studies.models import Models, Variant, declared, variant
from conrec.studies.systems import Recommenders, published
from conrec.toml import read_table

Figures = Mapping[str, Mapping[str, float]]
"""System -> metric -> value."""


@dataclass(frozen=True)
class StudyContext:
    """Models and recommenders that the cells of a study are made from."""

    models: Models
    systems: Recommenders
    quick: bool
    """Everything is tiny."""


@dataclass(frozen=True)
class Study:
    """One figure or table of the paper."""

    name: str
    title: str
    measures: str
    """One sentence: what is varied and what is measured."""
    of_seed: Callable[[StudyContext, Variant, Variant], list[Cell]] | None
    """The cells of a data set's recipe under one seed; the second is that of the first seed, which tunes baselines.
    None: they are the `variants`."""
    metrics: Sequence[str]
    """Columns of the table, the headline first for the picture and the text."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """System -> what it changes of the recipe (`models.declared`), the `baseline` that it is instead of CoNRec, and
    below which seed it is run, where it is not run under all."""
    against: Mapping[str, str] = field(default_factory=dict)
    """System -> the one it is compared with, pair by pair."""
    best_other: str | None = None
    """A system that is compared with the best of all others, metric by metric."""
    own: Sequence[str] = ()
    """Systems of CoNRec, marked in the picture."""
    second: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Metric -> systems: there `best_other` is also compared with the best of these."""
    aside: Sequence[str] = ()
    """Systems that are no rivals (the oracle): in the table, never the best other."""
    parts: str | None = None
    """What the names of `best_other`'s parts, and of itself with more, begin with: no rivals, but must not be ahead."""
    paper: Figures = field(default_factory=dict)
    """Figures of the paper, by our names of its systems."""
    source: str = ""
    """Place in the paper."""
    headlines: Sequence[str] = ()
    """Metrics that the text goes through; without any the first of `metrics`."""
    datasets: Sequence[str] = NAMES
    """Those that say something here; others can be named. What is about training is of those that are split by time:
    there, as in the paper, what is learned from lies before what is asked."""
    notes: str = ""
    """Remarks on how it was done here."""
    apart: bool = False
    """It takes a night and more, so `all` leaves it out."""
    forgetting: str | None = None
    """A system whose figure the others are a loss of: adds the share that is forgotten."""

    def cells(self, context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
        """The cells of a data set under some seeds."""
        own, of_seed = [variant(dataset, seed) for seed in seeds], self.of_seed or self._variants
        return [cell for one in own for cell in of_seed(context, one, own[0])]

    def _variants(self, context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
        baselines, found = {one.name: one for one in published(context.quick)}, []
        for name, told in self.variants.items():
            if own.seed >= told.get("seeds", math.inf):
                continue
            changes = {key: value for key, value in told.items() if key not in ("baseline", "seeds")}
            changed = declared(own.dataset, own.seed, changes)
            if "baseline" in told:
                found.append(replace(context.systems.cell(baselines[told["baseline"]], changed, first), system=name))
            else:
                found.append(context.models.cell(name, changed))
        return found

    def rival(self, system: str) -> bool:
        """Whether a system may be the best other."""
        part = self.parts is not None and system.startswith(self.parts)
        return system != self.best_other and system not in self.aside and not part

    def reported(self, system: str, metric: str, against: str | None) -> tuple[float | None, float | None]:
        """Difference in the paper, and as a share; from its own best other where there is no fixed one."""
        mine = self.paper.get(system, {}).get(metric)
        if system == self.best_other:
            others = [own[metric] for name, own in self.paper.items() if name != system and metric in own]
            theirs = max(others, default=None)
        else:
            theirs = self.paper.get(str(against), {}).get(metric)
        return (None, None) if mine is None or theirs is None else (mine - theirs, mine / theirs - 1)

    @property
    def text_metrics(self) -> Sequence[str]:
        """Metrics that the text goes through."""
        return self.headlines or self.metrics[:1]


def read_study(name: str, of_seed: Callable[[StudyContext, Variant, Variant], list[Cell]] | None) -> Study:
    """The study of `paper/NAME.toml`, whose keys are the fields of `Study`."""
    return Study(name, of_seed=of_seed, **read_table(Path(__file__).parent / "paper" / f"{name}.toml"))
