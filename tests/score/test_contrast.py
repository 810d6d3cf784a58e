"""The contrast of both questions: one pass is two, training learns and continues, and what is saved is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conrec.config import LmConfig
from conrec.data.instances import Instances, Ragged
from conrec.lm.model import build_policy
from conrec.lm.policy import Policy, pad_prompts
from conrec.lm.prompts import HistoryPrompts
from conrec.score import contrast as module
from conrec.score.contrast import Contrast, Judged, Polarity, train_contrast
from tests.tiny import SIZES, codes, vocabulary

LM = LmConfig(hidden=32, layers=2, heads=4, kv_heads=2, ffn=48, vocabulary=300, max_dislikes=6, max_positives=6)
CODES = codes(30)
WORDS = vocabulary()
CODEWORDS = [np.random.default_rng(t).normal(size=(size, 8)).astype(np.float32) for t, size in enumerate(SIZES)]
START = np.datetime64("2026-01-01", "us")


def histories(n: int, seed: int = 0) -> tuple[Instances, np.ndarray]:
    """Users who dislike either the items whose first code is even or the others; bool [n]: which."""
    rng = np.random.default_rng(seed)
    even = rng.random(n) < 0.5
    groups = [np.flatnonzero(CODES[:, 0] % 2 == 1 - k) for k in (0, 1)]
    dislikes = Ragged.of([rng.choice(groups[int(k)], rng.integers(1, 6)) for k in even])
    positives = Ragged.of([rng.choice(groups[1 - int(k)], rng.integers(0, 6)) for k in even])
    nothing = Ragged.of([[]] * n)
    counts = np.ones(n, int)
    return (
        Instances(
            np.arange(n), np.full(n, "train"), np.array([f"u{k}" for k in range(n)]), np.full(n, START), counts, counts,
            dislikes, Ragged(np.full(len(dislikes.values), START), dislikes.offsets),
            positives, Ragged(np.full(len(positives.values), START), positives.offsets),
            nothing, np.full(n, -1), nothing, nothing,
        ),
        even,
    )  # fmt: skip


def judged(n: int, seed: int = 0) -> Judged:
    instances, even = histories(n, seed)
    rng = np.random.default_rng(seed + 100)
    shown = Ragged.of([rng.choice(30, rng.integers(1, 8), replace=False) for _ in range(n)])
    disliked = (CODES[shown.values, 0] % 2 == 0) == even[shown.owners]
    return Judged(instances, shown, Ragged(disliked, shown.offsets))


def policy(seed: int = 0) -> Policy:
    return build_policy(LM, WORDS, CODEWORDS, seed)


def prompts() -> HistoryPrompts:
    return HistoryPrompts(WORDS, CODES, max_dislikes=6, max_positives=6, recent_days=0)


def trained(folder: Path, epochs: float = 25.0, every: int = 1000) -> Contrast:
    return train_contrast(
        policy(),
        WORDS,
        LM,
        CODES,
        judged(96),
        folder,
        epochs=epochs,
        learning_rate=5e-3,
        checkpoint_every=every,
        seed=0,
    )


def test_one_pass_is_what_two_prompts_give() -> None:
    instances, _ = histories(5)
    model = Polarity(policy().eval(), prompts())
    whole = [[prompts().of(instances, n, "full", question=q) for n in range(5)] for q in module.QUESTIONS]
    with torch.no_grad():
        found = model.difference(*pad_prompts([prompts().of(instances, n, "full", question=None) for n in range(5)], 0))
        disliked, liked = (model.policy.prefill(*pad_prompts(asked, WORDS.pad)).hidden for asked in whole)
    torch.testing.assert_close(found, disliked - liked, atol=2e-5, rtol=1e-4)


def test_the_two_questions_differ_and_begin_as_a_prompt_does() -> None:
    instances, _ = histories(1)
    whole = prompts().of(instances, 0, "full")
    history = prompts().of(instances, 0, "full", question=None)
    assert whole == history + prompts().question("next")
    assert prompts().question("next") != prompts().question("next_liked")


@pytest.mark.slow
def test_it_learns_who_dislikes_what(tmp_path: Path) -> None:
    contrast = trained(tmp_path)
    instances, even = histories(60, seed=7)
    scores = contrast.user_vectors(instances, CODES, CODEWORDS) @ contrast.item_vectors(CODES).T
    disliked = (CODES[:, 0] % 2 == 0) == even[:, None]
    assert (scores[disliked][:, None] > scores[~disliked][None]).mean() > 0.9


def test_what_is_saved_gives_the_same(tmp_path: Path) -> None:
    contrast = trained(tmp_path, epochs=1)
    instances, _ = histories(9, seed=3)
    again = Contrast.load(tmp_path)
    assert again.dimensions == contrast.dimensions
    np.testing.assert_allclose(again.item_vectors(CODES), contrast.item_vectors(CODES), atol=1e-6)
    expected = contrast.user_vectors(instances, CODES, CODEWORDS)
    np.testing.assert_allclose(again.user_vectors(instances, CODES, CODEWORDS), expected, atol=1e-6)
    # All directions kept, the dot product is the model's own contrast.
    assert contrast._policy is not None
    model = Polarity(contrast._policy, prompts())
    ids, mask = pad_prompts([prompts().of(instances, n, "full", question=None) for n in range(9)], WORDS.pad)
    with torch.no_grad():
        all_items = torch.as_tensor(CODES.astype(np.int64)).expand(9, -1, -1)
        exact = model(ids, mask, all_items).numpy()
    exact = exact - exact.mean(axis=1, keepdims=True)
    own = expected @ contrast.item_vectors(CODES).T
    np.testing.assert_allclose(own - own.mean(axis=1, keepdims=True), exact, atol=1e-3)


@pytest.mark.slow
def test_a_training_that_died_ends_in_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole", epochs=3, every=4)

    class Died(Exception):
        pass

    steps = 0

    def dying(self: module.Trainer, loss: torch.Tensor) -> float:
        nonlocal steps
        steps += 1
        if steps == 7:
            raise Died
        return real(self, loss)

    real = module.Trainer.update
    monkeypatch.setattr(module.Trainer, "update", dying)
    with pytest.raises(Died):
        trained(tmp_path / "died", epochs=3, every=4)
    again = trained(tmp_path / "died", epochs=3, every=4)
    np.testing.assert_array_equal(again.item_vectors(CODES), whole.item_vectors(CODES))


def test_a_history_without_anything_has_a_vector(tmp_path: Path) -> None:
    contrast = trained(tmp_path, epochs=1)
    instances, _ = histories(2)
    empty = Ragged.of([[], []])
    instances = replace(instances, dislikes=empty, positives=empty)
    assert np.isfinite(contrast.user_vectors(instances, CODES, CODEWORDS)).all()
