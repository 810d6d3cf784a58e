"""Beams: one prompt pass a user and a trie, against Hugging Face `generate` with `prefix_allowed_tokens_fn`.

Both search with 20 beams under the same scores (log-softmax over the whole vocabulary, then the mask). The
lower bound is the pass over the prompts alone, by the model itself with plain causal attention.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from transformers import GenerationConfig

from benchmarks.measure import Result, compared, in_turns, one_thread, ratios
from benchmarks.setting import LEVELS, Setting, setting
from conrec.decode.beam import best_items, search
from conrec.decode.prompt_dataset import Batch

K = 20
WIDE = 100
TOLERANCE = 1e-4
HF = "Hugging Face generate, prefix_allowed_tokens_fn"


def bench(quick: bool) -> Result:
    """8 users, prompts of 512 tokens, 10,000 items, a model of 3 M weights."""
    users, length = (2, 24) if quick else (8, 512)
    with one_thread(), torch.no_grad():
        things = setting(quick)
        part = things.prompts(users, length)
        theirs = HuggingFaceBeams(things)
        taken = in_turns(
            {
                "ours": lambda: beams(things, part, K),
                f"ours, {WIDE} beams inside": lambda: beams(things, part, WIDE),
                "lower bound": lambda: things.policy.body(input_ids=part.prompt_ids, use_cache=True),
                HF: lambda: theirs.search(part),
            },
            2 if quick else 7,
        )
        same, difference = agreement(things, part, theirs.search(part))
    times, passes = (float(np.median(ratios(taken, *pair))) for pair in ((HF, "ours"), ("ours", "lower bound")))
    return compared(
        taken,
        HF,
        bench="decode",
        work=work_of(things, part),
        exact=same,
        targets={} if quick else {"at least 20 times": times >= 20, "at most 1.3 prompt passes": passes <= 1.3},
        details={"largest_difference_of_scores": difference, "prompt_passes": passes},
    )


def work_of(things: Setting, part: Batch) -> str:
    """What is searched for, in one line."""
    users, length = part.prompt_ids.shape
    sizes = f"{users} users, {length} tokens each, {len(things.codes):,} items, {K} beams"
    return f"{sizes}, {things.parameters / 1e6:.1f} M weights"


def agreement(things: Setting, part: Batch, found: tuple[np.ndarray, np.ndarray]) -> tuple[bool, float]:
    """Whether others' items and scores are ours, to the tolerance; the largest difference of the scores."""
    items, scores = beams(things, part, K)
    difference = float(np.abs(scores - found[1]).max())
    return bool((items == found[0]).all()) and difference <= TOLERANCE, difference


def beams(things: Setting, part: Batch, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Our items int32 [B, 20] and scores float32 [B, 20]."""
    policy, pool = things.whole_vocabulary, things.pool
    state = policy.prefill(part.prompt_ids, part.prompt_mask)
    found = search(policy, state, part.rows, pool, beams=width)
    return best_items(found, pool, part.rows, [np.zeros(0, np.int64)] * len(part.rows), K)


def prefixes(things: Setting) -> tuple[dict[tuple[int, ...], int], dict[tuple[int, ...], list[int]]]:
    """The catalogue in tokens: the row of each item, and what may follow each prefix, ascending."""
    tokens = things.codes + np.asarray(things.vocabulary.starts)
    rows = {tuple(row): n for n, row in enumerate(tokens.tolist())}
    below: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in rows:
        for t in range(LEVELS):
            below[row[:t]].add(row[t])
    return rows, {prefix: sorted(next_tokens) for prefix, next_tokens in below.items()}


class HuggingFaceBeams:
    """`generate` of the same model, with the catalogue as a table from each prefix to what may follow."""

    def __init__(self, things: Setting) -> None:
        self._rows, self._below = prefixes(things)
        self._lm = things.policy.lm
        # `generate` fills every gap of the settings it is given from the model's own: those must be empty.
        self._lm.generation_config = GenerationConfig()
        self._settings = GenerationConfig(
            max_new_tokens=LEVELS,
            min_new_tokens=LEVELS,
            num_beams=K,
            num_return_sequences=K,
            do_sample=False,
            length_penalty=0.0,
            pad_token_id=things.vocabulary.pad,
            return_dict_in_generate=True,
            output_scores=True,
        )

    def search(self, part: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Items int32 [B, 20] and scores float32 [B, 20], best first."""
        length = part.prompt_ids.shape[1]
        output = self._lm.generate(
            part.prompt_ids,
            attention_mask=part.prompt_mask.long(),
            generation_config=self._settings,
            prefix_allowed_tokens_fn=lambda _, tokens: self._below[tuple(tokens[length:].tolist())],
        )
        answers = output.sequences[:, length:].tolist()
        items = np.array([self._rows[tuple(answer)] for answer in answers], dtype=np.int32)
        return items.reshape(-1, K), output.sequences_scores.cpu().numpy().reshape(-1, K)
