"""The service under load, with ten million users: latency, a hot swap, memory, start-up; and the filter in process.

The users are random but valid, the service is the real one (`conrec serve`) in a process of its own and on a core of
its own, the load comes from another (benchmarks.load). Twenty predictions a user, 500 candidates a request, one in
twenty of them over the threshold.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import in_fresh_process, machine, versions
from benchmarks.processes import cores, cpu_seconds, memory_mb, result_of, service, start_load
from benchmarks.results import replace_section
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, Feedback
from conrec.filter.publish import SnapshotItems, SnapshotWriter
from conrec.filter.user_store import Users
from conrec.progress import say, track
from conrec.score.factors import ItemFactors, UserFactors, served_scores
from conrec.score.feature_snapshot import EMBEDDINGS
from conrec.score.user_history import of_lists

CANDIDATES, RATE, DISLIKES, DROPPED = 500, 200, 1000, 0.05
PREDICTED, SAID, DIMENSIONS = 20, 20, 80
"""Predicted dislikes, and dislikes and likes, of each user; dimensions of the vectors."""
WIDTHS = 7, 8
"""Of the dimensions those that are item features, and latent factors."""
PORTION = 250_000
TIMES = 3.0
"""How much longer than the least that is possible: an empty endpoint of the service, the bare products in process."""
LADDER = 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0
"""Times of the rates that are tried after one another, to see how much one core bears."""
BUDGET_MS = 25.0
"""The service's time for an answer."""
UPDATE_MS = 1.0
"""CPU time in which the user's side of the score is to follow a dislike."""
TRIES = 3
"""Fresh processes in which the filter is timed, and runs beside dislikes: the median counts, and the faults of all."""


def serve(quick: bool = False, folder: Path | None = None) -> dict[str, Any]:
    """Measure everything, ready for JSON. Needs some 8 GB of disk in `folder` (without it the system's temporary one).

    `quick` takes 20,000 users and seconds instead of minutes; its figures mean nothing.
    """
    users, items, seconds = (20_000, 2_000, 2.0) if quick else (10_000_000, 100_000, 30.0)
    with tempfile.TemporaryDirectory(prefix="conrec-bench-", dir=folder) as temporary:
        snapshots = Path(temporary)
        begin = time.perf_counter()
        names = [_publish(snapshots, users, items, seed) for seed in (0, 1)]
        built = (time.perf_counter() - begin) / 2
        size = sum(path.stat().st_size for path in (snapshots / names[1]).rglob("*") if path.is_file())
        say("in process")
        tries = []
        for _ in range(TRIES):
            tries.append(in_fresh_process(in_process, snapshots, users, items, 200 if quick else 5000))
        inside: dict[str, Any] = {key: float(np.median([one[key] for one in tries])) for key in tries[0]}
        inside["p50_us_of_each"] = sorted(one["p50_us"] for one in tries)
        asked = list(_asked(users, items, 200 if quick else 3000))
        requests = [["/v1/filter", json.dumps({"user": user, "candidates": some})] for user, some in asked]
        with service(snapshots) as (port, started, pid):
            closed = {}
            for connections in (1, 4):
                say(f"closed loop, {connections} connections")
                task = {"connections": connections, "seconds": seconds / 3, "streams": [{"requests": requests}]}
                (closed[str(connections)],) = result_of(start_load(port, task))
            filtered = {"requests": requests, "rate": RATE}
            task = {"seconds": seconds, "streams": [filtered]}
            before = cpu_seconds(pid)
            say("open loop")
            (opened,) = result_of(start_load(port, task))
            cpu = (cpu_seconds(pid) - before) / opened["requests"]
            swap = _swap_under_load(snapshots, names, port, task)
            say("open loop with dislikes and empty requests")
            memory = memory_mb(pid)
            before = cpu_seconds(pid)
            runs = [_online(port, asked, seconds) for _ in range(TRIES)]
            online: dict[str, Any] = {"runs": runs}
            online["cpu_share"] = (cpu_seconds(pid) - before) / seconds / TRIES
            online["memory_mb"] = {"before": memory.get("own"), "after": memory_mb(pid).get("own")}
            sustained = _sustained(port, users, items, seconds / 3)
        killed = _kill_under_load(snapshots, task | {"streams": [_dislikes(asked, "later")]})
    found = {
        "bench": "serve",
        "work": f"{users:,} users, {items:,} items, {CANDIDATES} candidates a request",
        "closed_loop_by_connections": closed,
        "open_loop": {"rate": RATE, **opened},
        "hot_swap": swap,
        "online": online,
        "sustained": sustained,
        "killed": killed,
        "service_cpu_ms": cpu * 1e3,
        "startup_seconds": started,
        "service_memory_mb": memory,
        "in_process": inside,
        "snapshot": {"gb": size / 1e9, "publish_seconds": built},
        "cores": "service and load on one each" if len(cores()) > 1 else "one for all",
        "machine": machine(),
        "versions": versions(),
    }
    found["targets"] = {} if quick else targets(found)
    return found


