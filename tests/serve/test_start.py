"""The service as a process: how soon it answers, and what it needs for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.small import IDS, OVER, Client, command, publish, wait_for

MOST_CPU_SECONDS = 5.0
"""Three times what it takes (docs/service.md): CPU time grows, too, when neighbours share the caches."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the CPU time of a process that runs")
def test_the_first_answer_costs_little(tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    publish(snapshots)
    start, port = command(snapshots)

    def spent() -> float:
        """CPU seconds of a service from its start to its first answer, which must be right."""
        process = subprocess.Popen(start, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(port), seconds=120)
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        finally:
            process.terminate()
            process.wait(30)

    spent()  # the first on a machine compiles
    assert spent() < MOST_CPU_SECONDS


def answers(port: int) -> bool:
    try:
        return bool(Client(port).filter("ann", IDS)["dropped"] == OVER)
    except ConnectionRefusedError:
        return False
