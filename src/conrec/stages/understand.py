"""Context understanding: the model learns the semantic IDs, then what makes an item disliked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.decode.inputs import Inputs
from conrec.files import write_json
from conrec.lm.model import build_policy, build_vocabulary, load_trained_policy, on_device, save_policy
from conrec.lm.prompts import Sample, translation
from conrec.pipeline.job import Job
from conrec.processes import is_main
from conrec.progress import say
from conrec.train.alignment import alignment_samples, ask
from conrec.train.sft import choices, train_supervised

Validate = Callable[[], dict[str, float]]
MIN_QUESTIONS = 50
WATCHED = 100
"""Held-out questions that are asked during training."""


def understand(job: Job) -> None:
    """Write `tokenizer/`, `weights.safetensors`, `curves.parquet` and `metrics.json`."""
    recipe, out, seed = job.recipe, job.out, job.seed
    inputs = Inputs.of(recipe, job.log)
    catalog = inputs.log_view.catalog
    vocabulary = build_vocabulary(recipe.lm, catalog.titles, catalog.sizes)
    if is_main():
        vocabulary.save(out / "tokenizer")
    policy = on_device(build_policy(recipe.lm, vocabulary, catalog.codewords, seed), recipe.lm)
    known = inputs.split.may_learn(inputs.log_view.events)
    seen = np.isin(np.arange(len(inputs.log_view.items)), inputs.log_view.events.items[known])
    says = inputs.log_view.items.says if recipe.lm.text_tokens else catalog.titles.__getitem__
    titles = [says(row) for row in np.flatnonzero(seen).tolist()]
    config, items = recipe.understand, inputs.item_tokens(vocabulary)

    def train(task: str, samples: list[Sample], epochs: float, validate: Validate | None = None) -> None:
        """One supervised task; a task that an earlier try finished is loaded instead."""
        if (out / task / "weights.safetensors").exists():
            return load_trained_policy(policy, out / task)
        train_supervised(
            policy, vocabulary, samples, out / task, config, epochs=epochs, seed=seed, title=task, validate=validate
        )
        save_policy(policy, out / task)

    train("translation", translation(vocabulary, catalog.codes[seen], titles), config.translation_epochs)
    questions, kept = ask(inputs.log_view.events, known, catalog.codes, config, seed)
    asked = len(questions), len(kept)
    metrics: dict[str, Any] = {"chance": 0.25, "questions": asked[0], "questions_held_out": asked[1]}
    parts = ["translation"]
    if min(asked) < MIN_QUESTIONS or not config.alignment_epochs:
        say(
            f"item-level alignment is skipped: {asked[0]} + {asked[1]} held-out questions (it needs {MIN_QUESTIONS} "
            "each, and an epoch); they ask users with three likes and understand.alignment_min_repeats dislikes"
        )
    else:
        held_out = alignment_samples(items, kept, seed)
        options = catalog.codes[kept]

        def accuracy(most: int = WATCHED) -> dict[str, float]:
            right = choices(policy, vocabulary, held_out[:most], options[:most])
            return {"alignment_accuracy": float(right.mean())}

        before = accuracy(len(held_out))["alignment_accuracy"]
        samples = alignment_samples(items, questions, seed)
        train("alignment", samples, config.alignment_epochs, accuracy)
        parts.append("alignment")
        metrics |= accuracy(len(held_out)) | {"alignment_accuracy_before": before}
    save_policy(policy, out)
    if not is_main():
        return
    curves = pa.concat_tables([pq.read_table(out / part / "curves.parquet") for part in parts])
    pq.write_table(curves, out / "curves.parquet")
    metrics["parameters"] = sum(p.numel() for p in policy.parameters())
    metrics["trainable"] = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    write_json(out / "metrics.json", metrics)
    if "alignment_accuracy" in metrics:
        after, before = metrics["alignment_accuracy"], metrics["alignment_accuracy_before"]
        say(f"alignment: {after:.3f} of {asked[1]} held-out questions right (chance 0.25, before {before:.3f})")