def targets(result: dict[str, Any]) -> dict[str, bool]:
    """Targets of the service, and whether each was reached."""
    online, inside, killed = result["online"], result["in_process"], result["killed"]
    memory = online["memory_mb"]
    return {
        f"p99 of {RATE} filter requests/s beside {DISLIKES:,} dislikes/s at most {TIMES:g} times that of an empty "
        "endpoint under the same load": _times_empty(_median(online)) <= TIMES,
        "no request failed, over four hot swaps and under dislikes": not failures(result),
        "and none passed unfiltered": not unfiltered(result),
        "no dislike that was answered is lost over kill -9": killed["answered"] > 0 and not killed["lost"],
        "memory flat under dislikes (10 %)": (memory["after"] or 0) <= 1.1 * (memory["before"] or math.inf),
        f"in process at most {TIMES:g} times its bare matrix products": inside["p50_us"] <= TIMES * inside["bare_us"],
        f"a user's update after a dislike under {UPDATE_MS:g} ms": inside["update_us"] < UPDATE_MS * 1e3,
    }


def failures(result: dict[str, Any]) -> int:
    """Requests without an answer; one more if no swap took place."""
    answered = set(result["hot_swap"]["versions"]) - {""}
    return sum(one["failed"] for one in _loads(result)) + (len(answered) < 2)


def unfiltered(result: dict[str, Any]) -> int:
    """Requests that were answered with all their candidates, because their time budget ran out."""
    return sum(one["unfiltered"] for one in _loads(result))


def _loads(result: dict[str, Any]) -> list[dict[str, Any]]:
    online = [run[name] for run in result["online"]["runs"] for name in ("filter", "empty", "dislikes")]
    return [*result["closed_loop_by_connections"].values(), result["open_loop"], result["hot_swap"], *online]


