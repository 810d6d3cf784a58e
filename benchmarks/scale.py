"""Growth of every stage that needs no language model: seconds and memory on logs ever ten times as large.

    python -m benchmarks.scale 10000 100000 1000000 --out runs/scale
    python -m benchmarks.scale 300000 --users 150000 --items 3000 --out runs/scale
    python -m benchmarks.scale --out runs/scale --write benchmarks/RESULTS.md --rates src/conrec/plan/rates.toml

The first two lines measure logs of so many events, the third writes all that is in the folder: as a table of the logs
of the usual proportions, and as the rates that `conrec plan` works with. A log has a tenth as many users and a
fiftieth as many items as events, if nothing else is said, users and items Zipf-like; four events in five are exposures
without a reaction (`benchmarks.fit_log`).

`conrec fit` runs as it is, then `calibrate`, the first snapshot, and a refresh with one more day (a 180th of the log),
all in one fresh process. What it does inside is timed where it is called. In a second process come the parts that only
lists need: windows with their training instances, Swing, codes, and the trie. Logs of up to 100,000 events are also run
with lists, as `conrec run` does without a policy. Seconds are those of the processor, over
all cores. Peak memory is that of the process while the stage runs, so it holds what earlier stages left there.

Rates are fitted to all logs, to the demo, and to fifty million events (`benchmarks/scale_others.json`), none below 0,
so that relative errors are small: seconds, bytes of memory, and bytes on disk of a stage for each unit of work
(`conrec.plan.costs`).

`growth` is the slope of the logarithms of seconds and of events, over the sizes that took at least 0.2 s. n log n has
1.07 there. What is above 1.2 is marked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w
from scipy.optimize import nnls

from benchmarks.fit_log import DAYS, START, draw_log
from benchmarks.measure import in_fresh_process, machine, resident, versions
from benchmarks.results import replace_section
from conrec.files import read_json, write_json
from conrec.progress import say
from conrec.toml import read_table

EXPOSURES = 0.8
MEASURABLE, STEEP = 0.2, 1.2
EPOCHS = 5
"""Epochs of the RQ-VAE that are measured; a recipe has 60."""
WITH_LISTS = 100_000
CODES = 8192
"""Codes a level of the trie that is measured."""

HEAD = "# What stages cost for each unit of work (conrec.plan.costs): python -m benchmarks.scale --rates writes it.\n"

INSIDE = {
    "reading": "conrec.stages.prepare:_read",
    "cleaning": "conrec.stages.prepare:clean",
    "windows": "conrec.stages.prepare:make_instances",
    "embeddings": "conrec.items.encoders:JointEncoder.fit_encode",
    "traits": "conrec.items.traits:TraitEncoder.fit",
    "traits of all items": "conrec.items.traits:TraitEncoder.encode",
    "dislike rates of users": "conrec.score.feature_snapshot:RateEmbeddings.users",
}
"""What is timed inside the stages, and where its caller finds it."""


@dataclass
class Meter:
    """Seconds of the processor, seconds of the wall and peak memory of named parts, which may hold one another."""

    found: dict[str, dict[str, float]] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is inside; the same name twice adds up."""
        self._note()
        self.peaks.append(0.0)
        cpu, wall = time.process_time(), time.monotonic()
        yield
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        self._note()
        peak = self.peaks.pop()
        one = self.found.setdefault(name, {"cpu_s": 0.0, "wall_s": 0.0, "peak_mb": 0.0})
        one["cpu_s"] += cpu
        one["wall_s"] += wall
        one["peak_mb"] = max(one["peak_mb"], peak)
        if cpu >= MEASURABLE:
            say(f"scale: {name}: {cpu:.1f} s, {peak:.0f} MB")

    def _note(self) -> None:
        """Tell the peak so far to all that is open, and let it begin anew."""
        high = resident("VmHWM") / 1e6
        self.peaks[:] = [max(one, high) for one in self.peaks]
        Path("/proc/self/clear_refs").write_text("5")

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured whenever it is called."""

        def call(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*given, **named)

        return call


def measure(events: int, out: Path, users: int, items: int) -> None:
    """Draw a log of this size, and write `out/LOG.json`: what every stage took, and on what."""
    name = f"log-{events}-{users}-{items}"
    folder = out / name
    if not (folder / "day.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        say(f"scale: drawing {events:,} events")
        in_fresh_process(_draw, folder, events, users, items)
    for run in ("run", "whole"):
        shutil.rmtree(folder / run, ignore_errors=True)
    found = {"events": events, "users": users, "items": items, "exposures": EXPOSURES, "epochs": EPOCHS}
    found |= in_fresh_process(_filter_alone, folder)
    found["lists"] = in_fresh_process(_for_lists, folder)
    found["whole"] = in_fresh_process(_whole, folder) if events <= WITH_LISTS else None
    write_json(out / f"{name}.json", {**found, "machine": machine(), "versions": versions()})


def _draw(folder: Path, events: int, users: int, items: int) -> None:
    log, catalogue = draw_log(events, users, items, exposures=EXPOSURES)
    pq.write_table(log, folder / "events.parquet")
    pq.write_table(catalogue, folder / "items.parquet")
    day = log.slice(0, max(1, events // DAYS))
    clock = day["time"].cast(pa.int64()).to_numpy() % 86_400_000_000
    moved = (START + np.timedelta64(DAYS, "D")).astype(np.int64) + clock
    time_at = day.schema.get_field_index("time")
    day = day.set_column(time_at, "time", pa.array(moved).cast(pa.timestamp("us", tz="UTC")))
    pq.write_table(day, folder / "day.parquet")


def _filter_alone(folder: Path) -> dict[str, Any]:
    """`conrec fit` and what follows it, stage by stage."""
    from conrec.config import load_recipe
    from conrec.deploy.calibrate import calibrate
    from conrec.deploy.refresh import refresh
    from conrec.run import find_recipe, run_stages, stages_of

    meter, run = Meter(), folder / "run"
    _watch(meter, INSIDE)
    recipe = load_recipe(find_recipe(Path("fit")))
    stages = [replace(one, function=meter.watched(one.name, one.function)) for one in stages_of(recipe)]
    data = [f"events={folder / 'events.parquet'}", f"items={folder / 'items.parquet'}"]
    with meter.part("conrec fit"):
        run_stages(stages, recipe, run, data, begin=True)
    with meter.part("calibrate"):
        calibrate(run, recipe)
    with meter.part("first snapshot"):
        published = refresh(run, recipe)
    with meter.part("refresh with a day"):
        again = refresh(run, recipe, events=folder / "day.parquet")
    disk = {name: _size(run / name) for name in ("prepare", "compress", "score", "filter", "snapshots")}
    told = {"published": published.users, "recomputed": again.recomputed, "log_bytes": _size(folder / "events.parquet")}
    return {"parts": meter.found, "disk_bytes": disk, **told}


def _for_lists(folder: Path) -> dict[str, Any]:
    """What is there for lists alone, on the folders of the run before."""
    from conrec.config import load_recipe
    from conrec.data.windows import make_instances
    from conrec.decode.trie import Trie
    from conrec.features.prepared_log import PreparedLog
    from conrec.items.swing import swing
    from conrec.run import find_recipe
    from conrec.sid.codebook import codebook_sizes, make_catalog
    from conrec.sid.rqvae import train_rqvae

    meter, recipe = Meter(), load_recipe(find_recipe(Path("fit")))
    log = PreparedLog(folder / "run" / "prepare", folder / "run" / "compress")
    with meter.part("the log read again"):
        items, events, split, x = log.items, log.events, log.split, log.embeddings
    with meter.part("windows, with training instances"):
        make_instances(events, items, split, recipe.split)
    learned = events.take(split.may_learn(events))
    disliked = learned.take(learned.is_dislike)
    with meter.part("Swing"):
        swing(disliked.owners()[1], disliked.items, len(items), recipe.items.swing_neighbours)
    known = split.known_items(items)
    config = replace(recipe.sid, levels=3, epochs=EPOCHS)
    sizes = codebook_sizes(len(known), config)
    with meter.part("RQ-VAE"):
        model, _ = train_rqvae(x[known], sizes, config)
    with meter.part("IDs of all items"):
        catalog, raw = make_catalog(model, items.ids, items.titles, x)
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, CODES, (len(items), 3), dtype=np.int32), axis=0)
    with meter.part("trie of a day"):
        Trie.of(codes, (CODES,) * 3).weigh(np.ones((1, len(codes))))
    moved = float((catalog.codes != raw).any(axis=1).mean())
    return {"parts": meter.found, "codes": sizes[0], "moved_by_repair": moved}


def _whole(folder: Path) -> dict[str, Any]:
    """A run with lists by item features, stage by stage."""
    from conrec.config import SidConfig, load_recipe
    from conrec.run import find_recipe, run_stages, stages_of

    meter, run = Meter(), folder / "whole"
    recipe = replace(load_recipe(find_recipe(Path("fit"))), sid=SidConfig())
    stages = [replace(one, function=meter.watched(one.name, one.function)) for one in stages_of(recipe)]
    data = [f"events={folder / 'events.parquet'}", f"items={folder / 'items.parquet'}"]
    run_stages(stages, recipe, run, data, begin=True)
    return {"parts": meter.found, "disk_bytes": {name: _size(run / name) for name in meter.found}}


def _watch(meter: Meter, places: dict[str, str]) -> None:
    for name, place in places.items():
        module, path = place.split(":")
        *above, last = path.split(".")
        owner = import_module(module)
        for one in above:
            owner = getattr(owner, one)
        setattr(owner, last, meter.watched(name, getattr(owner, last)))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)


SIZES = ("runs", "learned", "events", "users", "items")
PLANNED = {
    "prepare": ("fit", "prepare", ("events", "uncached", "users", "items")),
    "compress": ("both", "compress", ("runs", "items", "passes", "codes")),
    "score": ("both", "score", ("runs", "learned", "windowed", "items", "met")),
    "filter": ("fit", "filter", ("runs", "learned", "events", "items")),
    "snapshot": ("fit", "first snapshot", ("events", "uncached", "users", "items")),
    "weights": ("whole", "weights", ("runs", "learned", "windowed", "met")),
    "predict": ("whole", "predict", ("runs", "asked", "cells", "met")),
    "evaluate": ("whole", "evaluate", ("runs", "asked", "cells", "met")),
}
"""Stage -> which run it is measured in, as what, and the units that its seconds are per; memory and storage are per
SIZES."""


def markdown(found: list[dict[str, Any]]) -> str:
    """One table: a row a part; seconds and memory at each size, and the growth of the seconds."""
    events = [one["events"] for one in found]
    machine_told = ", ".join(f"{name} {value}" for name, value in found[-1]["machine"].items())
    lines = [
        f"{machine_told}. {EXPOSURES:.0%} of the events are exposures without a reaction; seconds of the processor, "
        f"peak memory of the process. RQ-VAE: {EPOCHS} epochs.",
        "",
        "| | " + " | ".join(f"{n:,} events" for n in events) + " | growth |",
        "|---|" + "---|" * (len(events) + 1),
        "| users, items | " + " | ".join(f"{one['users']:,}, {one['items']:,}" for one in found) + " | |",
    ]
    parts = [one["parts"] | one["lists"]["parts"] for one in found]
    for name in parts[0]:
        cells = [f"{one[name]['cpu_s']:.3g} s, {one[name]['peak_mb']:,.0f} MB" if name in one else "" for one in parts]
        steep = growth(events, [one.get(name, {}).get("cpu_s", 0.0) for one in parts])
        told = "" if steep is None else f"{steep:.2f}" + (" (!)" if steep > STEEP else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {told} |")
    disk = [f"{one['disk_bytes']['snapshots'] / 2 / one['published']:,.0f}" for one in found]
    return "\n".join([*lines, f"| snapshot, bytes a user | {' | '.join(disk)} | |"]) + "\n"


FIXED = {"codes": 2.0e-9}
"""Seconds an item and code, too few to be told apart from the rest in the logs here: the RQ-VAE of 20,000 embeddings of
160 dimensions with 512 and with 4,096 codes took 4.9 and 37.8 s."""
IDS: dict[str, Any] = {}
"""Stands for the compression of `conrec fit` together with what semantic IDs add."""


def _with_ids(one: dict[str, Any]) -> dict[str, Any]:
    more = [one["lists"]["parts"][name]["cpu_s"] for name in ("Swing", "RQ-VAE", "IDs of all items")]
    compress = one["parts"]["compress"]
    return {"parts": {"compress": compress | {"cpu_s": compress["cpu_s"] + sum(more)}}, "disk_bytes": {}}


def rates(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The tables of `conrec.plan`'s rates.toml."""
    from conrec.cli.plan import reference
    from conrec.config import SidConfig, load_recipe
    from conrec.plan.costs import Plan
    from conrec.run import find_recipe

    recipe = load_recipe(find_recipe(Path("fit")))
    tables: dict[str, Any] = {}
    for stage, (where, part, units) in PLANNED.items():
        rows, taken = [], []
        runs = [(one, None) for one in found if where != "whole"]
        runs += [(one, one["whole"]) for one in found if where != "fit" and one["whole"]]
        runs += [
            (one, IDS) for one in found if stage == "compress" and "RQ-VAE" in one.get("lists", {"parts": ()})["parts"]
        ]
        for one, whole in runs:
            there = (_with_ids(one) if whole is IDS else whole) or one
            if part not in there["parts"]:
                continue
            log = {"dislikes": 0.06 * one["events"], "likes": 0.14 * one["events"], "days": DAYS}
            log |= {name: one[name] for name in (*log, "events", "users", "items") if name in one}
            own = recipe if whole is None else replace(recipe, sid=SidConfig(epochs=EPOCHS if whole is IDS else 60))
            rows.append(Plan(own, log, {}).units)
            disk = there["disk_bytes"].get(part if part != "first snapshot" else "snapshots", 0)
            disk = disk / 2 if part == "first snapshot" else disk
            taken.append((there["parts"][part]["cpu_s"], there["parts"][part]["peak_mb"] * 1e6, disk))
        tables[stage] = {}
        for name, values in zip(("seconds", "memory", "storage"), np.array(taken).T):
            there = values > (MEASURABLE if name == "seconds" else 0)
            values, per = values[there], units if name == "seconds" else SIZES
            work = np.array([[row[unit] for unit in per] for row in rows])[there]
            known = np.array([FIXED.get(unit, 0.0) for unit in per])
            rest = np.maximum(values - work @ known, 0.05 * values)
            free = work * (known == 0)
            fitted = nnls(free / values[:, None], rest / values)[0] + known
            tables[stage][name] = {unit: float(f"{rate:.4g}") for unit, rate in zip(per, fitted) if rate}
            error = work @ fitted / values
            say(f"scale: {stage}, {name}: fitted over measured {error.min():.2f} to {error.max():.2f}")
    held = {"memory": tables["predict"]["memory"]}  # of the log, beside what the language model takes
    tables |= {"understand": held, "utilize": held}
    seconds = min(reference() for _ in range(5))
    return {"reference": round(seconds, 3), "share_of_flops": 0.4, "stages": tables}


def growth(events: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Slope of log seconds over log events where they can be measured; None where fewer than two can."""
    some = [(n, s) for n, s in zip(events, seconds) if s >= MEASURABLE]
    if len(some) < 2:
        return None
    return float(np.polyfit(*np.log(some).T, 1)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=int, nargs="*")
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("--write", type=Path, metavar="RESULTS.md")
    parser.add_argument("--rates", type=Path, metavar="TOML")
    options = parser.parse_args()
    for size in options.events:
        measure(size, options.out, options.users or max(size // 10, 100), options.items or max(size // 50, 50))
    read = sorted(map(read_json, options.out.glob("log-*.json")), key=lambda one: one["events"])
    table = markdown([one for one in read if one["users"] == one["events"] // 10 == 5 * one["items"]])
    if options.rates:
        kept = {"steps": read_table(options.rates)["steps"]} if options.rates.exists() else {}
        others = json.loads(Path(__file__).with_name("scale_others.json").read_text())
        options.rates.write_text(HEAD + tomli_w.dumps(rates([*read, *others]) | kept))
    if options.write:
        replace_section(options.write, "scale", table)
    else:
        print(table)
