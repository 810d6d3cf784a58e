"""Stage 1: a log becomes items, events, instances and candidate sets; nothing later reads the log itself."""

from __future__ import annotations

from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.clean import clean, with_first_seen, without_leaps
from conrec.data.distractors import candidates_table
from conrec.data.instances import as_events, as_items, instances_table
from conrec.data.schema import Log, check_events, check_items
from conrec.data.sources import Tables
from conrec.data.split import SPLITS, describe_split, plan_split
from conrec.data.windows import make_instances
from conrec.errors import ConrecError
from conrec.files import write_json
from conrec.pipeline.job import Job
from conrec.progress import say

if TYPE_CHECKING:
    from conrec.simulate import Simulation

CANDIDATES = 20
"""Size of CandAcc's candidate sets: the true next dislike, the rest distractors."""


def prepare(job: Job, for_lists: bool = True) -> None:
    """Read the log that the recipe names (or simulate it) and write:

    items.parquet, events.parquet, instances.parquet, candidates.parquet, split.json, accounting.json, rejected.parquet
    (the rows that were dropped), and of a simulated log images/, truth.parquet (in time mode: of midnights),
    truth_interests.parquet and truth_items.parquet. Without `for_lists` what nothing but lists is learned from and
    judged by is left out: training instances, candidate sets.
    Raises ConrecError for a log that is missing, malformed or too small.
    """
    recipe, data, images, out = job.recipe, job.data, job.images, job.out
    simulation = None
    if recipe.data.simulated:
        from conrec.simulate import simulate

        if recipe.split.pool != "all":  # the oracle is of such a platform
            raise ConrecError('split.pool = "category": the simulated platform offers everything; leave it out')
        simulation = simulate(recipe.simulate, out / "images")
        log = simulation.log
    else:
        log = _read(recipe, data, images)
        log = log if job.pseudonyms is None else log.with_users(job.pseudonyms)
    source = "the simulation" if data is None else str(data)
    log = Log(check_items(log.items, f"{source}: items"), check_events(log.events, f"{source}: events"), log.accounting)
    if not len(log.events):
        raise ConrecError(f"{source}: the log holds no events; dropped while reading: {dict(log.accounting.dropped)}")

    if recipe.split.mode == "time":
        log = without_leaps(log)
    items = with_first_seen(log.items, log.events).sort_by("item_id")
    log = clean(log, recipe.data.min_user_dislikes)
    catalogue = as_items(items)
    events = as_events(log.events, catalogue)
    split = plan_split(events, recipe.split)
    made, dropped = make_instances(events, catalogue, split, recipe.split, SPLITS if for_lists else SPLITS[1:])
    instances = instances_table(made, catalogue)

    pq.write_table(items, out / "items.parquet")
    pq.write_table(log.events, out / "events.parquet")
    pq.write_table(instances, out / "instances.parquet")
    candidates = None
    if for_lists:
        excluded = partial(split.knowledge(catalogue, events).excluded, include_unseen=True)
        candidates = candidates_table(events, catalogue, made, CANDIDATES, recipe.split.seed, excluded)
        pq.write_table(candidates, out / "candidates.parquet")
    description = describe_split(split, recipe.split, Counter(made.split.tolist()), dropped)
    for name, table in (("split", description), ("accounting", log.accounting.to_json())):
        write_json(out / f"{name}.json", table)
    pq.write_table(log.accounting.all_rejected(), out / "rejected.parquet")
    if simulation is not None:
        pq.write_table(simulation.interests, out / "truth_interests.parquet")
        pq.write_table(simulation.true_fields.sort_by("item_id"), out / "truth_items.parquet")
        if recipe.split.mode == "time" and candidates is not None:
            pq.write_table(_truth(simulation, instances, candidates, recipe), out / "truth.parquet")
    counts = ", ".join(f"{n:,} {name}" for name, n in description["counts"].items() if n or for_lists)
    say(f"prepare: {len(items):,} items, {len(log.events):,} events; instances: {counts}")


def _read(recipe: Recipe, data: Path | Tables | None, images: Path | None) -> Log:
    adapter = recipe.data.adapter
    if data is None:
        raise ConrecError(f'data.adapter = "{adapter}" reads files: say where they are with --data')
    if adapter != "generic" and isinstance(data, Tables):
        raise ConrecError(f'{data}: data.adapter = "{adapter}" reads its own files; give their folder')
    if images is not None and not images.exists():
        raise ConrecError(f"{images}: there is no such file or folder; --images must name the pictures")
    log: Log = import_module(f"conrec.data.adapters.{adapter}").read(data, recipe.data, images)
    return log


def _truth(simulation: Simulation, instances: pa.Table, candidates: pa.Table, recipe: Recipe) -> pa.Table:
    """What nobody could predict better, of the validation and test instances, in the columns of predictions.parquet:
    the best lists, and the candidates' true chances of being disliked."""
    asked = instances.filter(pc.not_equal(instances["split"], "train"))
    users, cutoffs = asked["user_id"].to_pylist(), asked["cutoff"].cast(pa.timestamp("us")).to_numpy()
    lists = simulation.oracle(users, cutoffs, recipe.split.horizon_days, recipe.evaluate.k)
    shown = dict(zip(candidates["instance_id"].to_pylist(), candidates["candidates"].to_pylist()))
    chances = simulation.dislike_chances(users, [shown.get(n, []) for n in asked["instance_id"].to_pylist()])
    columns = {
        "instance_id": asked["instance_id"],
        "items": pa.array(lists, pa.list_(pa.string())),
        "candidate_scores": pa.array([one or None for one in chances], pa.list_(pa.float64())),
    }
    return pa.table(columns)
