"""From what the systems said to the numbers of the table: one set of instances, one way of counting for all.

A system's figure per instance is first averaged over its seeds; users are resampled after that. Two systems are
compared on the instances that count for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.instances import Instances, Items
from conrec.data.knowledge import Knowledge
from conrec.errors import ConrecError
from conrec.evaluate.bootstrap import Estimate, bootstrap
from conrec.evaluate.metrics import all_metrics, rare_future

OURS = "conrec"


def is_ours(system: str) -> bool:
    """CoNRec itself, one of its training stages (`conrec/stage1`), or a part of its score (`conrec_history`)."""
    return system.startswith(OURS)


@dataclass(frozen=True)
class Outputs:
    """What one system (with one seed) said about some instances."""

    lists: np.ndarray
    """int32 [B, k] item rows, best first, -1 for none."""
    candidates: dict[str, np.ndarray] = field(default_factory=dict)
    """Name of a candidate accuracy -> float [B, c], the true next first; NaN rows have no candidates."""
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    """What the system measured itself, by name: float [B], NaN where it did not (the reward after each stage)."""
    asked: np.ndarray | None = None
    """bool [B]: the instances that it was asked about, which alone count; None: all."""


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


def summarise(hits: Hits, users: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    """Means, intervals and paired differences, ready for JSON.

    `systems`: system -> metric -> {mean, ci95, seeds (the mean of each seed), instances}; `comparisons`: system ->
    metric -> {difference, ci95, significant, verdict} of `conrec` minus it; `stages` and `stage_differences`
    likewise for `conrec/<stage>`, each minus the first and minus the one before;
    `oracle_share`: system -> metric -> mean / the oracle's mean.
    """
    means = {
        system: {
            metric: np.mean([one[metric] for one in seeds.values()], axis=0) for metric in next(iter(seeds.values()))
        }
        for system, seeds in hits.items()
    }
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for system, metrics in means.items():
        for metric, values in metrics.items():
            columns["systems", system, metric] = values
    pairs = [("comparisons", system, OURS, system) for system in means if "/" not in system]
    stages = [system for system in means if system.startswith(f"{OURS}/")]
    earlier = dict.fromkeys([(later, stages[0]) for later in stages[1:]] + list(zip(stages[1:], stages)))
    pairs += [("stage_differences", f"{_stage(a)}-{_stage(b)}", a, b) for a, b in earlier]
    for group, name, first, second in pairs:
        if first == second or first not in means or second not in means:
            continue
        for metric in means[first]:
            if metric in means[second]:
                columns[group, name, metric] = means[first][metric] - means[second][metric]

    table = np.column_stack(list(columns.values())) if columns else np.zeros((len(users), 0))
    result: dict[str, Any] = {
        group: {} for group in ("systems", "comparisons", "stages", "stage_differences", "oracle_share")
    }
    for (group, name, metric), estimate in zip(columns, bootstrap(users, table, draws, seed)):
        if group != "systems":
            result[group].setdefault(name, {})[metric] = {
                "difference": estimate.mean,
                "ci95": [estimate.low, estimate.high],
                "significant": estimate.significant,
                "verdict": estimate.verdict,
                "instances": estimate.instances,
            }
            continue
        place = result["stages"] if name.startswith(f"{OURS}/") else result["systems"]
        place.setdefault(_stage(name), {})[metric] = _figure(estimate, hits[name], metric)
    oracle = result["systems"].get("oracle", {})
    for system, metrics in result["systems"].items():
        shares = {
            metric: metrics[metric]["mean"] / best["mean"]
            for metric, best in oracle.items()
            if best["mean"] and metrics.get(metric, {}).get("mean") is not None
        }
        if shares:
            result["oracle_share"][system] = shares
    return result


def _stage(system: str) -> str:
    """`conrec/stage1` -> `stage1`."""
    return system.removeprefix(f"{OURS}/")


def _figure(estimate: Estimate, seeds: dict[int, dict[str, np.ndarray]], metric: str) -> dict[str, Any]:
    """One cell of the table."""
    return {
        "mean": estimate.mean,
        "ci95": [estimate.low, estimate.high],
        "seeds": [
            float(np.nanmean(one[metric])) if not np.isnan(one[metric]).all() else None for one in seeds.values()
        ],
        "instances": estimate.instances,
    }


def validity(lists: np.ndarray, instances: Instances, knowledge: Knowledge) -> dict[str, float | None]:
    """Shares that must be 1: of named items that may be named (on offer, not judged before), of lists with no item
    twice; and how many of the k places are filled. None where nothing was named.

    lists: int32 [B, k], -1 for an empty place and -2 for an id that is no item.
    """
    named = lists != -1
    allowed = lists >= 0
    for cutoff in np.unique(instances.cutoffs):
        here = instances.cutoffs == cutoff
        allowed[here] &= knowledge.on_offer(cutoff)[np.maximum(lists[here], 0)]
    width = knowledge.items
    seen = instances.seen.owners * width + instances.seen.values
    allowed &= ~np.isin(np.arange(len(lists))[:, None] * width + lists, seen)
    ordered = np.sort(lists, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != -1)).any(axis=1)
    return {
        "valid": float(allowed[named].mean()) if named.any() else None,
        "unique": float(1 - twice.mean()) if len(lists) else None,
        "filled": float(named.mean()) if lists.size else None,
    }


def read_outputs(path: Path, instances: Instances, items: Items, k: int, *, some: bool = False) -> Outputs:
    """Predictions (`predict/seedN/predictions.parquet` or one of its stages) for exactly these instances.

    Ids that are no items become -2. ConrecError where an instance has no prediction, unless `some` says that not all
    were asked about.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConrecError(f"{path}: no readable predictions ({error}); run the predict stage again") from error
    where = pc.index_in(pa.array(instances.ids), value_set=table["instance_id"].combine_chunks())
    absent = where.is_null().to_numpy(zero_copy_only=False)
    if absent.any() and not some:
        missing = instances.ids[np.flatnonzero(absent)[0]]
        raise ConrecError(
            f"{path}: no prediction for instance {missing} and {where.null_count - 1} more; run the predict stage again"
        )
    table = table.take(where)
    candidates = {}
    for name, column in (("CandAcc", "candidate_scores"), ("CandAcc_filter", "candidate_filter_scores")):
        if column in table.column_names:
            candidates[name] = _padded(table[column].to_pylist())
    measured = {}
    if "reward" in table.column_names:
        measured["reward"] = table["reward"].to_numpy().astype(np.float32)
    return Outputs(rows_of(table["items"], items, k), candidates, measured, ~absent)


