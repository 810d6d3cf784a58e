"""A service under mixed load while nights pass: nothing fails, and neither memory nor descriptors grow.

    python -m tests.soak.load WORK [--seconds 3600] [--night 60] [--clients 4] [--seed 0]

Fits a small model, serves it, and then filters lists, sends dislikes and takes them back, mutes, and opens the page,
all from several clients at once, while `conrec refresh` ingests a day of new events every so many seconds. What a
dislike, an undo, and a mute must do is checked at the next request. Memory and open descriptors of the service are
looked at all the time: those of the last quarter are held against those of the second one, when all has been used
once. Prints a line a night and a summary, and ends with status 1 where anything is wrong. Linux.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.filter import snapshot as published
from tests.serve.small import Client, command, wait_for
from tests.soak.crash import small_fit

GROWTH, LEEWAY = 0.05, 16
"""Memory may grow by this share, or by so many MB, between the second quarter and the last: allocators breathe."""
DESCRIPTORS = 4
"""And so many more descriptors may be open: one snapshot is closed just after the next one was opened."""
LISTED = 40
"""Candidates of a list."""


@dataclass
class Told:
    """What became of it."""

    leeway: float = LEEWAY
    """MB that memory may grow by in any case; in a run of seconds, of which half is the beginning, more."""
    seconds: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Seconds of each `POST /v1/filter`."""
    nights: int = 0
    memory: list[float] = field(default_factory=list)
    """MB in use, sampled evenly."""
    files: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def quarters(self, values: list[float] | list[int]) -> tuple[float, float]:
        """The median of the second quarter, and that of the last."""
        size = max(1, len(values) // 4)
        return float(np.median(values[size : 2 * size])), float(np.median(values[-size:]))

    def _course(self, values: list[float] | list[int]) -> str:
        before, after = self.quarters(values)
        return f"{before:.0f} in the second quarter, {after:.0f} in the last, {max(values):.0f} at most"

    def judge(self) -> None:
        """Note what has grown."""
        before, after = self.quarters(self.memory)
        if after > before + max(GROWTH * before, self.leeway):
            self.wrong.append(f"memory grew from {before:.0f} to {after:.0f} MB")
        before, after = self.quarters(self.files)
        if after > before + DESCRIPTORS:
            self.wrong.append(f"descriptors grew from {before:.0f} to {after:.0f}")

    def __str__(self) -> str:
        each = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.requests.items()))
        p50, p99 = (1000 * value for value in np.quantile(self.latencies or [0], (0.5, 0.99)))
        return (
            f"{self.seconds:.0f} s, {self.nights} nights, {self.requests.total():,} requests ({each})\n"
            f"filter: {p50:.1f} ms (median), {p99:.1f} ms (99 %)\n"
            f"memory, MB: {self._course(self.memory)}\ndescriptors: {self._course(self.files)}\n"
            + "; ".join(self.wrong or ["nothing failed"])
        )


class Person:
    """One client with users of its own, so that what they must see is known."""

    def __init__(self, port: int, users: list[str], items: list[str], seed: int, told: Told) -> None:
        self.client, self.users, self.items, self.told = Client(port), users, items, told
        self.rng, self.turns = np.random.default_rng(seed), seed

    def turn(self) -> None:
        """One user's visit."""
        user = str(self.rng.choice(self.users))
        listed = [str(item) for item in self.rng.permutation(self.items)[:LISTED]]
        for _ in range(5):
            self.filtered(user, listed)
        (self.dislike, self.dislike, self.mute, self.page, self.batch)[self.turns % 5](user, listed)
        self.turns += 1

    def asked(self, kind: str, path: str, body: object = None, method: str | None = None) -> dict:
        self.told.requests[kind] += 1
        status, answer, _ = self.client.ask(method or ("GET" if body is None else "POST"), path, body)
        assert status == 200, (kind, status, answer)
        return answer

    def filtered(self, user: str, listed: list[str]) -> set[str]:
        """What is left, by `self.version`; everything is filtered, and in its order."""
        begin = time.perf_counter()
        answer = self.asked("filter", "/v1/filter", {"user": user, "candidates": listed})
        self.told.latencies.append(time.perf_counter() - begin)
        assert answer["fail_open"] is None, answer
        self.version = answer["version"]
        assert answer["kept"] == [item for item in listed if item in set(answer["kept"])]
        assert len(answer["kept"]) + len(answer["dropped"]) == len(listed)
        return set(answer["kept"])

    def dislike(self, user: str, listed: list[str]) -> None:
        item = listed[0]
        self.asked("dislike", f"/v1/users/{user}/dislikes", {"item": item})
        assert item not in self.filtered(user, listed)
        self.asked("undo", f"/v1/users/{user}/undo", {"item": item})
        view = self.asked("view", f"/v1/users/{user}")
        assert item not in {one["item_id"] for one in view["dislikes"]}

    def mute(self, user: str, listed: list[str]) -> None:
        view = self.asked("view", f"/v1/users/{user}", None)
        category = next((one["category"] for one in view["dislikes"] if one["category"]), None)
        if category is None:
            return
        mute = {"kind": "category", "name": category}
        self.asked("mute", f"/v1/users/{user}/mutes", mute)
        kept, version = self.filtered(user, listed), self.version
        self.asked("unmute", f"/v1/users/{user}/mutes?kind=category&name={category}", method="DELETE")
        after = self.filtered(user, listed)
        # Another version, which a night may have brought meanwhile, may drop what this one kept.
        assert kept <= after or self.version != version, (user, category, version, kept - after)

    def batch(self, user: str, listed: list[str]) -> None:
        answers = self.asked("batch", "/v1/filter/batch", {"requests": [{"user": user, "candidates": listed}] * 3})
        assert [one["fail_open"] for one in answers["answers"]] == [None] * 3

    def page(self, user: str, listed: list[str]) -> None:
        for path in (
            "/",
            "/page/app.js",
            "/ui/about",
            f"/ui/user?user={user}",
            f"/ui/candidates?user={user}",
            "/metrics",
        ):
            self.asked("page", path)
        self.asked("page", f"/ui/picture?item={listed[0]}")
        self.asked("page", "/ui/decide", {"user": user, "candidates": listed, "threshold": 0.0})


