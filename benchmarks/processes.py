"""The service in a process of its own on the first core, the load in another on the last, and what a process takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conrec.errors import ConrecError


@contextmanager
def service(snapshots: Path) -> Iterator[tuple[int, float, int]]:
    """`conrec serve` on the first core: its port, the seconds until it was ready, and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "conrec", "serve", str(snapshots), "--port", str(port)]
    log = (snapshots / "service.log").open("w+b")
    begin = time.perf_counter()
    # It looks for new snapshots more often than it would, so that a short run has time for all swaps.
    environment = {**_environment(), "CONREC_POLL_SECONDS": "0.2"}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, preexec_fn=lambda: _pin(0))
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() > begin + 120:
                log.seek(0)
                raise ConrecError(f"the service did not start: {log.read().decode().strip()[-500:]}")
            time.sleep(0.01)
        yield port, time.perf_counter() - begin, process.pid
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def start_load(port: int, task: dict[str, Any]) -> subprocess.Popen[str]:
    """A process of its own on the last core."""
    command = [sys.executable, "-m", "benchmarks.load"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=_environment(), preexec_fn=lambda: _pin(-1)
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"port": port, **task}))
    process.stdin.close()
    process.stdin = None
    return process


def result_of(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, _ = process.communicate()
    if process.returncode:
        raise ConrecError("the load generator failed; its error is above")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def memory_mb(pid: int) -> dict[str, float]:
    """MB of a process: its own (anonymous), and of files mapped, which processes share (Linux; else empty)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    kb = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith("Rss")}
    return {"own": kb["RssAnon"] / 1e3, "mapped": (kb["RssFile"] + kb["RssShmem"]) / 1e3}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, which others on the machine hardly disturb (Linux; else nan)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _pin(which: int) -> None:
    """This process on one core only, where the system can do that."""
    if cores():
        os.sched_setaffinity(0, {cores()[which]})


def _environment() -> dict[str, str]:
    """One thread for BLAS: products as small as these only lose by more."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
