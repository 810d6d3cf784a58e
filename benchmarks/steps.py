"""What real steps of training and decoding reach, against a plain pass: the table `[steps]` of `conrec plan`'s rates.

    python -m benchmarks.steps demo --users 3000 --items 1500 --events 2300000 --write src/conrec/plan/rates.toml

`conrec plan` times one thing of a language model, packed rows of random tokens forward and backward through its body.
Here that is timed in turns with a supervised step, a step of GRPO and a beam search of the same recipe. A ratio is
operations a second of the one over those of the other, operations as `conrec.plan.costs` counts them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import tomli_w
import torch

from benchmarks.measure import in_turns
from benchmarks.scale import HEAD
from benchmarks.setting import everything, random_codes
from conrec.cli.plan import language_model
from conrec.config import load_recipe
from conrec.decode.beam import search
from conrec.decode.prompt_dataset import Batch
from conrec.lm.model import Frozen, build_policy, build_vocabulary
from conrec.lm.packing import collate, pack
from conrec.lm.prompts import Sample
from conrec.plan.costs import TITLE, WORDING, Plan
from conrec.progress import say
from conrec.run import find_recipe
from conrec.toml import read_table
from conrec.train.grpo import rollout
from conrec.train.sft import PackedLoss

TURNS = 5


def ratios(recipe_name: str, users: int, items: int, events: int) -> dict[str, float]:
    """Kind of step -> operations a second over those of the plain pass, median of the turns."""
    recipe = load_recipe(find_recipe(Path(recipe_name)))
    recipe = replace(recipe, predict=replace(recipe.predict, temperatures=(inf, 1.0)))
    log = {"users": users, "items": items, "events": events, "days": 100}
    log |= {"dislikes": 0.06 * events, "likes": 0.14 * events}
    sizes = (round(Plan(recipe, log, {}).units["level"]),) * recipe.sid.levels
    plan = Plan(recipe, log, language_model(recipe, sizes, on_paper=True)[0])
    words, rng, ask = build_vocabulary(recipe.lm, ["a"], sizes), np.random.default_rng(0), recipe.understand
    policy = build_policy(recipe.lm, words, [np.eye(n, 64, dtype=np.float32) for n in sizes], 0)
    reference, pool = Frozen(policy), everything(random_codes(items, sizes, rng), sizes)

    def batch(size: int) -> Batch:
        ids = torch.as_tensor(rng.integers(0, len(words), (size, round(plan.units["prompt"]))))
        return Batch(np.arange(size), ids, torch.ones_like(ids, dtype=torch.bool), ids.new_zeros(size))

    learned = (TITLE + 1 + recipe.sid.levels) // 2
    samples = [Sample([0] * (TITLE + WORDING - learned), [0] * learned)] * (ask.rows_per_step * ask.row_tokens // 22)
    rows = pack([TITLE + WORDING] * len(samples), ask.row_tokens)[: ask.rows_per_step]
    row, prompts = collate(samples, rows, words.pad), batch(recipe.utilize.prompts_per_step)
    asked, config, generator = batch(recipe.predict.batch), recipe.utilize, torch.Generator().manual_seed(0)
    ids = torch.zeros(ask.rows_per_step, ask.row_tokens, dtype=torch.long)

    def grpo() -> None:
        codes, _ = rollout(policy, prompts, pool, config.num_generations, generator)
        answers = prompts.prompt_ids, prompts.prompt_mask, codes, prompts.rows, pool
        with torch.no_grad():
            reference(*answers)
        for _ in range(config.num_iterations):
            policy(*answers).sum().backward()

    def decode() -> None:
        with torch.no_grad():
            state = policy.prefill(asked.prompt_ids, asked.prompt_mask)
            search(policy, state, asked.rows, pool, beams=recipe.predict.beams)

    steps: dict[str, Callable[[], object]] = {
        "plain": lambda: policy.body(input_ids=ids, use_cache=False).last_hidden_state.sum().backward(),
        "supervised": lambda: PackedLoss(policy)(row).backward(),
        "grpo": grpo,
        "decode": decode,
    }
    taken = in_turns(steps, TURNS)
    tokens = {"supervised": ask.rows_per_step * ask.row_tokens, "grpo": len(prompts.rows), "decode": len(asked.rows)}
    group = plan.behind(config.num_generations) * (2 + 3 * config.num_iterations)
    operations = {
        "plain": 3 * plan.forward(ids.numel(), ask.row_tokens),
        "supervised": plan.packed(tokens["supervised"]),
        "grpo": tokens["grpo"] * group,
        "decode": tokens["decode"] * plan.behind(recipe.predict.beams),
    }
    rate = {name: operations[name] / taken[name] for name in steps}
    for name, one in rate.items():
        say(f"{name}: {np.median(one) / 1e9:.2f} GFLOPS, {np.median(taken[name]):.3f} s a step")
    return {name: float(np.median(one / rate["plain"])) for name, one in rate.items() if name != "plain"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", default="demo")
    for number in ("users", "items", "events"):
        parser.add_argument(f"--{number}", type=int, required=True)
    parser.add_argument("--write", type=Path, metavar="TOML")
    options = parser.parse_args()
    found = ratios(options.recipe, options.users, options.items, options.events)
    print(found)
    if options.write:
        kept = read_table(options.write)
        options.write.write_text(HEAD + tomli_w.dumps(kept | {"steps": {k: round(v, 3) for k, v in found.items()}}))
