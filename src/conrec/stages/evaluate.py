"""Stage: measure every system's lists, to `hits.parquet` and `metrics.json`."""

from pathlib import Path

import msgspec
import numpy as np

from conrec.baselines.base import Recommender, TrainingData, training_data
from conrec.baselines.trivial import trivial_systems
from conrec.baselines.with_prior import WithPrior
from conrec.data.distractors import read_candidates
from conrec.data.instances import Instances, Items
from conrec.evaluate import protocol
from conrec.evaluate.compare import filter_metrics
from conrec.evaluate.protocol import OURS, Hits, Outputs, read_outputs
from conrec.evaluate.results import Metrics, PriorWeight, Protocol, SplitMetrics, Validity, write
from conrec.pipeline.job import Job
from conrec.progress import track
from conrec.report.curves import training_order

SPLITS = ("validation", "test")
BOOTSTRAP_SEED = 0


def evaluate(job: Job) -> None:
    """Write `hits.parquet` (a row an instance) and `metrics.json` (`evaluate.results.Metrics`).

    The replays on test of all seeds are pooled. Without seeds only the baselines are measured.
    """
    recipe, log, out = job.recipe, job.log, job.out
    predicted, filtered = job.of_seeds("predict"), job.of_seeds("filter")
    k = recipe.evaluate.k
    items, known = log.items, training_data(log)
    held_out = {split: log.instances.of_split(split) for split in SPLITS}
    outputs = {split: ours(predicted, held_out[split], items, k) for split in SPLITS}
    systems = trivial_systems(recipe.predict.prior_days, recipe.predict.prior_smoothing)
    candidates = {split: read_candidates(log.prepared, held_out[split], items) for split in SPLITS}
    weights, part = {}, held_out["validation"]
    for system in track(systems, "baselines"):
        system.fit(known)
        if isinstance(system, WithPrior):
            both = system.tune(part, k), system.tune_candidates(part, candidates["validation"])
            tried, ranked = ({str(weight): value for weight, value in one.items()} for one in both)
            weights[system.name] = PriorWeight(system.weight, tried, system.candidate_weight, ranked)
        for split in SPLITS:
            outputs[split][system.name] = {0: theirs(system, held_out[split], candidates[split], k)}
    for split in SPLITS:
        if (oracle := protocol.read_oracle(log.prepared, held_out[split], items, k)) is not None:
            outputs[split]["oracle"] = {0: oracle}

    hits = {split: protocol.count_hits(outputs[split], held_out[split], known.knowledge) for split in SPLITS}
    tables: dict[str, SplitMetrics] = {}
    for split in SPLITS:
        table = protocol.summarise(hits[split], held_out[split].users, recipe.evaluate.bootstrap, BOOTSTRAP_SEED)
        counts, quality = _instances(hits[split]), _validity(outputs[split].get(OURS, {}), held_out[split], known)
        tables[split] = msgspec.structs.replace(table, instances=counts, validity=quality)
    protocol.write_hits(out / "hits.parquet", hits, held_out)
    metrics = Metrics(
        **msgspec.structs.asdict(tables["test"]),
        dataset=recipe.name,
        split_mode=recipe.split.mode,
        fold=recipe.split.fold if recipe.split.mode == "users" else None,
        protocol=Protocol(recipe.split.horizon_days, k, [*map(_seed, predicted)], recipe.evaluate.bootstrap),
        validation=tables["validation"],
        prior_weights=weights,
        filter=filter_metrics(filtered),
    )
    write(out / "metrics.json", metrics)


def ours(predicted: list[Path], instances: Instances, items: Items, k: int) -> dict[str, dict[int, Outputs]]:
    """CoNRec, as `conrec_FEATURE` each item feature by itself, and as `conrec/<stage>` its earlier stages, for each
    seed."""
    result: dict[str, dict[int, Outputs]] = {}
    for folder in predicted:
        seed = _seed(folder)
        result.setdefault(OURS, {})[seed] = read_outputs(folder / "predictions.parquet", instances, items, k)
        for path in sorted((folder / "alone").glob("*.parquet")):
            result.setdefault(f"{OURS}_{path.stem}", {})[seed] = read_outputs(path, instances, items, k)
        for path in sorted((folder / "stages").glob("*.parquet"), key=lambda path: training_order(path.stem)):
            result.setdefault(f"{OURS}/{path.stem}", {})[seed] = read_outputs(path, instances, items, k, some=True)
    return result


def theirs(system: Recommender, instances: Instances, candidates: np.ndarray, k: int) -> Outputs:
    scores = system.score_candidates(instances, candidates).astype(np.float64)
    scores[(candidates < 0).all(axis=1)] = np.nan
    return Outputs(system.recommend(instances, k), {"CandAcc": scores})


def _validity(outputs: dict[int, Outputs], instances: Instances, known: TrainingData) -> Validity | None:
    """Validity of CoNRec's lists, mean over seeds; None without predictions."""
    if not outputs:
        return None
    seeds = [protocol.validity(output.lists, instances, known.knowledge) for output in outputs.values()]
    columns = zip(*map(msgspec.structs.astuple, seeds))
    return Validity(*(None if None in column else float(np.mean(column)) for column in columns))


def _instances(hits: Hits) -> dict[str, int]:
    counts: dict[str, int] = {}
    for seeds in hits.values():
        for metrics in seeds.values():
            for metric, values in metrics.items():
                counts[metric] = max(counts.get(metric, 0), int((~np.isnan(values)).sum()))
    return counts


def _seed(folder: Path) -> int:
    """3 for `.../seed3`."""
    return int(folder.name.split(".")[0].removeprefix("seed"))