def _median(online: dict[str, Any]) -> dict[str, Any]:
    """Of the runs beside dislikes the one in the middle."""
    runs: list[dict[str, Any]] = sorted(online["runs"], key=_times_empty)
    return runs[len(runs) // 2]


def _times_empty(run: dict[str, Any]) -> float:
    """How many times the p99 of empty requests that of lists is beside them."""
    filtered, empty = (run[name]["p99_ms"] or math.inf for name in ("filter", "empty"))
    return float(filtered / empty)


def markdown(result: dict[str, Any]) -> str:
    """The result as a section of benchmarks/RESULTS.md."""
    lines = [
        f"{result['work']}; {result['cores']}; the snapshot takes {result['snapshot']['gb']:.1f} GB on disk and "
        f"{result['snapshot']['publish_seconds']:.0f} s to write.",
        "",
        "| load | requests/s | p50 | p99 | worst | failed | unfiltered |",
        "|---|---|---|---|---|---|---|",
    ]
    loads = {f"closed, {n} connections": one for n, one in result["closed_loop_by_connections"].items()}
    loads |= {f"open, Poisson, {RATE}/s": result["open_loop"], "the same, hot swaps": result["hot_swap"]}
    names = {"filter": f"the same, beside {DISLIKES:,} dislikes/s", "empty": f"and an empty endpoint, {RATE}/s",
             "dislikes": "and the dislikes"}  # fmt: skip
    loads |= {told: _median(result["online"])[name] for name, told in names.items()}
    for name, one in loads.items():
        latency = " | ".join(f"{one[key]:.2f} ms" for key in ("p50_ms", "p99_ms", "worst_ms"))
        lines.append(f"| {name} | {one['per_second']:.0f} | {latency} | {one['failed']} | {one['unfiltered']} |")
    memory, inside, online, killed = (result[k] for k in ("service_memory_mb", "in_process", "online", "killed"))
    lines += [
        "",
        f"Unfiltered: answered in time, but with all candidates, since the time budget ({BUDGET_MS:g} ms) ran out.",
        "",
        f"- beside dislikes, p99 of lists over that of empty requests in {TRIES} runs: "
        + ", ".join(f"{_times_empty(run):.1f}" for run in sorted(online["runs"], key=_times_empty))
        + "; unfiltered: "
        + ", ".join(str(run["filter"]["unfiltered"]) for run in online["runs"])
        + " (the table has the median run)",
        f"- under dislikes: {online['memory_mb']['before']:.0f} MB of its own before, "
        f"{online['memory_mb']['after']:.0f} MB after; over kill -9: {killed['answered']:,} dislikes answered, "
        f"{killed['lost']} lost",
        f"- under dislikes the service works {100 * online['cpu_share']:.0f} % of the time; "
        f"{_borne(result['sustained'])}",
        f"- in process: {inside['p50_us']:.0f} us ({inside['p50_us_of_each'][0]:.0f} to "
        f"{inside['p50_us_of_each'][-1]:.0f} in {TRIES} processes; p99 {inside['p99_us']:.0f}), "
        f"{inside['p50_us'] / inside['bare_us']:.1f} times its bare matrix products ({inside['bare_us']:.0f} us); "
        f"a user's update after a dislike {inside['update_us']:.0f} us; "
        f"the snapshot is opened in {inside['load_seconds']:.2f} s",
        f"- the service's own work: {result['service_cpu_ms']:.2f} ms of CPU time a request",
        f"- the service starts in {result['startup_seconds']:.1f} s and takes {memory['own']:.0f} MB of its own, "
        f"{memory['mapped']:.0f} MB of mapped files that processes share",
        *(f"- {target}: {'yes' if met else 'NO'}" for target, met in result["targets"].items()),
    ]
    return "\n".join(lines) + "\n"


def _borne(rungs: list[dict[str, float]]) -> str:
    """How much one core bears, in words."""
    good, bad = ([rung for rung in rungs if rung["holds"] == holds] for holds in (True, False))
    parts = ["its core bears " + ("not half of this" if not good else f"{good[-1]['times']:g} times this")]
    for rung in good[-1:]:
        lists, said = rung["times"] * RATE, rung["times"] * DISLIKES
        parts.append(f" ({lists:g} lists, {lists:g} empty requests, {said:g} dislikes a second)")
        parts.append(f" at a p99 of {rung['p99_ms']:.1f} ms for the lists")
    for rung in bad:
        why = f"{rung['failed']:g} requests failed" if rung["failed"] else f"their p99 was {rung['p99_ms']:.0f} ms"
        parts.append(f"; at {rung['times']:g} times {why}")
    return "".join(parts)


def _publish(snapshots: Path, users: int, items: int, seed: int) -> str:
    """A random snapshot."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((items, DIMENSIONS), np.float32) / 4
    catalogue = SnapshotItems(
        [f"item{n:07}" for n in range(items)],
        [f"Title of the item {n}" for n in range(items)],
        [f"category {n % 40}" for n in range(items)],
        rng.integers(0, 64, (items, 3)),
        ItemFactors.of(vectors, rng.standard_normal(items, np.float32) / 4),
        WIDTHS,
        user_side=_user_side(items, rng),
    )

    def portion(start: int) -> Users:
        n = min(PORTION, users - start)
        return Users(
            [f"user{k:08}" for k in range(start, start + n)],
            rng.integers(0, items, (n, PREDICTED), np.int32),
            rng.standard_normal((n, DIMENSIONS), np.float32) / 4,
            rng.standard_normal(n, np.float32) / 4,
            np.full(n, 2 * SAID, np.int32),
            [of_lists(*own).packed() for own in rng.integers(0, items, (n, 2, SAID)).tolist()],
        )

    first = portion(0)
    asked = [UserFactors(first.vectors[n], float(first.biases[n])) for n in range(min(200, len(first)))]
    rows = rng.integers(0, items, CANDIDATES)
    sample = np.concatenate([served_scores(catalogue.factors, user, rows) for user in asked])
    calibration = {"threshold": float(np.quantile(sample, 1 - DROPPED)), "segments": None}
    with SnapshotWriter(snapshots, catalogue, PREDICTED, calibration) as writer:
        for start in track(range(0, users, PORTION), f"writing {users:,} users"):
            writer.add(first if start == 0 else portion(start))
        return writer.publish()


def _user_side(items: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights of a score without ratings and exposures, so that a dislike moves its user's vector."""
    own, of_item = 3, WIDTHS[0]
    crossed = 1 + sum(link == "logit" for link, _ in EMBEDDINGS)
    shapes: dict[str, tuple[int, ...]] = {
        "intercept": (),
        "user": (own + own * (own + 1) // 2,),
        "item": (of_item + of_item * (of_item + 1) // 2,),
        "product": (own, of_item),
        "embedding": (2, crossed),
    }
    arrays = {f"regression/{name}": np.asarray(0.1 * rng.standard_normal(shape)) for name, shape in shapes.items()}
    for name, n in (("user", own), ("item", of_item)):
        arrays |= {f"regression/{name}_mean": np.zeros(n), f"regression/{name}_scale": np.ones(n)}
    return arrays | {
        "bias/logit": rng.standard_normal(items),
        "ratings": np.zeros(items),
        "scalars": np.array([0.0, 0.2, 0.0, 1.0]),
    }


def _asked(users: int, items: int, count: int, seed: int = 7) -> Iterator[tuple[str, list[str]]]:
    """Random users and candidates, the same in every run."""
    rng = np.random.default_rng(seed)
    for user in rng.integers(0, users, count).tolist():
        yield f"user{user:08}", [f"item{n:07}" for n in rng.integers(0, items, CANDIDATES).tolist()]


def in_process(snapshots: Path, users: int, items: int, calls: int) -> dict[str, float]:
    """Microseconds of `CoNRecFilter.filter`, and of a user's update after a dislike, and what opening the snapshot
    costs, in this (fresh) process."""
    from threadpoolctl import threadpool_limits

    from conrec.filter.filter import CoNRecFilter
    from conrec.filter.user_now import updated

    begin = time.perf_counter()
    loaded = CoNRecFilter.load(snapshots)
    opened = time.perf_counter() - begin
    seconds, bare, updates, now = [], [], [], loaded.snapshot
    rng, table = np.random.default_rng(8), np.array(now.factors.table)
    with threadpool_limits(1):
        for user, candidates in _asked(users, items, calls):  # in turns, so that both meet the same machine
            rows, vector = rng.integers(0, items, CANDIDATES), rng.standard_normal(table.shape[1], np.float32)
            begin = time.perf_counter()
            loaded.filter(user, candidates)
            seconds.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            table.take(rows, axis=0) @ vector
            bare.append(time.perf_counter() - begin)
        for user, candidates in _asked(users, items, calls // 10):
            entry = Entry(user, candidates[0], "dislike", 1, position=now.manifest.feedback + 1)
            begin = time.perf_counter()
            updated(now, now.users.get(user), [entry])
            updates.append(time.perf_counter() - begin)
    p50, p99 = (np.quantile(seconds, [0.5, 0.99]) * 1e6).tolist()
    found = {"p50_us": p50, "p99_us": p99, "bare_us": float(np.median(bare)) * 1e6, "load_seconds": opened}
    return found | {"update_us": float(np.median(updates)) * 1e6}


def _online(port: int, asked: list[tuple[str, list[str]]], seconds: float, times: float = 1.0) -> dict[str, Any]:
    """Filter requests, dislikes and empty requests in one run, at so many times their rates."""
    requests = [["/v1/filter", json.dumps({"user": user, "candidates": some})] for user, some in asked]
    streams = [{"requests": requests, "rate": RATE}, {"requests": [["/healthz", None]], "rate": RATE}, _dislikes(asked)]
    streams = [{**stream, "rate": times * float(str(stream["rate"]))} for stream in streams]
    found = result_of(start_load(port, {"seconds": seconds, "streams": streams}))
    return dict(zip(("filter", "empty", "dislikes"), found))


def _sustained(port: int, users: int, items: int, seconds: float) -> list[dict[str, float]]:
    """The same at ever higher rates, each with users of its own, up to the first at which a request fails or more than
    one list in a hundred does not keep its time."""
    rungs: list[dict[str, float]] = []
    for times in LADDER:
        say(f"{times:g} times these rates")
        found = _online(port, list(_asked(users, items, 1000, round(100 * times))), seconds, times)
        failed, p99 = sum(one["failed"] for one in found.values()), found["filter"]["p99_ms"] or BUDGET_MS * 1e3
        rungs.append({"times": times, "failed": failed, "p99_ms": p99, "holds": not failed and p99 <= BUDGET_MS})
        if not rungs[-1]["holds"]:
            break
    return rungs


def _dislikes(asked: list[tuple[str, list[str]]], what: str = "") -> dict[str, Any]:
    """The stream of dislikes: each user asked about dislikes one candidate after the other, those of `what` anew."""
    pairs = [(user, some[k]) for k in range(20) for user, some in asked]
    requests = [[f"/v1/users/{user}/dislikes", json.dumps({"item": item})] for user, item in pairs]
    if what:
        requests = [[f"/v1/users/{what}{n}/dislikes", json.dumps({"item": item})] for n, (_, item) in enumerate(pairs)]
    return {"requests": requests, "rate": DISLIKES}


def _swap_under_load(snapshots: Path, names: list[str], port: int, task: dict[str, Any]) -> dict[str, Any]:
    """Open loop while the snapshot in use changes back and forth, four times."""
    say("open loop with hot swaps")
    process = start_load(port, task)
    for swap in range(4):
        time.sleep(task["seconds"] / 5)
        published.use(snapshots, names[swap % 2])
    return result_of(process)[0]


def _kill_under_load(snapshots: Path, task: dict[str, Any]) -> dict[str, int]:
    """Dislikes until the service is killed in the middle: how many it had answered, and how many of these are lost."""
    say("dislikes, and kill -9")
    feedback = Feedback(snapshots)
    before = feedback.position()
    with service(snapshots) as (port, _, pid):
        process = start_load(port, task)
        time.sleep(0.6 * task["seconds"])
        os.kill(pid, signal.SIGKILL)
        (found,) = result_of(process)
    kept = {(entry.user, entry.item) for entry in feedback.until(feedback.position()) if entry.position > before}
    answered = found["requests"] - found["failed"]
    return {"answered": answered, "lost": max(0, answered - len(kept))}


if __name__ == "__main__":
    replace_section(Path(sys.argv[1]), "serve", markdown(json.load(sys.stdin)))
