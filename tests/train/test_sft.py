"""Supervised training learns, and a run that died ends in the same bits as one that did not."""

import numpy as np
import pytest
import torch

from conrec.config import LmConfig, UnderstandConfig
from conrec.lm.model import build_policy, trained_state
from conrec.lm.prompts import translation
from conrec.lm.training import CHECKPOINT, Trainer
from conrec.train.sft import choices, train_supervised
from tests import tiny

pytestmark = pytest.mark.slow

WORDS = tiny.vocabulary()
CODES = tiny.codes(12)
TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "wired") for thing in ("boots", "sole", "hat", "phones")]
SAMPLES = translation(WORDS, CODES, TITLES)


def policy():
    words = [np.random.default_rng(0).normal(size=(s, 8)).astype(np.float32) for s in tiny.SIZES]
    return build_policy(LmConfig(hidden=48, layers=2, heads=4, kv_heads=2, ffn=64), WORDS, words, seed=0)


def train(model, folder, epochs=6.0):
    train_supervised(
        model,
        WORDS,
        SAMPLES,
        folder,
        UnderstandConfig(row_tokens=64, rows_per_step=4, learning_rate=5e-3, checkpoint_every=2),
        epochs=epochs,
        seed=1,
        title="test",
    )


def test_the_translation_is_learned(tmp_path):
    model = policy()
    back = [s for s in SAMPLES if s.answer in [WORDS.sid(c) for c in CODES]]
    rng = np.random.default_rng(0)
    options = np.stack([CODES[[n, *rng.choice(np.delete(np.arange(12), n), 3, replace=False)]] for n in range(12)])
    train(model, tmp_path, epochs=60)
    assert choices(model, WORDS, back, options).mean() > 0.9


def test_a_run_that_died_ends_in_the_same_bits(tmp_path, monkeypatch):
    whole = policy()
    train(whole, tmp_path / "whole")
    dying = policy()
    advance = Trainer.advance

    def die(self):
        advance(self)
        if self.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "advance", die)
    with pytest.raises(KeyboardInterrupt):
        train(dying, tmp_path / "died")
    assert (tmp_path / "died" / CHECKPOINT).exists()
    monkeypatch.setattr(Trainer, "advance", advance)
    again = policy()
    train(again, tmp_path / "died")
    one, two = trained_state(whole), trained_state(again)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "whole" / "curves.parquet").read_bytes() == (tmp_path / "died" / "curves.parquet").read_bytes()
    assert not (tmp_path / "died" / CHECKPOINT).exists()
