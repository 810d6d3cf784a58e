"""Work on Ray comes to the same as here, to the last bit; a node that is killed loses nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

from conrec.config import (
    DataConfig,
    GrpoStage,
    LmConfig,
    PredictConfig,
    Recipe,
    SidConfig,
    UnderstandConfig,
    UtilizeConfig,
)
from conrec.files import read_json
from conrec.toml import to_toml
from tests.model.small import tables

pytest.importorskip("ray", reason="the extra `scale` is not installed")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
"""Ray asks who comes to a cluster."""
RECIPE = Recipe(
    data=DataConfig("generic"),
    sid=SidConfig(epochs=1),
    lm=LmConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=32, vocabulary=300, max_dislikes=6, max_positives=6),
    understand=UnderstandConfig(translation_epochs=0.2, alignment_epochs=0.0, row_tokens=128),
    utilize=UtilizeConfig(
        warmup_epochs=0.1, num_generations=4, validation_users=16, stages=(GrpoStage("full", prompts=16, beta=0.5),)
    ),
    predict=PredictConfig(beams=20, temperatures=(2.0,)),
)
"""With a language model, which takes part in every list."""
SENT = {
    "run": {
        "_events",
        "clean.<locals>.some",
        "_look",
        "swing.<locals>.block",
        "assign",
        "_in_parts.<locals>.<lambda>",
        "HistoryScore.fit.<locals>.features",
        "learn_list_weights.<locals>.of_window",
        "Decoder.predict.<locals>.some",
        "candidate_parts.<locals>.some",
        "policy_scores.<locals>.some",
        "HistoryScore.replay_scores.<locals>.of_day",
    },
    "refresh": {"_Job.publish.<locals>.computed"},
}
"""All that is sent to a cluster, by the verb that does it."""


def run(*words: str | Path, folder: Path, place: str | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    environment.pop("RAY_ADDRESS", None)
    if place:
        environment |= {**TOKEN, "RAY_ADDRESS": "auto", "RAY_TMPDIR": place}
    command, options = [sys.executable, "-m", *map(str, words)], {"capture_output": True, "text": True, "timeout": 600}
    done = subprocess.run(command, cwd=folder, env=environment, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def started(place: str) -> subprocess.Popen[bytes]:
    """The head of a cluster as the README starts it, of this machine alone, which is noted in this folder.

    Ray gives a node 30 s to start, which is little where others are at work.
    """
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
        ray += ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
        with (Path(place) / "told").open("wb") as told:
            environment = {**os.environ, **TOKEN, "RAY_TMPDIR": place}
            head = subprocess.Popen(ray, env=environment, stdout=told, stderr=told, start_new_session=True)
        while head.poll() is None:
            if (Path(place) / "ray" / "ray_current_cluster").exists():
                return head
            time.sleep(0.5)
    raise AssertionError((Path(place) / "told").read_text()[-2000:])


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster: the folder in which Ray notes where it is, with a short name, since it is in the names of sockets."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, started(place) as head:
        try:
            yield place
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
    with cluster() as place:
        for engine in ("native", "ray"):
            words = ["run", "recipe.toml", "--data", "log", "--images", "pictures", "--to", "filter", "--out", engine]
            for verb, more in (("run", words), ("refresh", ["refresh", engine])):
                told = run("tests.scale.in_parts", *more, "--engine", engine, folder=folder, place=place)
                assert ("Ray: 1 machines, 2 cores" in told) == (engine == "ray")
                sent = set(re.findall(r"^sent: (\S+)", told, re.MULTILINE))
                assert sent == (SENT[verb] if engine == "ray" else set())
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
    for stage in ("prepare", "compress", "understand", "utilize", "score", "predict", "filter"):
        assert same_files(both / "native" / stage, both / "ray" / stage), stage
    assert same_files(*(in_use(both / engine / "snapshots") for engine in ("native", "ray"))) >= 4


def test_a_killed_node_loses_nobody(both: Path, tmp_path: Path) -> None:
    for name, more in (("alone", ["native"]), ("killed", [])):
        shutil.copytree(both / "native", tmp_path / name, ignore=shutil.ignore_patterns("snapshots"))
        told = run("tests.scale.cluster", tmp_path / name, *more, folder=both)
        for title in ("predict", "users"):
            assert (f"{title}: killed one of two nodes" in told) == (name == "killed")
    asked = pq.read_table(both / "native/prepare/instances.parquet").to_pandas().query("split != 'train'")
    lists = pq.read_table(tmp_path / "killed/predict/seed0/predictions.parquet")
    assert lists["instance_id"].to_pylist() == asked["instance_id"].tolist()  # every user once
    assert len(lists) > 100
    assert same_files(tmp_path / "alone/predict", tmp_path / "killed/predict") > 5
    assert same_files(*(in_use(tmp_path / name / "snapshots") for name in ("alone", "killed"))) >= 4
