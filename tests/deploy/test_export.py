"""The exported policy is the run's own, in a folder that transformers reads without us."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from conrec.cli.main import main
from conrec.config import LmConfig
from conrec.data.instances import read_instances, read_items
from conrec.deploy.export import export
from conrec.errors import ConrecError
from conrec.lm.model import build_policy, build_vocabulary, load_trained_policy, save_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import HistoryPrompts, ItemTokens
from conrec.lm.vocabulary import Vocabulary
from conrec.sid.catalog import Catalog
from conrec.toml import to_toml
from tests import tiny
from tests.deploy.live_run import LiveRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(live: LiveRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "policy"
    assert main(["export", str(live.run), "--out", str(folder)]) == 0
    return folder


def same_logits(folder: Path, policy: Policy, vocabulary: Vocabulary, tolerance: float) -> None:
    tokens = torch.as_tensor(np.random.default_rng(0).integers(0, len(vocabulary), (3, 12)))
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        own = policy.eval().head(policy.body(input_ids=tokens).last_hidden_state)
        torch.testing.assert_close(model(tokens).logits, own, rtol=tolerance, atol=tolerance)


def test_its_logits_are_those_of_the_run(live: LiveRun, exported: Path) -> None:
    utilized, catalog = live.run / "utilize" / "seed0", Catalog.load(live.run / "compress")
    vocabulary = Vocabulary.load(utilized / "tokenizer")
    policy = build_policy(live.recipe.lm, vocabulary, catalog.codewords, 0)
    load_trained_policy(policy, utilized / "stage1")
    same_logits(exported, policy, vocabulary, 1e-6)
    assert {path.suffix for path in exported.iterdir()} <= {".json", ".safetensors", ".md", ".parquet", ".jinja"}


def test_a_prompt_as_text_is_the_run_s_own(live: LiveRun, exported: Path) -> None:
    catalog, tokenizer = Catalog.load(live.run / "compress"), AutoTokenizer.from_pretrained(exported)
    instances = read_instances(live.run / "prepare", read_items(live.run / "prepare")).of_split("test")
    vocabulary = Vocabulary.load(live.run / "utilize" / "seed0" / "tokenizer")
    own = HistoryPrompts(ItemTokens(vocabulary, catalog.codes), max_dislikes=6, max_positives=6)
    spelled = pq.read_table(exported / "catalogue.parquet")["semantic_id"].to_pylist()
    asked = 0
    for n in range(len(instances)):
        lists = instances.dislikes[n][-6:], instances.positives[n][-6:]
        if all(map(len, lists)):
            disliked, liked = ("".join(spelled[row] for row in rows) for rows in lists)
            prompt = f"Disliked: {disliked}\nLiked: {liked}\nWill dislike: "
            assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == own.of(instances, n, "full")
            asked += 1
    assert asked > 10


def test_the_card_tells_how_and_its_code_runs(live: LiveRun, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    events = pq.read_metadata(live.run / "prepare" / "events.parquet").num_rows
    items = Catalog.load(live.run / "compress").item_ids
    assert f"Log `live`: {events:,} events on {len(items)} items" in card
    assert "It was not measured." in card  # this run ended before its evaluation
    assert "```toml\n" + to_toml(live.recipe) in card
    names: dict[str, Any] = {"FOLDER": str(exported)}
    exec(re.findall(r"```python\n(.*?)```", card, re.S)[0], names)
    assert len(set(names["predicted"])) == 4
    assert set(names["predicted"]) <= set(items)


def test_adapters_are_merged(live: LiveRun, tmp_path: Path) -> None:
    words, run = tiny.vocabulary(()), tmp_path / "run"
    words.tokenizer.save_pretrained(tmp_path / "tiny")
    config = LlamaConfig(vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "tiny")
    recipe = replace(live.recipe, lm=LmConfig(checkpoint=str(tmp_path / "tiny"), lora_rank=4))
    catalog = Catalog.load(live.run / "compress")
    vocabulary = build_vocabulary(recipe.lm, [], catalog.sizes)
    policy = build_policy(recipe.lm, vocabulary, catalog.codewords, 0)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:  # as if trained
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    run.mkdir()
    for name in ("prepare", "compress"):
        (run / name).symlink_to(live.run / name)
    save_policy(policy, run / "utilize" / "seed0" / "stage1")
    vocabulary.save(run / "utilize" / "seed0" / "tokenizer")
    with pytest.raises(ConrecError, match="trained no policy to its end"):
        export(run, recipe, tmp_path / "out")
    (run / "utilize" / "seed0" / "manifest.json").write_text("{}")
    same_logits(export(run, recipe, tmp_path / "out"), policy, vocabulary, 1e-4)
    assert f"base_model: {tmp_path}/tiny\n---" in (tmp_path / "out" / "README.md").read_text()
    reading = replace(live.recipe, lm=replace(live.recipe.lm, text_tokens=4))
    with pytest.raises(ConrecError, match=r"its prompts hold texts \(lm\.text_tokens\)"):
        export(live.run, reading, tmp_path / "new")
    with pytest.raises(ConrecError, match="holds files already"):
        export(run, recipe, tmp_path / "out")


def test_the_hub_gets_the_folder_or_its_refusal_is_one_line(
    live: LiveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("huggingface_hub.create_repo", lambda name, **options: told.append({"repo": name, **options}))
    monkeypatch.setattr("huggingface_hub.upload_folder", lambda **options: told.append(options))
    out = tmp_path / "policy"
    assert main(["export", str(live.run), "--out", str(out), "--push-to-hub", "shop/dislikes"]) == 0
    assert told[0] == {"repo": "shop/dislikes", "private": True, "exist_ok": True}
    assert (told[1]["repo_id"], told[1]["folder_path"]) == ("shop/dislikes", out)

    def refuse(name: str, **options: Any) -> None:
        raise OSError("401 Client Error.\nInvalid username or password.")

    monkeypatch.setattr("huggingface_hub.create_repo", refuse)
    assert main(["export", str(live.run), "--out", str(tmp_path / "again"), "--push-to-hub", "shop/dislikes"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("--push-to-hub shop/dislikes: 401 Client Error. Invalid username or password.")
