"""The whole pipeline through the real command line, at the smallest size: it ends, it is killed, it goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from conrec.evaluate.results import StageManifest, read

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
[data]
adapter = "simulated"
[simulate]
users = 250
items = 250
days = 100
[sid]
epochs = 5
[lm]
hidden = 32
layers = 1
heads = 2
kv_heads = 1
ffn = 64
vocabulary = 600
max_dislikes = 6
max_positives = 6
[understand]
translation_epochs = 1.0
alignment_samples = 600
row_tokens = 128
checkpoint_every = 5
[predict]
beams = 30
temperatures = [1.0, inf]
[evaluate]
bootstrap = 100
[utilize]
warmup_epochs = 0.3
warmup_context = "mixed"
num_generations = 8
validation_users = 32
checkpoint_every = 2
[[utilize.stages]]
context = "recent"
prompts = 64
beta = 0.5
[[utilize.stages]]
context = "dislikes"
prompts = 64
beta = 0.5
[[utilize.stages]]
context = "full"
prompts = 96
beta = 0.5
"""


def start(recipe: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "conrec", "run", str(recipe), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("runs") / "whole"
    process = start(recipe, out)
    printed, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-2000:]
    (out.parent / "stderr").write_text(errors)
    return out, printed


def test_it_ends_with_the_path_of_a_report_and_the_metrics(finished):
    out, printed = finished
    assert printed.strip().splitlines()[-1] == str(out / "report.html")
    metrics = json.loads((out / "metrics.json").read_text())
    ours = metrics["systems"]["conrec"]
    assert {"HR@20", "FHR@20", "LUF@20", "LIF@20", "ZUF@20", "CandAcc"} <= ours.keys()
    assert 0 <= ours["FHR@20"]["ci95"][0] <= ours["FHR@20"]["mean"] <= ours["FHR@20"]["ci95"][1] <= 1
    assert {"oracle", "popularity_14d", "category_rule", "content_neighbours"} <= metrics["systems"].keys()
    assert metrics["systems"]["oracle"]["FHR@20"]["mean"] > ours["FHR@20"]["mean"]
    assert metrics["validity"] == {"valid": 1.0, "unique": 1.0, "filled": 1.0}


def test_what_it_says_names_no_user_and_no_item(finished):
    out, _ = finished
    said = (out.parent / "stderr").read_text()
    assert said.count("built in") >= 9
    prepared = out / "prepare"
    items = pq.read_table(prepared / "items.parquet")
    users = pq.read_table(prepared / "events.parquet")["user_id"].unique()
    words = {*re.findall(r"[\w-]+", said)}
    assert not words & {*users.to_pylist(), *items["item_id"].to_pylist()}
    assert not [title for title in items["title"].to_pylist() if title in said]


def test_every_row_and_every_stage_is_accounted_for(finished):
    out, _ = finished
    account = json.loads((out / "prepare" / "accounting.json").read_text())
    assert account["read"] == account["kept"] + sum(account["dropped"].values())
    assert {"reason_bait_price", "reason_counterfeit", "reason_seen_or_bought"} <= account["dropped"].keys()
    folders = ("prepare", "compress", "understand/seed0", "utilize/seed0", "score/seed0")
    folders += ("predict/seed0", "filter/seed0")
    files = [out / folder / "manifest.json" for folder in folders]
    manifests = [read(file, StageManifest) for file in files]
    for folder, file, manifest in zip(folders, files, manifests):
        assert (manifest.stage, manifest.seed) == (folder.split("/")[0], 0 if "/" in folder else None)
        assert 50 < manifest.peak_memory_mb < 20_000
        assert json.loads(msgspec.json.encode(manifest)) == json.loads(file.read_text())  # no key more, none less
    took = (out / "report.html").stat().st_mtime - (out / "recipe.toml").stat().st_mtime
    assert 0 < sum(manifest.seconds for manifest in manifests) < took


def test_predictions_are_on_offer_unseen_and_distinct(finished):
    out, _ = finished
    instances = {row["instance_id"]: row for row in pq.read_table(out / "prepare" / "instances.parquet").to_pylist()}
    items = pq.read_table(out / "prepare" / "items.parquet").to_pylist()
    first_seen = {row["item_id"]: row["first_seen"] for row in items}
    table = pq.read_table(out / "predict" / "seed0" / "predictions.parquet").to_pylist()
    assert len(table) == sum(row["split"] != "train" for row in instances.values())
    for row in table:
        listed = row["items"]
        assert len(listed) == len(set(listed)) == 20
        assert not set(listed) & set(instances[row["instance_id"]]["seen"])
        assert all(first_seen[item] < row["cutoff"] for item in listed)
        assert row["scores"] == sorted(row["scores"], reverse=True)


def test_a_second_run_makes_nothing_anew(finished, recipe):
    out, _ = finished
    before = (out / "utilize" / "seed0" / "manifest.json").stat().st_mtime_ns
    process = start(recipe, out)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0
    assert errors.count("up to date") == 9
    assert (out / "utilize" / "seed0" / "manifest.json").stat().st_mtime_ns == before


def test_a_run_that_does_not_ask_the_policy_trains_none_and_can_be_deployed(finished, recipe, tmp_path):
    whole, _ = finished
    lean, out = tmp_path / "lean.toml", tmp_path / "lean"
    lean.write_text(RECIPE.replace("temperatures = [1.0, inf]", "temperatures = [inf]"))
    process = start(lean, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    assert not (out / "utilize").exists()
    assert not (out / "understand").exists()
    # What the policy is not asked for is as in the run that trained one.
    one, two = (pq.read_table(folder / "predict" / "seed0" / "alone" / "prior.parquet") for folder in (whole, out))
    assert one["items"].equals(two["items"])
    tuning = json.loads((out / "predict" / "seed0" / "tuning.json").read_text())
    assert list(tuning["validation_FHR"]) == ["inf"]
    assert "policy" not in tuning["candidates"]
    for command in (["calibrate", str(out)], ["refresh", str(out)]):
        done = subprocess.run([sys.executable, "-m", "conrec", *command], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    refused = subprocess.run(
        [sys.executable, "-m", "conrec", "utilize", str(out)], capture_output=True, text=True, timeout=300
    )
    assert refused.returncode == 2
    assert "this run has no such stage" in refused.stderr


def test_a_run_killed_in_training_goes_on_and_ends_in_the_same_bits(finished, recipe, tmp_path):
    whole, _ = finished
    out = tmp_path / "killed"
    process = start(recipe, out)
    checkpoint = out / "utilize/seed0.partial/stage3/checkpoint.safetensors"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "metrics.json").exists()
    again = start(recipe, out)
    _, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors[-2000:]
    assert "prepare: up to date" in errors
    for weights in ("understand/seed0", "utilize/seed0/warmup", "utilize/seed0/stage3"):
        one, two = (load_file(folder / weights / "weights.safetensors") for folder in (whole, out))
        assert all((one[name] == two[name]).all() for name in one)
    first, second = (json.loads((folder / "metrics.json").read_text())["systems"] for folder in (whole, out))
    assert first == second
