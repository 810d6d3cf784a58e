"""The command line under torchrun: two processes train a stage as one, and the main one alone writes and speaks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from conrec.evaluate.results import StageManifest, read
from tests.stages.test_whole_run import RECIPE

pytestmark = pytest.mark.slow

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def conrec(*arguments: str, launcher: tuple[str, ...] = ()) -> str:
    """What it says on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, "-m", "conrec", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path, str]:
    """The same run, brought as far as `understand` by one process and by two; what the two said."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    conrec("run", str(recipe), "--out", str(folder / "one"), "--to", "understand")
    shutil.copytree(folder / "one", folder / "two", ignore=shutil.ignore_patterns("understand"))
    said = conrec("run", str(recipe), "--out", str(folder / "two"), "--to", "understand", launcher=TORCHRUN)
    return folder / "one", folder / "two", said


def test_accelerate_starts_them_too(runs, tmp_path):
    """A run that Accelerate starts ends in the bits of one that torchrun does."""
    shutil.copytree(runs[1], tmp_path / "run", ignore=shutil.ignore_patterns("understand"))
    accelerate = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
    conrec("understand", str(tmp_path / "run"), launcher=accelerate)
    weights = [load_file(out / "understand/seed0/weights.safetensors") for out in (runs[1], tmp_path / "run")]
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())


def test_two_processes_train_what_one_would(runs):
    one, two = (out / "understand" / "seed0" for out in runs[:2])
    curves = [pq.read_table(folder / "curves.parquet").to_pandas() for folder in (one, two)]
    assert len(curves[0]) == len(curves[1]) > 10
    losses = [c[c["split"] == "train"]["value"].to_numpy() for c in curves]
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), atol=1e-2, rtol=1e-2)
    weights = [load_file(folder / "weights.safetensors") for folder in (one, two)]
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], atol=0.02, rtol=0.05)


def test_the_main_process_alone_writes_and_speaks(runs):
    one, two, said = runs
    assert said.count("prepare: up to date") == said.count("understand (seed 0): running") == 1
    assert said.count("understand (seed 0): built in") == 1
    files = [sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) for out in (one, two)]
    assert files[0] == files[1]
    assert read(two / "understand" / "seed0" / "manifest.json", StageManifest).stage == "understand"


def test_what_two_processes_made_is_up_to_date(runs):
    said = conrec("understand", str(runs[1]), launcher=TORCHRUN)
    assert said.count("understand (seed 0): up to date") == 1
