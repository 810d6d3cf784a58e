"""Stage: every system's lists to `hits.parquet` and `metrics.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from conrec.baselines.base import Recommender, TrainingData, training_data
from conrec.baselines.trivial import trivial_systems
from conrec.baselines.with_prior import WithPrior
from conrec.config import Recipe
from conrec.data.instances import Instances, Items
from conrec.evaluate.compare import pooled
from conrec.evaluate.protocol import (
    OURS,
    Hits,
    Outputs,
    count_hits,
    read_candidates,
    read_oracle,
    read_outputs,
    summarise,
    validity,
    write_hits,
)
from conrec.features.prepared_log import PreparedLog
from conrec.progress import track
from conrec.report.curves import training_order

SPLITS = ("validation", "test")


def evaluate(recipe: Recipe, log: PreparedLog, predicted: list[Path], filtered: list[Path], out: Path) -> None:
    """Write `hits.parquet` (per instance) and `metrics.json` (the table) into `out`.

    predicted: one `predict/seedN` folder per seed (none: only the baselines are measured); filtered: the
    `filter/seedN` folders, whose replay goes into the table as it is.
    """
    k = recipe.evaluate.k
    items, known = log.items, training_data(log)
    held_out = {split: log.instances.of_split(split) for split in SPLITS}
    outputs = {split: ours(predicted, held_out[split], items, k) for split in SPLITS}
    systems = trivial_systems(recipe.predict.prior_days, recipe.predict.prior_smoothing)
    candidates = {split: read_candidates(log.prepared, held_out[split], items) for split in SPLITS}
    weights = {}
    for system in track(systems, "baselines"):
        system.fit(known)
        if isinstance(system, WithPrior):
            tried = system.tune(held_out["validation"], k)
            ranked = system.tune_candidates(held_out["validation"], candidates["validation"])
            weights[system.name] = {
                "weight": system.weight,
                f"validation FHR@{k}": tried,
                "candidate_weight": system.candidate_weight,
                "validation CandAcc": ranked,
            }
        for split in SPLITS:
            outputs[split][system.name] = {0: theirs(system, held_out[split], candidates[split], k)}
    for split in SPLITS:
        oracle = read_oracle(log.prepared, held_out[split], items, k)
        if oracle is not None:
            outputs[split]["oracle"] = {0: oracle}

    hits = {split: count_hits(outputs[split], held_out[split], known.knowledge) for split in SPLITS}
    tables = {
        split: summarise(hits[split], held_out[split].users, recipe.evaluate.bootstrap, recipe.evaluate.seed)
        for split in SPLITS
    }
    out.mkdir(parents=True, exist_ok=True)
    write_hits(out / "hits.parquet", hits, held_out)
    metrics = {
        "dataset": recipe.name,
        "split_mode": recipe.split.mode,
        "fold": recipe.split.fold if recipe.split.mode == "users" else None,
        "protocol": {
            "horizon_days": recipe.split.horizon_days,
            "k": k,
            "instances": _instances(hits["test"]),
            "seeds": [_seed(folder) for folder in predicted],
            "bootstrap": recipe.evaluate.bootstrap,
        },
        "systems": tables["test"]["systems"],
        "comparisons": tables["test"]["comparisons"],
        "stages": _stages(tables["validation"]) | {"test": _stages(tables["test"])},
        "validity": _validity(outputs["test"].get(OURS, {}), held_out["test"], known),
        "oracle_share": tables["test"]["oracle_share"],
        "validation": {
            "instances": _instances(hits["validation"]),
            "validity": _validity(outputs["validation"].get(OURS, {}), held_out["validation"], known),
            **{name: tables["validation"][name] for name in ("systems", "comparisons", "oracle_share")},
        },
        "prior_weights": weights,
        "filter": _filter(filtered),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")


def ours(predicted: list[Path], instances: Instances, items: Items, k: int) -> dict[str, dict[int, Outputs]]:
    """CoNRec and, as `conrec/<stage>`, its earlier stages, for each seed."""
    result: dict[str, dict[int, Outputs]] = {}
    for folder in predicted:
        seed = _seed(folder)
        result.setdefault(OURS, {})[seed] = read_outputs(folder / "predictions.parquet", instances, items, k)
        for path in sorted((folder / "stages").glob("*.parquet"), key=lambda path: training_order(path.stem)):
            result.setdefault(f"{OURS}/{path.stem}", {})[seed] = read_outputs(path, instances, items, k, some=True)
    return result


def theirs(system: Recommender, instances: Instances, candidates: np.ndarray, k: int) -> Outputs:
    """A baseline's lists and candidate scores."""
    scores = system.score_candidates(instances, candidates).astype(np.float64)
    scores[(candidates < 0).all(axis=1)] = np.nan
    return Outputs(system.recommend(instances, k), {"CandAcc": scores})


def _validity(outputs: dict[int, Outputs], instances: Instances, known: TrainingData) -> dict[str, Any]:
    """Of all seeds' lists together."""
    if not outputs:
        return {}
    seeds = [validity(output.lists, instances, known.knowledge) for output in outputs.values()]
    return {
        key: None if any(one[key] is None for one in seeds) else float(np.mean([one[key] for one in seeds]))
        for key in seeds[0]
    }


def _instances(hits: Hits) -> dict[str, int]:
    """Metric -> number of instances that count."""
    counts: dict[str, int] = {}
    for seeds in hits.values():
        for metrics in seeds.values():
            for metric, values in metrics.items():
                counts[metric] = max(counts.get(metric, 0), int((~np.isnan(values)).sum()))
    return counts


def _stages(table: dict[str, Any]) -> dict[str, Any]:
    """stage -> metric -> figure, with `difference` to the warm-up and `difference_to_<stage>` to others."""
    stages = {stage: dict(figures) for stage, figures in table["stages"].items()}
    for name, differences in table["stage_differences"].items():
        stage, other = name.split("-")
        stages[stage]["difference" if other == "warmup" else f"difference_to_{other}"] = differences
    return stages


def _filter(filtered: list[Path]) -> dict[str, Any] | None:
    """The replay on test: CoNRec's scalars are means over seeds (also listed), its curve is the first seed's.

    What CoNRec avoids, with intervals and against the others, is of all seeds together.
    """
    if not filtered:
        return None
    reports = [json.loads((folder / "replay.json").read_text()) for folder in filtered]
    result = {**reports[0]["test"], "likes_lost_budget": reports[0]["likes_lost"]}
    if len(filtered) > 1:
        result |= pooled(filtered, "test")
    conrec = [report["test"]["systems"][OURS] for report in reports]
    result["systems"] = {**result["systems"], OURS: _mean(conrec)}
    result["chosen"] = result["systems"][OURS]["chosen"]
    result["events"] = conrec[0]["events"]
    result["seeds"] = [
        {"seed": report["seed"], "threshold": report["threshold"], "auc": one["auc"], "at": one["at"]}
        for report, one in zip(reports, conrec)
    ]
    return result


def _mean(values: list[Any]) -> Any:
    """Mean of numbers, and of dicts of numbers key by key; of all else (lists, None) the first."""
    if all(isinstance(value, dict) for value in values):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    if all(isinstance(value, int | float) for value in values):
        return sum(values) / len(values) if len(set(values)) > 1 else values[0]
    return values[0]


def _seed(folder: Path) -> int:
    """3 for `.../seed3`."""
    return int(folder.name.split(".")[0].removeprefix("seed"))
