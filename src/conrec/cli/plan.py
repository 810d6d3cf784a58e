"""`conrec plan`: what each stage of a run will need, and what will not fit."""

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from conrec.config import LmConfig, Recipe


@dataclass(frozen=True)
class Planned:
    recipe: Annotated[Positional[Path], arg(metavar="RECIPE", help="As `conrec run` takes it.")]
    users: int
    items: int
    events: Annotated[int, arg(help="Of the log, exposures included.")]
    dislikes: Annotated[float, arg(metavar="SHARE", help="Of the events.")] = 0.06
    likes: Annotated[float, arg(metavar="SHARE", help="Of the events.")] = 0.14
    days: Annotated[int, arg(help="Length of the log.")] = 180
    settings: Annotated[Path | None, arg(name="with", metavar="TOML", help="As `conrec run` takes it.")] = None
    policy: Annotated[bool, arg(help="With the language model, as `conrec run --policy`.")] = False
    devices: Annotated[int, arg(help="GPUs for the language model.")] = 1
    memory: Annotated[float, arg(metavar="GB", help="Of the machine; 0: of this one.")] = 0
    device_memory: Annotated[float, arg(metavar="GB", help="Of a GPU; 0: the language model is in the machine's.")] = 0
    flops: Annotated[float, arg(metavar="TFLOPS", help="What a GPU's maker says (dense, bfloat16); 0: timed here.")] = 0
    json: Annotated[bool, arg(help="In seconds and bytes.")] = False


def plan(args: Planned) -> None:
    """Say before a run what each stage will need: hours, memory, and storage; and what will not fit.

    Measured rates are scaled by work that is timed here, a step of the language model among it; with --flops that is
    arithmetic, and `lm.checkpoint` may be a folder with nothing but config.json.

    Example: conrec plan shop.toml --users 1000000 --items 100000 --events 50000000
    """
    from conrec.config import POLICY_TEMPERATURES
    from conrec.plan.costs import Plan
    from conrec.report.texts import sentences
    from conrec.run import named_recipe, stages_of
    from conrec.toml import read_table

    recipe = named_recipe(args.recipe, args.settings)
    rates = read_table(Path(__file__).parents[1] / "plan" / "rates.toml")
    asking = replace(recipe.predict, temperatures=POLICY_TEMPERATURES)
    recipe = replace(recipe, predict=asking) if args.policy else recipe
    log = {name: getattr(args, name) for name in ("users", "items", "events", "days")}
    wanted = Plan(recipe, log | {name: args.events * getattr(args, name) for name in ("dislikes", "likes")}, {})
    slowness, rate = reference() / rates["reference"], 1e12 * args.flops * rates["share_of_flops"] * args.devices
    if asks := recipe.sid.levels > 0 and recipe.predict.asks_policy:
        shape, step = language_model(recipe, (round(wanted.units["level"]),) * recipe.sid.levels, args.flops > 0)
        wanted, ask = replace(wanted, shape=shape), recipe.understand
        rate = rate or args.devices * 3 * wanted.forward(ask.rows_per_step * ask.row_tokens, ask.row_tokens) / step
    there, found = (args.memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9) * 1e9, []
    for stage in [one.name for one in stages_of(recipe)] + ["snapshot"]:
        seconds, memory, storage = wanted.of_log(rates["stages"].get(stage, {}))
        one = {"stage": stage, "seconds": seconds * slowness, "memory": memory, "device": 0.0, "storage": storage}
        if asks and stage in ("understand", "utilize", "predict"):
            one["seconds"] += sum(n / rate / rates["steps"][kind] for kind, n in wanted.work(stage).items())
            one["device" if args.device_memory else "memory"] += wanted.memory(stage, args.devices)
            one["storage"] += 4 * wanted.shape["trainable"] * {"understand": 6, "utilize": 7}.get(stage, 0)
        found.append(one | {"fits": one["memory"] <= there and one["device"] <= args.device_memory * 1e9})
    how = {"slowness": slowness, "operations_a_second": rate, "memory": there, "shape": wanted.shape, "stages": found}
    print(json.dumps(how) if args.json else sentences("plan/plan.txt").told(how, args))


def reference() -> float:
    """Seconds of the processor that sorting and a matrix product of fixed sizes take here."""
    import numpy as np

    keys = np.random.default_rng(0).integers(0, 1 << 40, 4_000_000)
    begin, matrix = time.process_time(), keys.astype(np.float32).reshape(2000, 2000)
    _ = np.unique(keys[np.argsort(keys, kind="stable")] >> 20), matrix @ matrix
    return time.process_time() - begin


def language_model(recipe: Recipe, sizes: tuple[int, ...], on_paper: bool) -> tuple[dict[str, float], float]:
    """The shape of a recipe's model, and the seconds of a step of it here (not on paper)."""
    import numpy as np
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from conrec.lm.model import build_policy, build_vocabulary, cut, device, with_lora

    config, step, ask = recipe.lm, 1e9, recipe.understand
    if on_paper and config.checkpoint:
        with torch.device("meta"):
            own_config = AutoConfig.from_pretrained(config.checkpoint, trust_remote_code=False)
            lm: Any = AutoModelForCausalLM.from_config(own_config)
            lm = cut(lm, config.first_layers) if config.first_layers else lm
            lm = with_lora(lm, config, build_vocabulary(LmConfig(), ["a"], sizes)) if config.lora_rank else lm
    else:
        words = build_vocabulary(config, ["a"], sizes)
        policy = build_policy(config, words, [np.eye(n, 64, dtype=np.float32) for n in sizes], 0).to(device())
        lm, ids = policy.lm, torch.zeros(ask.rows_per_step, ask.row_tokens, dtype=torch.long, device=device())
        for _ in range(0 if on_paper else 10):
            begin = time.monotonic()
            policy.body(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()
            step = min(step, time.monotonic() - begin)
    own, tied = lm.config.get_text_config(), bool(lm.config.tie_word_embeddings)  # adapters wrap the two apart
    heads, width, weights = own.num_attention_heads, own.hidden_size, list(lm.parameters())
    cached = 2 * (getattr(own, "head_dim", None) or width // heads) * (getattr(own, "num_key_value_heads", 0) or heads)
    shape = {"hidden": width, "ffn": getattr(own, "intermediate_size", 4 * width), "layers": own.num_hidden_layers}
    shape |= {"parameters": sum(p.numel() for p in weights), "embedded": (2 - tied) * own.vocab_size * width}
    shape |= {"trainable": sum(p.numel() for p in weights if p.requires_grad), "vocabulary": own.vocab_size}
    return shape | {"cached": cached, "bytes": 2 if on_paper or config.dtype == "bfloat16" else 4}, step
