"""Two processes train as one: the same gradients, the same trajectory, the same after a death."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from conrec.errors import ConrecError
from conrec.lm.model import trained_state
from conrec.lm.training import Trainer
from tests.train import small_training
from tests.train.test_training import policy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("one")
    small_training.main(out)
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "-m", "tests.train.small_training", str(out)],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def tensors(out: Path, name: str, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(out / f"rank{rank}" / f"{name}.safetensors")


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference, relative to the largest value."""
    assert a.keys() == b.keys()
    scale = max(float(t.abs().max()) for t in a.values())
    return max(float((a[name] - b[name]).abs().max()) for name in a) / scale


EVERY = [*small_training.KINDS, *(f"{kind}_sharded" for kind in small_training.KINDS), "adapters", "adapters_sharded"]


@pytest.mark.parametrize("kind", EVERY)
def test_the_first_gradient_is_that_of_one_process(one, two, kind):
    assert distance(tensors(one, f"{kind}_gradient"), tensors(two, f"{kind}_gradient")) < 1e-5


@pytest.mark.parametrize("kind", EVERY)
def test_the_trajectory_is_that_of_one_process(one, two, kind):
    """Weights and everything on the curves: answers, rewards, shares of zero-variance groups."""
    assert distance(tensors(one, kind), tensors(two, kind)) < 1e-3
    curves = [pq.read_table(out / kind / "curves.parquet").to_pandas() for out in (one, two)]
    keys = ["step", "split", "name"]
    assert curves[0][keys].equals(curves[1][keys])
    torch.testing.assert_close(*(torch.tensor(c["value"].to_numpy()) for c in curves), atol=1e-3, rtol=1e-3)


def test_the_comparison_saw_groups_that_teach_nothing(one):
    values = pq.read_table(one / "grpo" / "curves.parquet").to_pandas().groupby("name")["value"].mean()
    assert 0 < values["zero_variance_share"] < 1


@pytest.mark.parametrize("kind", [*EVERY, "died", "died_sharded"])
def test_all_processes_end_with_the_same_weights(two, kind):
    first, second = tensors(two, kind, 0), tensors(two, kind, 1)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_trap_unwrapped_model_skips_the_synchronisation(one, two):
    """What Accelerate wrapped gives every process the whole step's gradient; the policy itself only its own part's."""
    whole = tensors(one, "wrapped")
    assert distance(whole, tensors(one, "unwrapped")) == 0
    for rank in (0, 1):
        assert distance(whole, tensors(two, "wrapped", rank)) < 1e-5
        assert distance(whole, tensors(two, "unwrapped", rank)) > 0.1


@pytest.mark.parametrize(("kind", "died"), [("supervised", "died"), ("supervised_sharded", "died_sharded")])
def test_two_processes_that_died_go_on_to_the_same_bits(two, kind, died):
    whole, again = tensors(two, kind), tensors(two, died)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("died", ["died_then", "died_sharded_then"])
def test_one_process_goes_on_where_two_died(one, two, died, tmp_path):
    shutil.copytree(two / died, tmp_path / "then")
    alone = policy()
    small_training.supervised(alone, tmp_path / "then")
    assert distance(tensors(one, "supervised"), trained_state(alone)) < 1e-3


def test_a_step_that_cannot_be_shared_evenly_is_refused(tmp_path, monkeypatch):
    trainer = Trainer(policy(), tmp_path, steps=1, learning_rate=1e-3, checkpoint_every=10)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConrecError, match="16 samples cannot be shared evenly by 3 processes"):
        trainer.share(16)
