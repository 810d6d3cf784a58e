"""Protocol of the evaluation: predictions become numbers on one set of instances, counted alike for all systems.

A system's figure per instance is first averaged over its seeds; users are resampled after that. Two systems are
compared on the instances that count for both.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.distractors import rows_of
from conrec.data.instances import Instances, Items
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError
from conrec.evaluate.bootstrap import bootstrap
from conrec.evaluate.metrics import all_metrics, rare_future
from conrec.evaluate.results import Difference, Differences, Figure, Figures, SplitMetrics, StageFigures, Validity
from conrec.files import readable

OURS = "conrec"
USERS_AT_ONCE = 256


def is_ours(system: str) -> bool:
    """Whether a system is CoNRec, one of its training stages (`conrec/stage1`), or made of a part of it
    (`conrec_paper`, the paper's filter on its lists)."""
    return system.startswith(OURS)


@dataclass(frozen=True)
class Outputs:
    """Predictions of one system, with one seed, for some instances."""

    lists: np.ndarray
    """int32 [B, k] item rows, best first, -1 for none."""
    candidates: dict[str, np.ndarray] = field(default_factory=dict)
    """Candidate scores: name of the accuracy -> float [B, c], the true next first; NaN rows have no candidates."""
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    """Metrics that the system measured itself (rewards after each stage): name -> float [B], NaN where it did not."""
    asked: np.ndarray | None = None
    """bool [B]: instances that have a prediction, which alone count; None: all."""


Hits = dict[str, dict[int, dict[str, np.ndarray]]]
"""system -> seed -> metric -> float32 [B], NaN where the instance does not count."""


def count_hits(outputs: dict[str, dict[int, Outputs]], instances: Instances, knowledge: Knowledge) -> Hits:
    """Every metric of every system and seed, per instance."""
    rare = rare_future(instances, knowledge)
    hits: Hits = {}
    for system, seeds in outputs.items():
        for seed, output in seeds.items():
            asked = True if output.asked is None else output.asked
            metrics = all_metrics(output.lists, instances, rare, output.candidates)
            counted = {
                name: np.where(mask & asked, value, np.nan).astype(np.float32)
                for name, (mask, value) in metrics.items()
            }
            hits.setdefault(system, {})[seed] = counted | output.measured
    return hits


def summarise(hits: Hits, users: np.ndarray, draws: int, seed: int) -> SplitMetrics:
    """Means, intervals, and paired differences of one split.

    `conrec/<stage>` becomes a stage, compared with the first stage and with the one before. users: [B] owner of each
    instance; draws, seed: of the bootstrap.
    """
    of_seeds = {system: list(seeds.values()) for system, seeds in hits.items()}
    means = {
        system: {metric: np.mean([one[metric] for one in own], axis=0) for metric in own[0]}
        for system, own in of_seeds.items()
    }
    # (system, "", metric) for a figure, (first, second, metric) for a difference; all share the bootstrap's draws.
    columns = {(system, "", metric): values for system, metrics in means.items() for metric, values in metrics.items()}
    pairs = [(OURS, system) for system in means if "/" not in system]
    ours = f"{OURS}/"
    stages = [system for system in means if system.startswith(ours)]
    pairs += dict.fromkeys([(later, stages[0]) for later in stages[1:]] + list(zip(stages[1:], stages)))
    for first, second in pairs:
        if first == second or first not in means or second not in means:
            continue
        for metric in means[first]:
            if metric in means[second]:
                columns[first, second, metric] = means[first][metric] - means[second][metric]

    table = np.column_stack(list(columns.values())) if columns else np.zeros((len(users), 0))
    figures: dict[str, Figures] = {}
    differences: dict[str, dict[str, Differences]] = {}
    for (first, second, metric), estimate in zip(columns, bootstrap(users, table, draws, seed)):
        interval = estimate.low, estimate.high
        if second:
            one = Difference(estimate.mean, interval, estimate.verdict, estimate.instances)
            differences.setdefault(first, {}).setdefault(second, {})[metric] = one
        else:
            values = [own[metric] for own in of_seeds[first]]
            means_of = [None if np.isnan(one).all() else float(np.nanmean(one)) for one in values]
            figures.setdefault(first, {})[metric] = Figure(estimate.mean, interval, means_of, estimate.instances)
    of_stages = {}
    for stage in stages:
        gains = {second.removeprefix(ours): found for second, found in differences.get(stage, {}).items()}
        of_stages[stage.removeprefix(ours)] = StageFigures(figures[stage], gains)
    systems = {system: metrics for system, metrics in figures.items() if system not in stages}
    return SplitMetrics(systems=systems, comparisons=differences.get(OURS, {}), stages=of_stages)


def validity(lists: np.ndarray, instances: Instances, knowledge: Knowledge) -> Validity:
    """Whether predicted items may be recommended, lists repeat no item, and all k places are filled, as shares.

    lists: int32 [B, k], -1 for an empty place and -2 for an id that is no item.
    """
    named = lists != -1
    allowed = lists >= 0
    for cutoff in np.unique(instances.cutoffs):
        here = instances.cutoffs == cutoff
        allowed[here] &= knowledge.on_offer(cutoff)[np.maximum(lists[here], 0)]
    width = knowledge.items
    for start in range(0, len(lists), USERS_AT_ONCE):
        part = np.arange(start, min(start + USERS_AT_ONCE, len(lists)))
        excluded = knowledge.excluded(instances.take(part))
        allowed[part] &= ~np.isin(
            part[:, None] * width + lists[part], (start + excluded.owners) * width + excluded.values
        )
    ordered = np.sort(lists, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != -1)).any(axis=1)
    return Validity(
        valid=float(allowed[named].mean()) if named.any() else None,
        unique=float(1 - twice.mean()) if len(lists) else None,
        filled=float(named.mean()) if lists.size else None,
    )


