"""A flood of connections against the service: how many are open, who is still answered, and what is left afterwards.

    python -m tests.soak.flood WORK [--connections 20000] [--seconds 40]

Serves a small snapshot, opens that many connections that never say anything, from as many processes as it takes, opens
each again when it is closed, and meanwhile asks for a list once a second, as one client that stays connected and as one
that comes anew. Prints what became of it. Ends with status 1 where the client that was there is not answered, or
descriptors of the service stay open. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import selectors
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.serve.small import IDS, Client, command, is_ready, publish, wait_for

EACH = 5_000
"""Connections of a process of ours."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=40.0)
    asked = parser.parse_args()
    told, wrong = flood(asked.work, asked.connections, asked.seconds)
    print(told)
    sys.exit("\n".join(wrong) or None)


def flood(work: Path, connections: int, seconds: float) -> tuple[str, list[str]]:
    """What became of it, in words, and what is wrong."""
    shutil.rmtree(work, ignore_errors=True)
    publish(work / "snapshots")
    start, port = command(work / "snapshots")
    with (work / "log").open("w") as log, subprocess.Popen(start, stdout=log, stderr=log) as process:
        try:
            told = _meanwhile(process.pid, port, connections, seconds)
        finally:
            process.kill()
    return told


def _meanwhile(service: int, port: int, connections: int, seconds: float) -> tuple[str, list[str]]:
    wait_for(lambda: is_ready(port), 60)
    there, body = Client(port), {"user": "ann", "candidates": IDS}
    there.post("/v1/filter", body)
    before, most = open_files(service), 0
    parts = [min(EACH, connections - start) for start in range(0, connections, EACH)]
    context = multiprocessing.get_context("spawn")
    opened = context.Value("q", 0)
    crowd = [context.Process(target=hold, args=(port, part, seconds, opened)) for part in parts]
    for one in crowd:
        one.start()
    answered, latest, anew, tried = 0, 0.0, 0, 0
    while any(one.is_alive() for one in crowd):
        begin = time.monotonic()
        there.post("/v1/filter", body)
        answered, latest = answered + 1, max(latest, time.monotonic() - begin)
        tried += 1
        with contextlib.suppress(OSError):
            Client(port).post("/v1/filter", body)
            anew += 1
        most = max(most, open_files(service))
        time.sleep(1)
    time.sleep(15)
    after = open_files(service)
    there.post("/v1/filter", body)
    told = (
        f"{opened.value:,} connections were opened, {connections:,} at a time; the service had {most:,} descriptors at "
        f"most, {before} before and {after} afterwards; the client that was there was answered {answered} times of "
        f"{answered} (at most {latest * 1e3:.0f} ms), one that came anew {anew} of {tried} times"
    )
    return told, [] if after <= before + 5 else [f"{after} descriptors, {before} before"]


def hold(port: int, count: int, seconds: float, opened: object) -> None:
    """Keep so many connections open, for so long."""
    until, select, there, own = time.monotonic() + seconds, selectors.DefaultSelector(), 0, 0
    while time.monotonic() < until:
        for _ in range(min(200, count - there)):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            select.register(one, selectors.EVENT_READ)
            there, own = there + 1, own + 1
        for key, _ in select.select(0.05):  # it was closed
            gone: socket.socket = key.fileobj  # type: ignore[assignment]
            select.unregister(gone)
            gone.close()
            there -= 1
    with opened.get_lock():  # type: ignore[attr-defined]
        opened.value += own  # type: ignore[attr-defined]


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    main()
