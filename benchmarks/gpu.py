"""The benches at the sizes of Qwen3-0.6B, 4B and 8B on one CUDA device (benchmarks/run_gpu.sh runs it).

Weights are random, shapes are the checkpoints'; LoRA as in training, bfloat16, 3 x 8192 codes, a million items. For
each shape and length of prompts, with seconds, tokens/s and peak memory of each:

- the pass over the prompts under every attention that is there (sdpa, flash_attention_2, flex_attention), as a share
  of the matrix-product ceiling that is measured first;
- prediction with 20 beams: users an hour, and how many prompt passes it costs, against Hugging Face generate;
- a step of GRPO with 16 answers, tree against prefix, against the prompt repeated for each answer;
- a supervised pass over short samples, packed against padded.

TRL does not take part: it would have to read every model from a disk. What does not fit in memory is reported as such.
`--device cpu --shapes tiny` runs everything in a minute, to see that it works.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils import is_flash_attn_2_available

from benchmarks.decode import HuggingFaceBeams, beams
from benchmarks.grpo import GROUP, our_step
from benchmarks.measure import Work, machine, versions
from benchmarks.results import replace_section
from benchmarks.setting import LEVELS, Setting, everything, random_codes
from benchmarks.sft import packed, padded, samples
from conrec.config import LmConfig
from conrec.decode.prompt_dataset import Batch
from conrec.errors import ConrecError
from conrec.lm.model import with_lora
from conrec.lm.policy import Policy
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import say

TEXT_TOKENS = 151_936
"""Rows of Qwen3's own vocabulary."""
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden": 32, "ffn": 48, "layers": 2, "heads": 4, "kv_heads": 2, "head": 8, "tied": True},
    "0.6B": {"hidden": 1024, "ffn": 3072, "layers": 28, "heads": 16, "kv_heads": 8, "head": 128, "tied": True},
    "4B": {"hidden": 2560, "ffn": 9728, "layers": 36, "heads": 32, "kv_heads": 8, "head": 128, "tied": True},
    "8B": {"hidden": 4096, "ffn": 12288, "layers": 36, "heads": 32, "kv_heads": 8, "head": 128, "tied": False},
}


@dataclass(frozen=True)
class Options:
    """Where, and how large."""

    device: str = "cuda"
    shapes: tuple[str, ...] = ("0.6B", "4B", "8B")
    prompts: tuple[int, ...] = (512, 2048)
    """Tokens a prompt."""
    items: int = 1_000_000
    codes: int = 8192
    """Codes of each of the three levels."""
    users: int = 8
    """Prompts of a batch in prediction."""
    groups: int = 2
    """Prompts of a step of GRPO."""
    samples: int = 256
    """Short samples of the supervised pass."""
    lora_rank: int = 16
    turns: int = 5
    results: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A RESULTS.md whose section between <!-- gpu --> and <!-- /gpu --> is replaced."""


def main(options: Options) -> dict[str, Any]:
    """Measure everything and print one JSON object."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConrecError("--device cuda: torch finds no GPU here; look at `conrec doctor`, or try --device cpu")
    ceiling = matmul_ceiling(device)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else machine()["cpu"],
        "versions": {**versions(), "cuda": torch.version.cuda},
        "matmul_tflops": ceiling / 1e12,
        "items": options.items,
        "codes": options.codes,
        "shapes": {},
    }
    for shape in options.shapes:
        say(f"{shape}: weights")
        things = setting(shape, options, device)
        found["shapes"][shape] = {
            str(length): at_length(things, length, options, ceiling) for length in options.prompts
        } | {"sft": supervised(things, options)}
        del things
        _free(device)
    print(json.dumps(found, indent=2))
    if options.results:
        replace_section(options.results, "gpu", markdown(found))
    return found


def setting(shape: str, options: Options, device: torch.device) -> Setting:
    """A model of this shape with random weights and LoRA, and the catalogue, on the device."""
    size = SHAPES[shape]
    sizes = (options.codes,) * LEVELS
    vocabulary = Vocabulary.train(["boots"], 300, sizes)
    config = Qwen3Config(
        vocab_size=max(len(vocabulary), (0 if shape == "tiny" else TEXT_TOKENS) + sum(sizes)),
        hidden_size=size["hidden"],
        intermediate_size=size["ffn"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["kv_heads"],
        head_dim=size["head"],
        tie_word_embeddings=size["tied"],
        max_position_embeddings=8192,
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.end,
    )
    torch.manual_seed(0)
    with torch.device(device):
        lm: Any = Qwen3ForCausalLM._from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16)
    lm = with_lora(lm, LmConfig(lora_rank=options.lora_rank), vocabulary).to(device)
    codes = random_codes(options.items, sizes, np.random.default_rng(0))
    policy = Policy(lm, vocabulary, torch.bfloat16).eval()
    return Setting(policy, vocabulary, codes, everything(codes, sizes, device))


