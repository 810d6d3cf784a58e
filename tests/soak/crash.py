"""Kills at random, seeded moments whatever writes, and compares the end with what was never disturbed.

    python -m tests.soak.crash WORK [--kills 50] [--seed 0] [--only run fit ...]

A small run, `fit`, `calibrate`, `refresh` over three days, and dislikes and undos that are sent all the time. Each is
called again after a kill (SIGKILL, now and then SIGTERM) until it ends by itself; then its files must be equal in
bits to those of a call that nobody disturbed. After every kill what is in use must be whole. Prints a line a verb, and
ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import conrec
from conrec.deploy.calibrate import calibrate
from conrec.deploy.predictor import Predictor  # noqa: F401 (so that no child has to import what is heavy)
from conrec.deploy.refresh import refresh
from conrec.files import file_digest
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, Feedback
from conrec.run import STAGES, open_run, run_stages
from tests.deploy.live_run import RECIPE, make_live_run
from tests.model import small

OFTEN = replace(
    RECIPE,
    understand=replace(RECIPE.understand, checkpoint_every=2),
    utilize=replace(RECIPE.utilize, checkpoint_every=2),
)
NOTES = ("seconds", "peak_memory_mb")
"""What a manifest says that no two calls share."""
OURS = ("version", "parent")
"""The same of a snapshot, whose name is a time."""


@dataclass
class Told:
    """What became of one verb."""

    verb: str
    kills: int = 0
    rounds: int = 0
    seconds: float = 0.0
    """Of a call that nobody disturbed."""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        state = "; ".join(self.wrong) if self.wrong else "same bits"
        return f"{self.verb:10} {self.kills:3} kills in {self.rounds} rounds of {self.seconds:.1f} s: {state}"


def forked(work: Callable[[], Any]) -> int:
    """A process that does it; its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
        status = 0
    finally:
        os._exit(status)


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(child: int, seconds: float, rng: np.random.Generator) -> bool:
    """Whether the process still lived after so many seconds, and was killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM if rng.random() < 0.2 else signal.SIGKILL)
    return True


def digests(folder: Path) -> dict[str, str]:
    """Every file below a run folder, manifests without what no two calls share."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name in (".lock", "paths.json"):
            continue
        found[name] = file_digest(path)
        if path.name == "manifest.json":
            table = json.loads(path.read_text())
            found[name] = json.dumps({key: value for key, value in table.items() if key not in NOTES}, sort_keys=True)
    return found


def in_use(snapshots: Path) -> dict[str, str]:
    """The version in use and the days that it knows, without their names; each file has its digest."""
    version = published.current(snapshots)
    if version is None:
        return {}
    manifest = published.read_manifest(snapshots / version)
    published.check(snapshots / version, manifest.files, "all")
    made_from = {key: value for key, value in manifest.made_from.items() if key not in OURS}
    found = {name: noted["sha256"] for name, noted in manifest.files.items()} | {"made_from": json.dumps(made_from)}
    for delta in made_from["deltas"]:
        found |= {f"{delta}/{name}": digest for name, digest in digests(snapshots / "live" / delta).items()}
    return found


def torment(
    verb: str,
    folder: Path,
    work: Callable[[Path], Any],
    look: Callable[[Path], dict[str, str]],
    kills: int,
    rng: np.random.Generator,
) -> Told:
    """Call `work` of a fresh folder until it has been killed so often; `look` must always succeed, and agree in the
    end."""
    told, whole = Told(verb), folder / "whole"
    began = time.monotonic()
    if status_of(forked(lambda: work(whole))):
        told.wrong.append("fails without a kill")
        return told
    told.seconds = time.monotonic() - began
    expected = look(whole)
    while told.kills < kills and not told.wrong:
        told.rounds += 1
        out = folder / f"round{told.rounds}"
        while True:
            child = forked(lambda out=out: work(out))
            if told.kills < kills and killed(child, rng.uniform(0, told.seconds), rng):
                told.kills += 1
                status_of(child)
                if out.is_dir():
                    look(out)
                continue
            if status := status_of(child):
                told.wrong.append(f"status {status} in round {told.rounds}")
            break
        found = look(out)
        differ = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        told.wrong += [f"round {told.rounds}: {name} differs" for name in differ]
        shutil.rmtree(out, ignore_errors=True)
    return told


