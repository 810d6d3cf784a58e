"""A disk that is full: one line, what is in use stays whole, and with room the same command ends as it would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.live_run import LiveRun

pytestmark = pytest.mark.slow

NIGHT = """
import ctypes, os, sys
from pathlib import Path

from conrec.__main__ import main
from conrec.filter import snapshot as published
from conrec.filter.feedback import Entry, Feedback

run, log, day, folder = map(Path, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
# A disk of our own, which goes with this process: others do not even see it.
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    sys.exit(77)
if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=20m"):
    sys.exit(77)
snapshots, filler = folder / "snapshots", folder / "filler"


def leave(kilobytes: int) -> None:
    filler.unlink(missing_ok=True)
    disk = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - kilobytes * 1024)))


def whole() -> str:
    version = published.current(snapshots)
    published.check(snapshots / version, published.read_manifest(snapshots / version).files, "all")
    return version


assert main(["refresh", str(run), "--snapshots", str(snapshots)]) == 0
first = whole()
feedback = Feedback(snapshots)
for n in range(20):
    feedback.add([Entry(f"u{n}", "i1", "dislike", id=f"e{n}")])
for room in (0, 40, 300):
    leave(room)
    assert main(["refresh", str(run), "--snapshots", str(snapshots), "--events", str(day)]) == 2
    assert whole() == first
leave(0)
accepted = 20
try:
    for n in range(20, 10_000):
        feedback.add([Entry(f"u{n}", "i1", "dislike", id=f"e{n}")])
        accepted += 1
except Exception as error:
    assert "full" in str(error), error
filler.unlink()
assert [entry.id for entry in Feedback(snapshots).until(10**9)] == [f"e{n}" for n in range(accepted)]
assert main(["refresh", str(run), "--snapshots", str(snapshots), "--events", str(day)]) == 0
assert whole() != first
assert not list(snapshots.rglob(".*.partial"))
leave(30)
words = ["run", str(run / "recipe.toml"), "--data", str(log), "--out", str(folder / "run"), "--to", "compress"]
assert main(words) == 2
filler.unlink()
assert main(words) == 0
"""
LINE = "conrec: no space left on the disk; make room and run the same command again"


def test_a_night_and_a_run_on_a_full_disk(live: LiveRun, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    paths = [live.run, live.run.parent / "log", live.days[0], folder]
    done = subprocess.run(
        [sys.executable, "-c", NIGHT, *map(str, paths)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    if done.returncode == 77:
        pytest.skip("no right to mount a small disk here")
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stderr.splitlines() if line.startswith("conrec: ")] == [LINE] * 4
