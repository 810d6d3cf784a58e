"""From cells to a study's table: means, paired differences, intervals.

Seeds of one system are averaged instance by instance, folds (other users) are put one behind the other; users are
resampled after that, all columns of a data set together, so that every difference is paired.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conrec.evaluate.bootstrap import Estimate, bootstrap
from conrec.studies.cells import CellResult
from conrec.studies.study import Study

COLUMNS = ["dataset", "system", "metric", "mean", "low", "high", "instances", "seeds", "paper", "against"]
COLUMNS += ["difference", "difference_low", "difference_high", "verdict", "forgotten"]
DRAWS = 1000


@dataclass(frozen=True)
class Pool:
    """The cells of one data set, seeds averaged."""

    users: np.ndarray
    """str [I]."""
    values: dict[str, dict[str, np.ndarray]]
    """System -> metric -> float [I], NaN where an instance does not count."""
    seeds: dict[str, list[int]]


@dataclass(frozen=True)
class Row:
    """One figure, and its difference to another system's where it is compared."""

    dataset: str
    system: str
    metric: str
    value: Estimate
    seeds: list[int]
    paper: float | None = None
    against: str | None = None
    difference: Estimate | None = None
    forgotten: float | None = None
    """Share of the reference's figure that is lost."""
    second: bool = False
    """The figure once more, beside a second opponent's."""


def pool(results: Sequence[CellResult]) -> Pool:
    """Put the cells of one data set together; instances are told apart by fold and id."""
    places: dict[tuple[int, int], int] = {}
    users: list[str] = []
    for one in results:
        for number, user in zip(one.measured.ids.tolist(), one.measured.users.tolist()):
            if (one.fold, number) not in places:
                places[one.fold, number] = len(users)
                users.append(f"{one.fold}/{user}")
    columns: dict[str, dict[str, list[np.ndarray]]] = {}
    seeds: dict[str, list[int]] = {}
    for one in results:
        at = [places[one.fold, number] for number in one.measured.ids.tolist()]
        seeds.setdefault(one.system, []).append(one.seed)
        for metric, values in one.measured.values.items():
            column = np.full(len(users), np.nan)
            column[at] = values
            columns.setdefault(one.system, {}).setdefault(metric, []).append(column)
    means = {
        system: {metric: _mean_of_seeds(np.stack(own)) for metric, own in metrics.items()}
        for system, metrics in columns.items()
    }
    return Pool(np.array(users, dtype=str), means, seeds)


def _mean_of_seeds(values: np.ndarray) -> np.ndarray:
    """Mean over the seeds that count, float [I] of float [S, I]; NaN where none does."""
    count = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(len(count), np.nan), where=count > 0)


def rows(study: Study, dataset: str, results: Sequence[CellResult], draws: int = DRAWS) -> list[Row]:
    """The study's table for one data set."""
    pooled = pool([one for one in results if one.dataset == dataset])
    columns: list[tuple[str, str, str | None, bool]] = []
    for metric in study.metrics:
        for system in pooled.values:
            if metric not in pooled.values[system]:
                continue
            columns.append((system, metric, _other(study, pooled, system, metric), False))
            if system == study.best_other and metric in study.second:
                second = _best_other(study, pooled, metric, study.second[metric])
                columns += [(system, metric, second, True)] if second else []
    of = pooled.values
    table = [of[system][metric] for system, metric, _, _ in columns]
    table += [of[system][metric] - of[other][metric] for system, metric, other, _ in columns if other]
    estimates = bootstrap(pooled.users, np.column_stack(table), draws) if table else []
    differences = iter(estimates[len(columns) :])
    found = []
    for (system, metric, other, again), value in zip(columns, estimates):
        seeds, paper = sorted(set(pooled.seeds[system])), study.paper.get(system, {}).get(metric)
        difference, forgotten = next(differences) if other else None, _forgotten(study, pooled, system, metric)
        found.append(Row(dataset, system, metric, value, seeds, paper, other, difference, forgotten, again))
    return found


def ahead(study: Study, table: Sequence[Row]) -> list[Row]:
    """What is significantly ahead of `study.best_other`, of which its parts and all others must not be."""
    own = [row for row in table if row.against == study.best_other and row.difference is not None]
    return [row for row in own if row.difference.significant and (row.difference.mean or 0) > 0]  # type: ignore[union-attr]


def as_csv(table: Sequence[Row]) -> str:
    """One line a figure; empty where there is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table:
        value, difference = row.value, row.difference
        line = [row.dataset, row.system, row.metric, value.mean, value.low, value.high, value.instances]
        line += [" ".join(map(str, row.seeds)), row.paper, row.against]
        line += [difference.mean, difference.low, difference.high, difference.verdict] if difference else [None] * 4
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in [*line, row.forgotten]])
    return text.getvalue()


def _other(study: Study, pooled: Pool, system: str, metric: str) -> str | None:
    if system == study.best_other:
        return _best_other(study, pooled, metric)
    other = study.against.get(system)
    if study.parts is not None and system not in study.aside:
        other = study.best_other
    return other if other in pooled.values and metric in pooled.values[str(other)] else None


def _best_other(study: Study, pooled: Pool, metric: str, among: Sequence[str] | None = None) -> str | None:
    """The best of all others, or of those `among` them, by its mean on test: the hardest choice, with hindsight."""
    own = pooled.values[str(study.best_other)][metric]
    rivals = {}
    for name, metrics in pooled.values.items():
        if not study.rival(name) or metric not in metrics or (among is not None and name not in among):
            continue
        both = ~np.isnan(own) & ~np.isnan(metrics[metric])
        if both.any():
            rivals[name] = float(metrics[metric][both].mean())
    return max(rivals, key=rivals.__getitem__) if rivals else None


def _forgotten(study: Study, pooled: Pool, system: str, metric: str) -> float | None:
    """1 - figure / reference's figure."""
    if study.forgetting is None or system == study.forgetting or study.forgetting not in pooled.values:
        return None
    before = float(np.nanmean(pooled.values[study.forgetting][metric]))
    return 1 - float(np.nanmean(pooled.values[system][metric])) / before if before else None