def read_outputs(path: Path, instances: Instances, items: Items, k: int, *, some: bool = False) -> Outputs:
    """Predictions for exactly these instances, from `predict/seedN/predictions.parquet` or one of its stages.

    Ids that are no items become -2. ConrecError where an instance has no prediction, unless `some` says that only
    some were predicted for.
    """
    with readable(path, "the predict"):
        table = pq.read_table(path)
    where = pc.index_in(pa.array(instances.ids), value_set=table["instance_id"].combine_chunks())
    absent = where.is_null().to_numpy(zero_copy_only=False)
    if absent.any() and not some:
        missing = instances.ids[np.flatnonzero(absent)[0]]
        raise ConrecError(
            f"{path}: no prediction for instance {missing} and {where.null_count - 1} more; run the predict stage again"
        )
    table = table.take(where)
    scores = (("CandAcc", "candidate_scores"), ("CandAcc_filter", "candidate_filter_scores"))
    there = table.column_names
    candidates = {name: _padded(table[column].to_pylist()) for name, column in scores if column in there}
    measured = {"reward": table["reward"].to_numpy().astype(np.float32)} if "reward" in there else {}
    return Outputs(rows_of(table["items"], items.ids, k), candidates, measured, ~absent)


def read_oracle(prepared: Path, instances: Instances, items: Items, k: int) -> Outputs | None:
    """Predictions of the oracle, by the simulator's true chances; None where the data is real."""
    path = prepared / "truth.parquet"
    return read_outputs(path, instances, items, k) if path.exists() else None


def write_hits(path: Path, hits: dict[str, Hits], instances: dict[str, Instances]) -> None:
    """Write hits.parquet: split, system, seed, instance_id, user_id, metric, value. Only what counts is in it."""
    parts = []
    for split, systems in hits.items():
        here = instances[split]
        cells = [(system, seed, metrics) for system, seeds in systems.items() for seed, metrics in seeds.items()]
        for system, seed, metrics in cells:
            for metric, values in metrics.items():
                rows = np.flatnonzero(~np.isnan(values))
                columns = {
                    "split": pa.repeat(split, len(rows)),
                    "system": pa.repeat(system, len(rows)),
                    "seed": pa.repeat(seed, len(rows)),
                    "instance_id": pa.array(here.ids[rows], pa.int64()),
                    "user_id": pa.array(here.users[rows].tolist(), pa.string()),
                    "metric": pa.repeat(metric, len(rows)),
                    "value": pa.array(values[rows], pa.float32()),
                }
                parts.append(pa.table(columns))
    pq.write_table(pa.concat_tables(parts), path, compression="zstd")


def _padded(lists: list[list[float] | None]) -> np.ndarray:
    """float64 [B, longest]: a shorter list ends in -inf (never the best), a missing one is NaN."""
    width = max((len(values) for values in lists if values), default=0)
    result = np.full((len(lists), width), np.nan)
    for row, values in zip(result, lists):
        if values:
            row[:] = -np.inf
            row[: len(values)] = values
    return result
