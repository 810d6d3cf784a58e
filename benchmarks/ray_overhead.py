"""What Ray costs: `conrec.fit` with its work spread over 1, 2, and 4 workers, against the same without Ray.

A drawn log (`benchmarks.fit_log`) is fitted twice in one fresh process: the first time workers start and import, the
second time they are there. Two stages work in parts (docs/cluster.md): `score`, a backtest window each, and `filter`, a
day of the replay each. The others run in one process either way. Every process has one thread, as Ray gives it, so the
files of both stages must be the same to the last bit.

CPU time is that of all processes, Ray's own ones included. It tells best what Ray adds: wall time also gains from
cores, of which this machine may have fewer than there are workers. Linux.

`python -m benchmarks ray --json | python -m benchmarks.ray_overhead benchmarks/RESULTS.md` replaces the section of that
file between the lines `<!-- ray -->` and `<!-- /ray -->` (benchmarks/run.sh does it).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.fit_log import draw_log
from benchmarks.measure import in_fresh_process, machine, versions
from benchmarks.results import replace_section
from conrec.errors import extras_named
from conrec.files import file_digest, read_json

WORKERS = (None, 1, 2, 4)
"""None: the native engine, with which the others are compared."""
STAGES = ("score", "filter")


def ray_overhead(quick: bool) -> dict[str, Any]:
    """Fit a log of 200,000 events, 10,000 users and 4,000 items, or with `quick` a tenth of it on 2 workers alone."""
    part, all_workers = (10, (None, 2)) if quick else (1, WORKERS)
    sizes = 200_000 // part, 10_000 // part, 4_000 // part
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, table in zip(("events", "items"), draw_log(*sizes)):
                pq.write_table(table, Path(folder) / f"{name}.parquet")
            found = [in_fresh_process(_fit_twice, Path(folder), workers) for workers in all_workers]
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
    names = ["native" if workers is None else f"ray, {workers}" for workers in all_workers]
    digests = [one.pop("digests") for one in found]
    return {
        **dict(zip(("events", "users", "items"), sizes)),
        "engines": dict(zip(names, found)),
        "exact": all(one == digests[0] for one in digests),
        "machine": machine(),
        "versions": versions(),
    }


def _fit_twice(folder: Path, workers: int | None) -> dict[str, Any]:
    """Seconds of both fits, and the digests of what the second one wrote."""
    import conrec
    from conrec import parallel

    begin = time.monotonic()
    if workers is not None:
        with extras_named("python -m benchmarks ray"):
            import ray
        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
        parallel.use("ray")
    found: dict[str, Any] = {"start_s": time.monotonic() - begin}
    for name in ("first", "second"):
        run, wall, cpu = folder / f"{name}-{workers}", time.monotonic(), cpu_of_tree(os.getpid())
        conrec.fit(folder / "events.parquet", folder / "items.parquet", folder=run)
        took = {"wall_s": time.monotonic() - wall, "cpu_s": cpu_of_tree(os.getpid()) - cpu}
        found[name] = took | {f"{stage}_s": _seconds(run / stage) for stage in STAGES}
    found["digests"] = {
        path.relative_to(run).as_posix(): file_digest(path)
        for stage in STAGES
        for path in sorted((run / stage).rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".lock")
    }
    return found


def _seconds(stage: Path) -> float:
    return float(sum(read_json(path)["seconds"] for path in stage.rglob("manifest.json")))


def cpu_of_tree(root: int) -> float:
    """CPU seconds so far of a process and of all below it, those included that have ended and were waited for."""
    parent, used = dict[int, int](), dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            values = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parent[int(folder.name)], used[int(folder.name)] = int(values[1]), sum(map(int, values[11:15]))
    below, more = {root}, {root}
    while more:
        more = {process for process, one in parent.items() if one in more} - below
        below |= more
    return sum(used.get(process, 0) for process in below) / os.sysconf("SC_CLK_TCK")


def markdown(found: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"{found['events']:,} events, {found['users']:,} users, {found['items']:,} items; one thread a process; "
        f"the same files to the last bit: {'yes' if found['exact'] else 'NO'}",
        "",
        "| engine, workers | start | first fit | CPU time | second fit | score | filter | CPU time | over native |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    native = found["engines"]["native"]["second"]["cpu_s"]
    for name, one in found["engines"].items():
        first, second = one["first"], one["second"]
        lines.append(
            f"| {name} | {one['start_s']:.1f} s | {first['wall_s']:.1f} s | {first['cpu_s']:.1f} s "
            f"| {second['wall_s']:.1f} s | {second['score_s']:.1f} s | {second['filter_s']:.1f} s "
            f"| {second['cpu_s']:.1f} s | {second['cpu_s'] / native - 1:+.0%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    replace_section(Path(sys.argv[1]), "ray", markdown(json.load(sys.stdin)) + "\n")
