"""`conrec plan`: a table for people, JSON for programs, and what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import Qwen3Config

from conrec.cli.main import main

SHOP = ["--users", "100000", "--items", "20000", "--events", "1000000"]


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, dict[str, float]]:
    assert main(["plan", *more, "--json"]) == 0
    return {one["stage"]: one for one in json.loads(capsys.readouterr().out)["stages"]}


def test_a_run_that_predicts_no_lists_has_its_stages_and_a_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "fit", *SHOP)
    assert list(found) == ["prepare", "compress", "score", "filter", "snapshot"]
    assert all(one["seconds"] > 0 and one["memory"] > 1e8 and one["fits"] for one in found.values())


def test_ten_times_the_log_takes_more_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    small = planned(capsys, "fit", *SHOP)
    large = planned(capsys, "fit", "--users", "1000000", "--items", "200000", "--events", "10000000", "--memory", "99")
    for stage in small:
        assert large[stage]["seconds"] > 2 * small[stage]["seconds"]
        assert large[stage]["memory"] > small[stage]["memory"]


def test_what_does_not_fit_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "fit", *SHOP, "--memory", "0.2"]) == 0
    table = capsys.readouterr().out
    assert table.count("does not fit") == 5
    assert main(["plan", "fit", *SHOP, "--memory", "500"]) == 0
    assert "does not fit" not in capsys.readouterr().out


def test_gpus_that_are_not_here_are_planned_from_a_config_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 1024}
    Qwen3Config(vocab_size=5000, head_dim=64, num_key_value_heads=2, **sizes).save_pretrained(tmp_path / "model")
    recipe = tmp_path / "shop.toml"
    recipe.write_text(f'[data]\nadapter = "generic"\n[lm]\ncheckpoint = "{tmp_path / "model"}"\nlora_rank = 8\n')
    gpus = ["--policy", "--device-memory", "1", "--flops", "100", "--memory", "500"]
    one = planned(capsys, str(recipe), *SHOP, *gpus)
    eight = planned(capsys, str(recipe), *SHOP, *gpus, "--devices", "8")
    for stage in ("understand", "utilize"):
        assert eight[stage]["seconds"] < 0.2 * one[stage]["seconds"]
        assert eight[stage]["device"] < one[stage]["device"]
    assert one["score"]["device"] == 0
    assert main(["plan", str(recipe), *SHOP, *gpus, "--device-memory", "0.001"]) == 0
    table = capsys.readouterr().out
    assert table.count("does not fit") == 3
    assert "by what the maker says" in table


def test_without_the_policy_nothing_is_asked_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "demo", *SHOP)
    assert "utilize" not in found
    assert found["predict"]["device"] == 0
