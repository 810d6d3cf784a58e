"""The quick form of the crash harness: a few kills of what no other test kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_fit_and_feedback_survive_kills(tmp_path: Path) -> None:
    """`run`, `refresh` and the service are killed in tests/stages, tests/deploy and tests/serve."""
    command = [sys.executable, "-m", "tests.soak.crash", str(tmp_path), "--kills", "4", "--only", "fit", "feedback"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["fit", "2", "kills"],
        ["feedback", "2", "kills"],
    ]
    assert done.stdout.count("same bits") == 2
