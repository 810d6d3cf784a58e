"""Work on Ray comes to the same as here, to the last bit; a node that is killed loses nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

from conrec.config import DataConfig, PredictConfig, Recipe, SidConfig
from conrec.deploy import refresh as job
from conrec.files import read_json
from conrec.run import open_run
from conrec.toml import to_toml
from tests.model.small import tables

pytest.importorskip("ray", reason="the extra `scale` is not installed")
pytestmark = pytest.mark.slow
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
"""Ray asks who comes to a cluster."""
RECIPE = Recipe(
    data=DataConfig("generic"),
    sid=SidConfig(epochs=1),
    predict=PredictConfig(temperatures=(float("inf"),)),
)
IN_PARTS = """
from conrec.cli.main import program
from conrec.data import clean
clean.TOGETHER = 1000
program()
"""
"""conrec with a log that is cleaned in parts, however small."""


def run(*words: str | Path, folder: Path, address: str | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    if address:
        environment |= {**TOKEN, "RAY_ADDRESS": address}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a cluster as the README starts it, of this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    ray += ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(ray, env={**os.environ, **TOKEN}, **quiet) as head:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait(30)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `native` and `ray` of the same run, lists and snapshot included."""
    folder = tmp_path_factory.mktemp("scale")
    events, items = tables(events=4000, users=90)
    (folder / "log").mkdir()
    pq.write_table(items, folder / "log" / "items.parquet")
    for n in range(3):
        pq.write_table(events.take(np.arange(n, len(events), 3)), folder / "log" / f"events-{n}.parquet")
    (folder / "pictures").mkdir()
    for item, colour in zip(items["item_id"].to_pylist(), items["colour"].to_pylist()):
        Image.new("RGB", (70, 70), colour).save(folder / "pictures" / f"{item}.png")
    (folder / "pictures" / "i3.png").write_bytes(b"no picture")
    (folder / "recipe.toml").write_text(to_toml(RECIPE))
    with cluster() as address:
        for engine in ("native", "ray"):
            words = ["-m", "conrec"] if engine == "native" else ["-c", IN_PARTS]
            words += ["run", "recipe.toml", "--data", "log", "--images", "pictures", "--to", "filter", "--engine"]
            told = run(*words, engine, "--out", engine, folder=folder, address=address)
            assert ("Ray: 1 machines, 2 cores" in told) == (engine == "ray")
            run("-m", "conrec", "refresh", engine, "--engine", engine, folder=folder, address=address)
    return folder


def same_files(ours: Path, theirs: Path) -> int:
    """How many files of two folders were compared; what has times or paths in it is left out."""
    compared = 0
    for path in sorted(ours.glob("**/*")):
        other = theirs / path.relative_to(ours)
        if path.suffix == ".safetensors":
            for name, value in load_file(path).items():
                np.testing.assert_array_equal(value, load_file(other)[name], err_msg=f"{path}: {name}")
        elif path.suffix == ".parquet":
            assert pq.read_table(path).equals(pq.read_table(other)), path
        elif path.is_file() and path.suffix not in (".json", ".toml", ".sqlite"):
            assert path.read_bytes() == other.read_bytes(), path
        else:
            continue
        compared += 1
    return compared


def in_use(snapshots: Path) -> Path:
    return snapshots / (snapshots / "current").read_text().strip()


def test_every_stage_comes_to_the_same(both: Path) -> None:
    weights = [read_json(both / engine / "weights/seed0/weights.json") for engine in ("native", "ray")]
    assert weights[0] == weights[1]
    pictures = [read_json(both / engine / "compress/images.json") for engine in ("native", "ray")]
    assert pictures[0] == pictures[1]
    assert (pictures[0]["used"], pictures[0]["refused"]) == (59, {"broken": 1})
    for stage in ("prepare", "compress", "score", "predict", "filter"):
        assert same_files(both / "native" / stage, both / "ray" / stage), stage
    assert same_files(*(in_use(both / engine / "snapshots") for engine in ("native", "ray"))) >= 4


def test_a_killed_node_loses_nobody(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(both / "native", tmp_path / "run", ignore=shutil.ignore_patterns("snapshots"))
    told = run(Path(__file__).with_name("cluster.py"), tmp_path / "run", tmp_path, folder=both)
    assert "killed one of two nodes" in told
    monkeypatch.setattr(job, "USERS_AT_ONCE", 1)
    job.refresh(tmp_path / "run", open_run(tmp_path / "run")[0], snapshots=tmp_path / "alone")
    assert same_files(in_use(tmp_path / "alone"), in_use(tmp_path / "snapshots")) >= 4