def entries(seed: int, count: int) -> list[Entry]:
    """Dislikes and undos of few users and items, so that they meet."""
    rng = np.random.default_rng(seed)
    return [
        Entry(f"u{rng.integers(5)}", f"i{rng.integers(7)}", "undo" if rng.random() < 0.3 else "dislike", id=str(n))
        for n in range(count)
    ]


def feedback(folder: Path, kills: int, rng: np.random.Generator) -> Told:
    """Writers that are killed while they write: what was acknowledged is there, once and in its order."""
    told, sent, done = Told("feedback"), entries(0, 100_000), 0
    folder.mkdir(parents=True, exist_ok=True)
    while told.kills < kills and not told.wrong:
        told.rounds += 1
        read, write = os.pipe()

        def press(start: int = done, write: int = write) -> None:
            log = Feedback(folder)
            for entry in sent[start:]:
                log.add([entry])
                os.write(write, b".")

        child = forked(press)
        os.close(write)
        os.read(read, 1)  # it has begun
        told.kills += killed(child, rng.uniform(0, 0.05), rng)
        status_of(child)
        acknowledged = done + 1
        while part := os.read(read, 1 << 16):
            acknowledged += len(part)
        os.close(read)
        there = [entry.id for entry in Feedback(folder).until(10**9)]
        if there != [str(n) for n in range(len(there))] or not acknowledged <= len(there) <= acknowledged + 1:
            told.wrong.append(f"{acknowledged} acknowledged, {len(there)} there")
        done = len(there)
    log = Feedback(folder)
    last = {(entry.user, entry.item): entry.kind for entry in sent[:done]}
    for user in {user for user, _ in last}:
        stays = {entry.item: entry.kind for entry in log.of(user)}
        if stays != {item: kind for (one, item), kind in last.items() if one == user}:
            told.wrong.append(f"{user} has another state")
    told.seconds = 0.05
    return told


def soak(work: Path, kills: int, seed: int, only: list[str]) -> list[Told]:
    """Share the kills out over the verbs; what each told."""
    rng, found = np.random.default_rng(seed), []
    live, share = work / "live", max(1, kills // len(only))
    if {"run", "calibrate", "refresh"} & set(only) and not (live / "done").is_file():
        shutil.rmtree(live, ignore_errors=True)
        if status_of(forked(lambda: make_live_run(live))):
            sys.exit("the small run to begin with fails")
        (live / "done").touch()

    def run(out: Path) -> None:
        run_stages(STAGES, OFTEN, out, live / "log", last="filter", begin=True)

    def calibrated(out: Path) -> None:
        if not (out / "recipe.toml").is_file():
            shutil.copytree(live / "run", out, dirs_exist_ok=True, ignore=lambda *_: ["recipe.toml"])
            shutil.copy(live / "run" / "recipe.toml", out)
        calibrate(out, open_run(out)[0], likes_lost=0.3, confidence=None)

    def days(out: Path) -> None:
        recipe, days = (
            open_run(live / "run")[0],
            {"events": live / "new_events.parquet", "items": live / "new_items.parquet"},
        )
        for more in ({}, {"events": live / "day0.parquet"}, {"events": live / "day1.parquet"}, days):
            refresh(live / "run", recipe, snapshots=out, **more)

    for verb in only:
        folder = work / verb
        shutil.rmtree(folder, ignore_errors=True)
        if verb == "feedback":
            told = feedback(folder, share, rng)
        elif verb == "refresh":
            told = torment(verb, folder, days, in_use, share, rng)
        else:
            fit = small_fit(folder) if verb == "fit" else None
            told = torment(verb, folder, fit or {"run": run, "calibrate": calibrated}[verb], digests, share, rng)
        print(told, flush=True)
        found.append(told)
    return found


def small_fit(folder: Path) -> Callable[[Path], Any]:
    """`conrec.fit` of a small log, as files."""
    (folder / "log").mkdir(parents=True)
    paths = [folder / "log" / "events.parquet", folder / "log" / "items.parquet"]
    for path, table in zip(paths, small.tables(), strict=True):
        pq.write_table(table, path)
    return lambda out: conrec.fit(*paths, folder=out)


VERBS = ("run", "fit", "calibrate", "refresh", "feedback")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=VERBS, default=list(VERBS))
    given = parser.parse_args()
    sys.exit(any(told.wrong for told in soak(given.work, given.kills, given.seed, given.only)))
