"""Every bench in small: what it reports, and that its check of exactness can fail."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from benchmarks import decode, engines, filter, sft, swing
from benchmarks.results import duration, markdown, replace_section, show
from benchmarks.setting import gradients, relative_error, setting
from conrec.errors import ConrecError

OPPONENTS = {"decode": None, "grpo": "trl", "sft": None, "swing": "duckdb", "rqvae": None, "filter": None}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPPONENTS)
def test_every_bench_reports_and_is_exact(name, results):
    if OPPONENTS[name]:
        pytest.importorskip(OPPONENTS[name], reason="the extra `oracle` is not installed")
    result = json.loads(json.dumps(importlib.import_module(f"benchmarks.{name}").bench(quick=True).json()))
    assert {"ratio", "exact", "lower_bound_share", "seconds", "opponent", "machine", "versions"} <= result.keys()
    assert result["exact"] is True
    assert result["ratio"] > 0
    assert result["seconds"] > 0
    assert result["lower_bound_share"] > 0
    assert result["opponent"] in result["methods"]
    assert {"ours"} <= result["methods"].keys()
    results[name] = result


def test_the_beams_around_an_engine_find_what_ours_do():
    """The search that llama.cpp is measured with, on the same model without a cache."""
    things = setting(quick=True)
    part, lm, said = things.prompts(2, 24), things.policy.lm, {}

    def logits(tokens, before):
        if before is None:
            said["prompt"], said["beams"] = tokens, [[]]
            return lm(torch.tensor([tokens])).logits[:, -1].numpy()
        said["beams"] = [[*said["beams"][beam], token] for token, beam in zip(tokens, before)]
        return lm(torch.tensor([said["prompt"] + beam for beam in said["beams"]])).logits[:, -1].numpy()

    with torch.no_grad():
        items, scores = engines.Constrained(things).search(part, logits)
        ours, our_scores = decode.beams(things, part, decode.K)
    np.testing.assert_array_equal(items, ours)
    np.testing.assert_allclose(scores, our_scores, atol=decode.TOLERANCE)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")))
def test_every_module_can_be_imported(name):
    """What it takes from the source is still there."""
    try:
        importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in ("conrec", "benchmarks"):
            raise
        pytest.skip(f"{error.name} is not installed")


def test_the_table_and_the_section(results, tmp_path, capsys):
    if not results:
        pytest.skip("no bench ran")
    for result in results.values():
        show(result)
    assert capsys.readouterr().out.count("results are the same: yes") == len(results)
    text = markdown(results)
    for name, result in results.items():
        assert f"| {name} | {result['work']} | {result['opponent']} |" in text
    file = tmp_path / "RESULTS.md"
    file.write_text("before\n<!-- cpu -->\nold\n<!-- /cpu -->\nafter\n")
    replace_section(file, "cpu", text)
    assert file.read_text() == f"before\n<!-- cpu -->\n{text}<!-- /cpu -->\nafter\n"
    with pytest.raises(ConrecError, match="no section"):
        replace_section(file, "gpu", text)


def test_durations():
    assert [duration(s) for s in (12.345, 0.0456, 5.1e-05)] == ["12.3 s", "45.6 ms", "51 µs"]


def test_generate_never_takes_the_models_own_settings():
    things = setting(quick=True)
    part = things.prompts(2, 24)
    ours = decode.beams(things, part, decode.K)
    things.policy.lm.generation_config = GenerationConfig(do_sample=True, temperature=9.0, top_k=1)
    theirs = decode.HuggingFaceBeams(things).search(part)
    assert (ours[0] == theirs[0]).all()


def test_the_gradient_of_other_samples_is_another():
    things = setting(quick=True)
    drawn = sft.samples(things, 8)
    sft.packed(things, drawn)
    ours = gradients(things.policy)
    sft.padded(things, drawn[:7], None)
    assert relative_error(ours, gradients(things.policy)) > 0.01


def test_a_wrong_swing_score_is_found():
    log = swing.dislikes(500, 60, 40)
    theirs = swing.by_python(log)
    assert swing.largest_error(log, theirs) < swing.TOLERANCE
    item = next(iter(theirs))
    other = max(theirs[item], key=theirs[item].get)
    theirs[item][other] *= 1.01
    assert swing.largest_error(log, theirs) > 0.005
    del theirs[item][other]
    assert swing.largest_error(log, theirs) == np.inf


def test_the_loop_over_candidates_is_the_formula():
    rng = np.random.default_rng(0)
    items = filter.ItemFactors.of(rng.random((5, 2)), rng.random(5))
    user = filter.UserFactors(np.array([1.0, -1.0], np.float32), 0.5)
    scores = filter.one_by_one(items, user, np.array([0, 3]))
    for n, row in enumerate((0, 3)):
        vectors = items.vectors[row]
        assert scores[n] == pytest.approx(0.5 + items.biases[row] + vectors[0] - vectors[1], abs=1e-5)


@pytest.mark.slow
def test_the_command_line():
    command = [sys.executable, "-m", "benchmarks", "filter", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bench"] == "filter"


@pytest.mark.slow
def test_the_gpu_script_in_small_without_a_gpu(tmp_path):
    file = tmp_path / "RESULTS.md"
    file.write_text("<!-- gpu -->\nnone yet\n<!-- /gpu -->\n")
    sizes = "--prompts 24 --items 300 --codes 16 --users 2 --groups 1 --samples 8 --turns 1 --lora-rank 2"
    command = ["bash", str(ROOT / "benchmarks" / "run_gpu.sh"), "--device", "cpu", "--shapes", "tiny", *sizes.split()]
    environment = {"PYTHON": sys.executable, "RESULTS": str(file), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["shapes"]["tiny"]["24"]["prediction"]["ours"]["users_an_hour"] > 0
    assert found["shapes"]["tiny"]["24"]["prompt pass"]["sdpa"]["share_of_ceiling"] > 0
    assert {"tree", "prefix"} <= found["shapes"]["tiny"]["24"]["grpo"].keys()
    assert "| tiny | 24 | grpo | tree |" in file.read_text()