def at_length(things: Setting, length: int, options: Options, ceiling: float) -> dict[str, Any]:
    """Prompt pass, prediction and GRPO with prompts of this length."""
    policy, device = things.policy, things.policy.device
    part = things.prompts(options.users, length)
    tokens = part.prompt_ids.numel()
    found: dict[str, Any] = {"prompt pass": {}, "prediction": {}, "grpo": {}}

    flops = prompt_flops(policy, options.users, length)
    for attention in attentions(device):
        say(f"prompts of {length}: {attention}")
        policy.lm.set_attn_implementation(attention)
        taken = measured(
            _without_gradient(lambda: policy.body(input_ids=part.prompt_ids)), options.turns, tokens, device
        )
        if "seconds" in taken:
            taken["share_of_ceiling"] = flops / taken["seconds"] / ceiling
        found["prompt pass"][attention] = taken
    policy.lm.set_attn_implementation("sdpa")

    say(f"prompts of {length}: prediction")
    methods: dict[str, Work] = {
        "ours": lambda: beams(things, part, 20),
        "ours, prompt pass alone": lambda: policy.prefill(part.prompt_ids, part.prompt_mask),
        "Hugging Face generate": _hugging_face(things, part),
    }
    for name, method in methods.items():
        taken = measured(_without_gradient(method), options.turns, tokens, device)
        if "seconds" in taken:
            taken["users_an_hour"] = options.users * 3600 / taken["seconds"]
        found["prediction"][name] = taken

    groups = things.prompts(options.groups, length, seed=1)
    tokens = groups.prompt_ids.numel()
    for name, step in {
        "tree": our_step(things, groups, "tree"),
        "prefix": our_step(things, groups, "prefix"),
        "prompt repeated for each answer": our_step(things, groups, "tree", copies=GROUP),
    }.items():
        say(f"prompts of {length}: GRPO, {name}")
        found["grpo"][name] = measured(step, options.turns, tokens, device)
    return found


def supervised(things: Setting, options: Options) -> dict[str, Any]:
    """Short samples, packed and padded."""
    drawn = samples(things, options.samples)
    tokens = sum(len(s.prompt) + len(s.answer) for s in drawn)
    device = things.policy.device
    say("supervised samples")
    return {
        "packed": measured(lambda: packed(things, drawn), options.turns, tokens, device),
        "padded": measured(lambda: padded(things, drawn, None), options.turns, tokens, device),
    }


def measured(work: Work, turns: int, tokens: int, device: torch.device) -> dict[str, Any]:
    """Median and range of the seconds, tokens/s and peak memory; or that it did not fit."""
    taken = []
    try:
        work()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(turns):
            begin = _now(device)
            work()
            taken.append(_now(device) - begin)
    except torch.OutOfMemoryError:
        _free(device)
        return {"failed": "out of memory"}
    seconds = float(np.median(taken))
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None
    return {"seconds": seconds, "range": [min(taken), max(taken)], "tokens_per_s": tokens / seconds, "peak_gb": peak}


def attentions(device: torch.device) -> list[str]:
    """Attention implementations of transformers that can run here."""
    names = ["sdpa"]
    if device.type == "cuda":
        names += ["flex_attention"] + ["flash_attention_2"] * is_flash_attn_2_available()
    return names


def matmul_ceiling(device: torch.device) -> float:
    """Operations a second of a large bfloat16 matrix product: more than any model can reach."""
    n, turns = (8192, 20) if device.type == "cuda" else (256, 3)
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    begin = _now(device)
    for _ in range(turns):
        a @ a
    return 2 * n**3 * turns / (_now(device) - begin)


def prompt_flops(policy: Policy, users: int, length: int) -> float:
    """Operations of one pass over the prompts: two for each weight of the layers a token, and causal attention."""
    config = policy.lm.get_base_model().config
    kv, heads = config.num_key_value_heads, config.num_attention_heads
    projections = config.hidden_size * config.head_dim * (2 * heads + 2 * kv)
    weights = config.num_hidden_layers * (projections + 3 * config.hidden_size * config.intermediate_size)
    attention = config.num_hidden_layers * 2 * length * heads * config.head_dim
    return float(users * length * (2 * weights + attention))


def markdown(found: dict[str, Any]) -> str:
    """A table a shape, every method a row."""
    lines = [
        f"{found['device']}; {', '.join(f'{name} {value}' for name, value in found['versions'].items())}.",
        f"Ceiling of the matrix product: {found['matmul_tflops']:.0f} TFLOPS. {found['items']:,} items, "
        f"3 x {found['codes']} codes.",
        "",
        "| model | prompt | work | method | seconds (range) | tokens/s | share of ceiling | users an hour | peak GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for shape, lengths in found["shapes"].items():
        for length, works in lengths.items():
            for work, methods in (works if length != "sft" else {"sft": works}).items():
                for method, taken in methods.items():
                    lines.append(f"| {shape} | {length} | {work} | {method} | {_cells(taken)} |")
    return "\n".join(lines) + "\n"


def _cells(taken: dict[str, Any]) -> str:
    if "failed" in taken:
        return f"{taken['failed']} | | | |"
    low, high = taken["range"]
    share, users, peak = (taken.get(name) for name in ("share_of_ceiling", "users_an_hour", "peak_gb"))
    return " | ".join(
        [
            f"{taken['seconds']:.3g} ({low:.3g} to {high:.3g})",
            f"{taken['tokens_per_s']:,.0f}",
            "" if share is None else f"{share:.2f}",
            "" if users is None else f"{users:,.0f}",
            "" if peak is None else f"{peak:.1f}",
        ]
    )


def _hugging_face(things: Setting, part: Batch) -> Work:
    theirs = HuggingFaceBeams(things)
    return lambda: theirs.search(part)


def _without_gradient(work: Work) -> Work:
    def quietly() -> object:
        with torch.no_grad():
            return work()

    return quietly


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except ConrecError as error:
        raise SystemExit(f"conrec: {error}") from None
