"""The benchmark of Ray's overhead: the same files with and without, and the time of all processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.ray_overhead import cpu_of_tree, markdown, ray_overhead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process uses")


@pytest.mark.slow
def test_the_files_are_the_same_and_both_engines_have_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra `scale` is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = json.loads(json.dumps(ray_overhead(quick=True), allow_nan=False))
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert found["exact"] is True
    assert list(found["engines"]) == ["native", "ray, 2"]
    for one in found["engines"].values():
        assert 0 < one["second"]["score_s"] + one["second"]["filter_s"] < one["second"]["wall_s"]
        assert one["second"]["cpu_s"] > 0
    assert markdown(found).count("\n| ") == 3
    found["exact"] = False
    assert "to the last bit: NO" in markdown(found)


def test_the_time_of_children_counts_while_they_run_and_when_they_have_ended() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    before = cpu_of_tree(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        assert cpu_of_tree(os.getpid()) - before > 0.4
        child.communicate("\n")
    assert 0.4 < cpu_of_tree(os.getpid()) - before < 5