def rows_of(lists: pa.ChunkedArray, items: Items, k: int) -> np.ndarray:
    """Lists of item ids as int32 [B, k] rows, cut or filled with -1; -2 for an id that is no item."""
    row_of = {item: row for row, item in enumerate(items.ids)}
    result = np.full((len(lists), k), -1, np.int32)
    for n, ids in enumerate(lists.to_pylist()):
        rows = [row_of.get(item, -2) for item in (ids or [])[:k]]
        result[n, : len(rows)] = rows
    return result


def read_candidates(prepared: Path, instances: Instances, items: Items) -> np.ndarray:
    """int32 [B, c]: the candidates of each instance, the true next first; rows of -1 where there are none."""
    table = pq.read_table(prepared / "candidates.parquet")
    lists = dict(zip(table["instance_id"].to_pylist(), table["candidates"].to_pylist()))
    width = max((len(ids) for ids in lists.values()), default=0)
    chosen = pa.chunked_array([pa.array([lists.get(n, []) for n in instances.ids.tolist()], pa.list_(pa.string()))])
    return rows_of(chosen, items, width)


def read_oracle(prepared: Path, instances: Instances, items: Items, k: int) -> Outputs | None:
    """The simulator's truth: the best lists, and candidates by their true chances; None where the data is real."""
    path = prepared / "truth.parquet"
    return read_outputs(path, instances, items, k) if path.exists() else None


def write_hits(path: Path, hits: dict[str, Hits], instances: dict[str, Instances]) -> None:
    """hits.parquet: split, system, seed, instance_id, user_id, metric, value - only what counts."""
    parts = []
    for split, systems in hits.items():
        here = instances[split]
        for system, seeds in systems.items():
            for seed, metrics in seeds.items():
                for metric, values in metrics.items():
                    rows = np.flatnonzero(~np.isnan(values))
                    parts.append(
                        pa.table(
                            {
                                "split": pa.array([split] * len(rows), pa.string()),
                                "system": pa.array([system] * len(rows), pa.string()),
                                "seed": pa.array(np.full(len(rows), seed), pa.int64()),
                                "instance_id": pa.array(here.ids[rows], pa.int64()),
                                "user_id": pa.array(here.users[rows].tolist(), pa.string()),
                                "metric": pa.array([metric] * len(rows), pa.string()),
                                "value": pa.array(values[rows], pa.float32()),
                            }
                        )
                    )
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
