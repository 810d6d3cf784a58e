"""Text is data: it never becomes a special token."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from conrec.errors import ConrecError
from conrec.lm.vocabulary import Vocabulary
from tests import tiny

WORDS = tiny.vocabulary()
SPECIAL = set(WORDS.tokenizer.get_added_vocab().values())
NASTY = st.sampled_from(["<a_0>", "<b_5>", "<c_6>", "<|end|>", "<|pad|>", "<a_", "0>", " "])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(NASTY, st.text(max_size=5)), max_size=6).map("".join))
def test_no_text_becomes_a_special_token(text):
    ids = WORDS.text(text)
    assert not SPECIAL & set(ids)
    assert WORDS._plain.decode(ids, skip_special_tokens=False) == text


def _fast(model: models.Model, end: str) -> Vocabulary:
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Vocabulary._with_sids(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end), tiny.SIZES)


LETTERS = "abcdefghijklmnopqrstuvwxyz<>/|_[]0123456789"
SPELLED = {letter: 2 + n for n, letter in enumerate(LETTERS)}
OTHERS = {
    "unigram": _fast(models.Unigram([("</s>", 0.0), *((letter, -5.0) for letter in LETTERS)], 0, False), "</s>"),
    "wordlevel": _fast(models.WordLevel({"</s>": 0, "red": 1}, "</s>"), "</s>"),
    "wordpiece": _fast(models.WordPiece({"[SEP]": 0, "red": 1, "##d": 2}, unk_token="[SEP]"), "[SEP]"),
    "bpe": _fast(models.BPE({"<|end|>": 0, **SPELLED}, [], unk_token="<|end|>", ignore_merges=True), "<|end|>"),
}


@pytest.mark.parametrize("kind", OTHERS)
@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(NASTY, st.sampled_from(["</s>", "[SEP]", "red"]), st.text(max_size=5)), max_size=6))
@example(["</s>"])
@example(["[SEP]"])
@example(["<|end|>"])
def test_whatever_the_tokenizer_no_text_becomes_a_special_token(kind, parts):
    """These have their special tokens among their words, or say one for what they do not know."""
    words = OTHERS[kind]
    assert not {words.end, *words.tokenizer.get_added_vocab().values()} & set(words.text(" ".join(parts)))
    assert words.text("red") == words.tokenizer.encode("red", add_special_tokens=False)


def test_ids_of_a_level_are_consecutive_and_disjoint():
    ids = [WORDS.starts[t] + k for t, size in enumerate(tiny.SIZES) for k in range(size)]
    assert len(set(ids)) == sum(tiny.SIZES)
    assert set(ids) < SPECIAL
    assert WORDS.tokenizer.convert_ids_to_tokens(WORDS.sid([[1, 2, 3]])) == ["<a_1>", "<b_2>", "<c_3>"]


def test_saved_and_loaded(tmp_path):
    WORDS.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert (again.starts, again.sizes, again.end, again.pad) == (WORDS.starts, WORDS.sizes, WORDS.end, WORDS.pad)
    assert again.text("bulky <a_1> boots") == WORDS.text("bulky <a_1> boots")


def test_a_missing_checkpoint_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConrecError, match=r"lm\.checkpoint = '/nowhere/model'"):
        Vocabulary.of_checkpoint("/nowhere/model", (4, 4, 4))
