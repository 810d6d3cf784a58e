"""The service under load, with ten million users: latency, a hot swap, memory, start-up; and the filter in process.

The users are random but valid, the service is the real one (`conrec serve`) in a process of its own and on a core of
its own, the load comes from another (bench.load). Twenty predictions a user, 500 candidates a request, one in twenty
of them over the threshold.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from conrec.bench.measure import machine, versions
from conrec.errors import ConrecError
from conrec.filtering import sets as published
from conrec.filtering.online import ItemSide, UserSide, scores_alone
from conrec.filtering.publish import SetItems, SetWriter
from conrec.filtering.store import Layout, Users
from conrec.progress import say, track
from conrec.sid.catalog import unit_rows

CANDIDATES, RATE, DROPPED = 500, 200, 0.05
LAYOUT = Layout(predicted=20, dislikes=20, liked=20, dimensions=16)
UNIT = 64
WEIGHT = 0.7
PORTION = 250_000
LIMIT_MS, IN_PROCESS_US = 5.0, 150.0


def serve(quick: bool = False, folder: Path | None = None) -> dict[str, Any]:
    """Measure everything, ready for JSON. Needs some 8 GB of disk in `folder` (without it the system's temporary one).

    `quick` takes 20,000 users and seconds instead of minutes; its figures mean nothing.
    """
    users, items, seconds = (20_000, 2_000, 2.0) if quick else (10_000_000, 100_000, 30.0)
    with tempfile.TemporaryDirectory(prefix="conrec-bench-", dir=folder) as temporary:
        sets = Path(temporary)
        begin = time.perf_counter()
        names = [_publish(sets, users, items, seed) for seed in (0, 1)]
        built = (time.perf_counter() - begin) / 2
        size = sum(path.stat().st_size for path in (sets / names[1]).rglob("*") if path.is_file())
        in_process = _own_process(_IN_PROCESS, str(sets), str(users), str(items), str(200 if quick else 5000))
        requests = [
            json.dumps({"user": user, "candidates": list(candidates)})
            for user, candidates in _asked(users, items, 200 if quick else 3000)
        ]
        with _service(sets) as (port, started, process):
            closed = {}
            for connections in (1, 4):
                task = {"mode": "closed", "connections": connections, "seconds": seconds / 3}
                closed[str(connections)] = _load(port, requests, task)
            opened = _load(port, requests, {"mode": "open", "rate": RATE, "seconds": seconds})
            swap = _swap_under_load(sets, names, port, requests, seconds)
            memory = _memory(process.pid)
    calm = [*closed.values(), opened]
    return {
        "bench": "serve",
        "work": f"{users:,} users, {items:,} items, {CANDIDATES} candidates a request",
        "closed_loop_by_connections": closed,
        "open_loop": {"rate": RATE, **opened},
        "hot_swap": swap,
        "startup_seconds": started,
        "service_memory_mb": memory,
        "in_process": in_process,
        "set": {"gb": size / 1e9, "publish_seconds": built},
        "cores": "service and load on one each" if len(_cores()) > 1 else "one for all",
        "bars": {}
        if quick
        else {
            f"p99 under {LIMIT_MS:g} ms at {RATE} requests/s": bool(opened["p99_ms"] and opened["p99_ms"] < LIMIT_MS),
            "no request failed or passed unfiltered": not any(one["failed"] or one["unfiltered"] for one in calm),
            "nor during hot swaps": not swap["failed"] and not swap["unfiltered"] and len(swap["versions"]) == 2,
            f"in process under {IN_PROCESS_US:g} us": in_process["p50_us"] < IN_PROCESS_US,
        },
        "machine": machine(),
        "versions": versions(),
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as a section of bench/RESULTS.md."""
    lines = [
        f"{result['work']}; {result['cores']}; the set takes {result['set']['gb']:.1f} GB on disk and "
        f"{result['set']['publish_seconds']:.0f} s to write.",
        "",
        "| load | requests/s | p50 | p99 | worst | failed | unfiltered |",
        "|---|---|---|---|---|---|---|",
    ]
    loads = {f"closed, {n} connections": one for n, one in result["closed_loop_by_connections"].items()}
    loads |= {f"open, Poisson, {RATE}/s": result["open_loop"], "the same, hot swaps": result["hot_swap"]}
    for name, one in loads.items():
        latency = " | ".join(f"{one[key]:.2f} ms" for key in ("p50_ms", "p99_ms", "worst_ms"))
        lines.append(f"| {name} | {one['per_second']:.0f} | {latency} | {one['failed']} | {one['unfiltered']} |")
    memory, inside = result["service_memory_mb"], result["in_process"]
    lines += [
        "",
        f"- in process: {inside['p50_us']:.0f} us (p99 {inside['p99_us']:.0f}), opened in {inside['load_seconds']:.2f} s",
        f"- the service starts in {result['startup_seconds']:.1f} s and takes {memory['own']:.0f} MB of its own, "
        f"{memory['mapped']:.0f} MB of mapped files that processes share",
        *(f"- {bar}: {'yes' if met else 'NO'}" for bar, met in result["bars"].items()),
    ]
    return "\n".join(lines) + "\n"


def _publish(sets: Path, users: int, items: int, seed: int) -> str:
    """A random set."""
    rng = np.random.default_rng(seed)
    unit = unit_rows(rng.standard_normal((items, UNIT), np.float32))
    vectors = rng.standard_normal((items, LAYOUT.dimensions), np.float32) / 4
    catalogue = SetItems(
        [f"item{n:07}" for n in range(items)],
        [f"Title of the item {n}" for n in range(items)],
        [f"category {n % 40}" for n in range(items)],
        rng.integers(0, 64, (items, 3)),
        ItemSide(unit, vectors, rng.standard_normal(items, np.float32) / 4),
    )

    def portion(start: int) -> Users:
        n = min(PORTION, users - start)
        return Users(
            [f"user{k:08}" for k in range(start, start + n)],
            *(rng.integers(0, items, (n, LAYOUT.predicted), np.int32),),
            rng.integers(0, LAYOUT.dislikes, (n, LAYOUT.predicted), np.int8),
            rng.integers(0, items, (n, LAYOUT.dislikes), np.int32),
            rng.integers(0, items, (n, LAYOUT.liked), np.int32),
            rng.standard_normal((n, LAYOUT.dimensions), np.float32) / 4,
            rng.standard_normal(n, np.float32) / 4,
            np.full(n, 40, np.int32),
        )

    first = portion(0)
    sides = [UserSide(first.predicted[n], first.vectors[n], float(first.biases[n])) for n in range(min(200, len(first)))]
    rows = rng.integers(0, items, CANDIDATES)
    sample = np.concatenate([scores_alone(catalogue.side, side, rows, WEIGHT) for side in sides])
    calibration = {"score": "default", "threshold": float(np.quantile(sample, 1 - DROPPED)), "segments": None}
    with SetWriter(sets, catalogue, LAYOUT, "default", WEIGHT, calibration) as writer:
        for start in track(range(0, users, PORTION), f"writing {users:,} users"):
            writer.add(first if start == 0 else portion(start))
        return writer.publish()


def _asked(users: int, items: int, count: int) -> Iterator[tuple[str, list[str]]]:
    """Random users and candidates, the same in every run."""
    rng = np.random.default_rng(7)
    for user in rng.integers(0, users, count).tolist():
        yield f"user{user:08}", [f"item{n:07}" for n in rng.integers(0, items, CANDIDATES).tolist()]


_IN_PROCESS = "from conrec.bench.serve import in_process; in_process"


def in_process(sets: str, users: str, items: str, calls: str) -> dict[str, float]:
    """Time of `CoNRecFilter.filter` and of opening the set, in this (fresh) process."""
    from conrec.filtering.filter import CoNRecFilter

    begin = time.perf_counter()
    loaded = CoNRecFilter.load(sets)
    opened = time.perf_counter() - begin
    seconds = []
    for user, candidates in _asked(int(users), int(items), int(calls)):
        begin = time.perf_counter()
        loaded.filter(user, candidates)
        seconds.append(time.perf_counter() - begin)
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e6
    return {"p50_us": p50, "p99_us": p99, "calls": len(seconds), "load_seconds": opened, **_memory(os.getpid())}


def _own_process(function: str, *arguments: str) -> dict[str, Any]:
    """What a function returns in a fresh process."""
    code = f"import json, sys; {function.replace('; ', '; print(json.dumps(')}(*sys.argv[1:])))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        raise ConrecError(f"the measuring process failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)