def soak(work: Path, seconds: float, night: float, clients: int, seed: int, leeway: float = LEEWAY) -> Told:
    """Serve a small model for so long; what was seen."""
    shutil.rmtree(work, ignore_errors=True)
    model, told = work / "model", Told(leeway)
    small_fit(work)(model)
    _called("calibrate", model, "--likes-lost", "0.3", "--on-average")
    _called("refresh", model)
    start, port = command(model / "snapshots")
    events = pq.read_table(model / "prepare" / "events.parquet")
    users, items = (
        np.unique(events[name].to_numpy(zero_copy_only=False).astype(str)) for name in ("user_id", "item_id")
    )
    with (work / "said").open("wb") as out:
        service = subprocess.Popen([*start, "--run", str(model)], stdout=out, stderr=out)
    stop = threading.Event()

    def visits(person: Person) -> None:
        try:
            while not stop.is_set():
                person.turn()
        except Exception:
            told.wrong.append(traceback.format_exc(limit=-2))
            stop.set()

    def nights() -> None:
        try:
            while not stop.wait(night):
                version = published.current(model / "snapshots")
                day = _day(events, told.nights, np.random.default_rng(seed + told.nights), work / "day.parquet")
                _called("refresh", model, "--events", day, "--max-change", "inf")
                newer = published.current(model / "snapshots")
                assert newer != version, "a night published nothing"
                wait_for(lambda newer=newer: Client(port).get("/readyz")["version"] == newer, 60)
                told.nights += 1
                print(f"night {told.nights}: {newer}, {told.requests.total():,} requests so far", flush=True)
        except Exception:
            told.wrong.append(traceback.format_exc(limit=-2))
            stop.set()

    try:
        wait_for(lambda: _ready(port) or service.poll() is not None, 60)
        people = [Person(port, users[n::clients].tolist(), items.tolist(), seed + n, told) for n in range(clients)]
        threads = [threading.Thread(target=visits, args=(person,)) for person in people]
        threads.append(threading.Thread(target=nights))
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        while not stop.wait(min(1.0, seconds / 40)) and service.poll() is None:
            told.memory.append(_memory(service.pid))
            told.files.append(len(os.listdir(f"/proc/{service.pid}/fd")))
            if time.monotonic() - begin > seconds:
                break
        stop.set()
        for thread in threads:
            thread.join()
        told.seconds = time.monotonic() - begin
        if service.poll() is not None:
            told.wrong.append(f"the service ended with status {service.returncode}")
        else:
            _count(Client(port), told)
    finally:
        service.terminate()
        service.wait(30)
    told.judge()
    said = (work / "said").read_text()
    told.wrong += [line for line in said.splitlines() if " ERROR " in line or "Traceback" in line]
    return told


def _count(client: Client, told: Told) -> None:
    """What the service itself counted."""
    for name, value in client.metrics().items():
        failed = any(part in name for part in ("conrec_fail_open_total", 'status="5', 'swaps_total{result="refused"}'))
        if failed and value and "_created" not in name:
            told.wrong.append(f"{name} is {value:.0f}")


def _ready(port: int) -> bool:
    try:
        return Client(port).ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


def _called(verb: str, *words: object) -> None:
    command = [sys.executable, "-m", "conrec", verb, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def _memory(process: int) -> float:
    """MB that are its own: what is mapped from files is the kernel's to take back."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))


def _day(events: pa.Table, number: int, rng: np.random.Generator, path: Path) -> Path:
    """Events of the log that happen once more, on a later day."""
    some = events.take(pa.array(rng.choice(len(events), 200, replace=False)))
    moments = np.datetime64(pc.max(events["time"]).as_py().replace(tzinfo=None), "us") + np.timedelta64(number + 1, "h")
    times = pa.array(moments + np.arange(len(some)).astype("timedelta64[s]")).cast(some["time"].type)
    pq.write_table(some.set_column(some.schema.get_field_index("time"), "time", times), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--night", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = soak(given.work, given.seconds, given.night, given.clients, given.seed)
    print(found)
    sys.exit(bool(found.wrong))
