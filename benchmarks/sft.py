"""Supervised steps on short samples: packed rows, against padded batches as a Hugging Face trainer makes them.

Every method goes once through the same samples, forward and backward, and sums the loss up over all answer tokens. The
opponent pads a batch to its longest sample; the same at a fixed 512 is measured, too. Ours is measured with rows as
long as the recipes' and with short ones: a row's mask is quadratic in its length. The lower bound is as many tokens in
full rows of 128, nothing to keep apart, with the LM head on as many of them as there are answer tokens.

Exact means: the same gradient to 1e-4 of its length.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Result, compared, in_turns, one_thread, ratios
from benchmarks.setting import Setting, gradients, relative_error, setting
from conrec.config import UnderstandConfig
from conrec.lm.packing import collate, pack
from conrec.lm.prompts import Sample
from conrec.train.sft import PackedLoss

ROW_TOKENS, SHORT_ROW, TOGETHER, BATCH, FIXED = UnderstandConfig().row_tokens, 256, 2048, 16, 512
TO_LONGEST, TO_FIXED = "padded to the longest of the batch", f"padded to {FIXED}"
TOLERANCE = 1e-4


def bench(quick: bool) -> Result:
    """96 samples of 79 tokens in the mean and 214 at most, a model of 3 M weights."""
    with one_thread():
        things = setting(quick)
        drawn = samples(things, 12 if quick else 96)
        methods = {
            "ours": lambda: packed(things, drawn),
            f"ours, rows of {SHORT_ROW}": lambda: packed(things, drawn, SHORT_ROW),
            TO_LONGEST: lambda: padded(things, drawn, None),
            TO_FIXED: lambda: padded(things, drawn, FIXED),
            "lower bound": lambda: lower_bound(things, drawn),
        }
        found = {}
        for name in ("ours", TO_LONGEST):
            methods[name]()
            found[name] = gradients(things.policy)
        error = relative_error(found["ours"], found[TO_LONGEST])
        taken = in_turns(methods, 2 if quick else 5)
    lengths = [len(s.prompt) + len(s.answer) for s in drawn]
    return compared(
        taken,
        TO_LONGEST,
        bench="sft",
        work=f"{len(drawn)} samples of {np.mean(lengths):.0f} tokens in the mean and {max(lengths)} at most, "
        f"{things.parameters / 1e6:.1f} M weights",
        exact=error <= TOLERANCE,
        details={
            "relative_error_of_gradient": error,
            "tokens": sum(lengths),
            f"{TO_FIXED} over ours": float(np.median(ratios(taken, TO_FIXED))),
        },
    )


def samples(things: Setting, count: int, seed: int = 0) -> list[Sample]:
    """Prompts of random tokens; half the answers are a semantic ID, half a title."""
    rng = np.random.default_rng(seed)
    drawn = []
    for n in range(count):
        length = int(np.clip(rng.lognormal(4.25, 0.45), 24, 214))
        tokens = rng.integers(0, len(things.vocabulary), length).tolist()
        answer = 3 if n % 2 else int(rng.integers(4, 20))
        drawn.append(Sample(tokens[:-answer], tokens[-answer:]))
    return drawn


def packed(things: Setting, drawn: list[Sample], row_tokens: int = ROW_TOKENS) -> None:
    """Our method, about 2048 tokens at once; leaves the gradient on the policy."""
    rows = pack([len(s.prompt) + len(s.answer) for s in drawn], row_tokens)
    together = max(1, TOGETHER // row_tokens)
    loss = PackedLoss(things.policy)
    total = sum(len(s.answer) for s in drawn)
    things.policy.zero_grad(set_to_none=True)
    for begin in range(0, len(rows), together):
        row = collate(drawn, rows[begin : begin + together], things.vocabulary.pad)
        (loss(row) * (int((row.targets >= 0).sum()) / total)).backward()


def padded(things: Setting, drawn: list[Sample], length: int | None) -> None:
    """The usual method: batches padded on the right, labels of -100 outside the answers; leaves the gradient, too."""
    total = sum(len(s.answer) for s in drawn)
    things.policy.zero_grad(set_to_none=True)
    for begin in range(0, len(drawn), BATCH):
        batch = pad_batch(drawn[begin : begin + BATCH], length, things.vocabulary.pad)
        ids, mask, labels = (tensor.to(things.policy.device) for tensor in batch)
        output = things.policy.lm(
            input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=total, use_cache=False
        )
        output.loss.backward()


def pad_batch(drawn: list[Sample], length: int | None, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and labels int64 [B, L]; L is `length`, or without it the longest sample's."""
    width = length or max(len(s.prompt) + len(s.answer) for s in drawn)
    ids = torch.full((len(drawn), width), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for n, sample in enumerate(drawn):
        end = len(sample.prompt) + len(sample.answer)
        ids[n, :end] = torch.tensor(sample.prompt + sample.answer)
        mask[n, :end] = 1
        labels[n, len(sample.prompt) : end] = torch.tensor(sample.answer)
    return ids, mask, labels


def lower_bound(things: Setting, drawn: list[Sample]) -> None:
    """Pass over as many tokens and answer tokens, with nothing to keep apart."""
    tokens = torch.tensor([token for s in drawn for token in s.prompt + s.answer], device=things.policy.device)
    answers = sum(len(s.answer) for s in drawn)
    width = 128  # about a sample's: attention costs as much as theirs, not as much as a packed row's
    tokens = tokens[: len(tokens) // width * width].view(-1, width)
    things.policy.zero_grad(set_to_none=True)
    for part in tokens.split(TOGETHER // width):
        hidden = things.policy.body(input_ids=part, use_cache=False).last_hidden_state.flatten(0, 1)
        some = max(1, answers * part.numel() // tokens.numel())
        things.policy.head(hidden[:some]).log_softmax(-1).mean().backward()
