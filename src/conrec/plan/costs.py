"""What a run will need: what is about the log by measured rates (`rates.toml`), what is asked of the language model by
counting operations and numbers. docs/scale.md says how near that comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isinf
from typing import Any

from conrec.config import Recipe
from conrec.score.backtest import ENOUGH, MOST

TITLE, WORDING = 10, 12  # tokens of a title, and of what a prompt says around it
LOOKED_AT, VALIDATIONS, COMPARED = 1.5, 5, 1000  # prompts that GRPO looks at for each, validations and lists of a stage

CACHED = 3e6
"""Events that caches hold, more or less: to sort what lies beyond takes twice as long."""


@dataclass(frozen=True)
class Plan:
    """A recipe; a log (`users`, `items`, `events`, `dislikes`, `likes`, `days`); the shape of a language model, empty
    without one (`parameters`, `trainable`, `embedded`: weights of embeddings and head, `hidden`, `ffn`, `layers`,
    `cached`: numbers of a token and layer, `vocabulary`, `bytes` of a number)."""

    recipe: Recipe
    log: Mapping[str, float]
    shape: Mapping[str, float]

    @property
    def units(self) -> dict[str, float]:
        """What rates are per, by name; and codes of a `level`, tokens of a `prompt`, forward passes of a step."""
        split, sid, lm, log = self.recipe.split, self.recipe.sid, self.recipe.lm, self.log
        dislikes, likes, events = (log[name] / log["users"] for name in ("dislikes", "likes", "events"))
        windows = max(1.0, (1 - split.validation_from) * log["days"] / split.horizon_days)
        disliking, shown = (1 - exp(-split.horizon_days * n / log["days"]) for n in (dislikes, events))
        # Users with a dislike in a window are held out; those with one before it and something shown are replayed.
        replayed = log["users"] * shown * (1 - exp(-0.85 * dislikes))
        asked = windows * (log["users"] * disliking + replayed)
        told, a_window = log["dislikes"] + log["likes"], split.horizon_days / log["days"]
        level = float(sid.codes or min(8192.0, max(64.0, log["items"] / 39)))
        told_of = min(lm.max_dislikes, 0.7 * dislikes) + min(lm.max_positives, 0.7 * likes)
        prompt = WORDING + (sid.levels + lm.text_tokens) * told_of
        codes = log["items"] * level * sid.levels * (sid.epochs + 75)  # k-means: 25 a level
        learned = min(split.validation_from * told, max(ENOUGH, min(MOST, told * a_window)))
        more = {"asked": asked, "cells": asked * log["items"], "codes": codes, "level": level, "prompt": prompt}
        more |= {"backward": 3.0 - (lm.lora_rank > 0) + lm.gradient_checkpointing}
        more |= {"learned": learned, "windowed": replayed * learned / told / a_window, "met": asked * events}
        more["uncached"] = max(0.0, log["events"] - CACHED)
        return {"runs": 1.0, "passes": log["items"] * sid.epochs * bool(sid.levels), **log, **more}

    def of_log(self, rates: Mapping[str, Any]) -> list[float]:
        """Seconds, memory, and storage of a stage with these rates, the language model left out."""
        return [sum(n * self.units[u] for u, n in rates.get(x, {}).items()) for x in ("seconds", "memory", "storage")]

    def forward(self, tokens: float, context: float) -> float:
        """Operations of tokens through the model, each of which looks at so many."""
        body = self.shape["parameters"] - self.shape["embedded"]
        return tokens * (2 * body + 4 * self.shape["layers"] * self.shape["hidden"] * context)

    def behind(self, answers: float) -> float:
        """Operations of a prompt and its answers, forward."""
        tokens = self.units["prompt"] + answers * (self.recipe.sid.levels - 1)
        return self.forward(tokens, tokens) + 2 * self.shape["hidden"] * self.units["level"] * answers

    def packed(self, tokens: float) -> float:
        """Operations of tokens in packed rows, forward and backward, and of logits of a third of them."""
        body = self.units["backward"] * self.forward(tokens, self.recipe.understand.row_tokens)
        return body + 2 * tokens * self.shape["hidden"] * self.shape["vocabulary"]

    def work(self, stage: str) -> dict[str, float]:
        """Operations of a stage, by the kind of step that they are done in: supervised, grpo, or decode."""
        recipe, config, ask, units = self.recipe, self.recipe.utilize, self.recipe.understand, self.units
        learned, asked = units["dislikes"] * recipe.split.validation_from, units["asked"]
        search, prompts = self.behind(recipe.predict.beams), [one.prompts for one in config.stages]
        if stage == "understand":
            tokens = 2 * units["items"] * ask.translation_epochs * (TITLE + WORDING)
            question = WORDING + 5 * recipe.sid.levels + 4 * recipe.lm.text_tokens
            tokens += min(ask.alignment_samples, learned) * ask.alignment_epochs * question
            return {"supervised": self.packed(tokens)}
        if stage == "utilize":
            group, warm = self.behind(config.num_generations), learned * config.warmup_epochs * self.behind(1)
            watched = min(config.validation_users, asked) * (VALIDATIONS * len(prompts) + 4)
            drawn = sum(prompts) * group * (2 + units["backward"] * config.num_iterations)  # the reference, too
            decoded = watched * search + (LOOKED_AT * sum(prompts[1:]) + watched) * group
            return {"grpo": units["backward"] * warm + drawn, "decode": decoded}
        temperatures = sum(not isinf(one) for one in recipe.predict.temperatures)
        return {"decode": search * (min(2000, asked) * temperatures + COMPARED * (len(prompts) + 1) + asked)}

    def memory(self, stage: str, devices: int) -> float:
        """Bytes that a device holds at the most: all weights (in training with `lm.sharded`: its share of the layers),
        and its share of a step."""
        shape, recipe, prompt, own = self.shape, self.recipe, self.units["prompt"], self.recipe.sid.levels - 1
        weights = 4 * shape["trainable"] + (shape["parameters"] - shape["trainable"]) * shape["bytes"]
        if stage == "predict":
            tokens = recipe.predict.batch * (prompt + recipe.predict.beams * own)
            return weights + tokens * shape["layers"] * shape["cached"] * shape["bytes"]
        whole = shape["embedded"] / shape["parameters"] if recipe.lm.sharded else 1.0
        weights += 12 * shape["trainable"]  # gradient, AdamW's two
        logits, parts, layer = 0.0, devices * recipe.lm.accumulate, 14 * shape["hidden"] + 3 * shape["ffn"]
        if stage == "understand":
            tokens = recipe.understand.rows_per_step * recipe.understand.row_tokens / parts
            logits = tokens / 3 * shape["vocabulary"] * 12
        else:
            tokens = recipe.utilize.prompts_per_step * (prompt + recipe.utilize.num_generations * own) / parts
            weights += 4 * shape["trainable"]  # the reference
        kept = layer * (1 if recipe.lm.gradient_checkpointing else shape["layers"]) + shape["hidden"] * shape["layers"]
        return weights * (whole + (1 - whole) / devices) + logits + tokens * shape["bytes"] * kept
