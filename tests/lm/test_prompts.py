"""Items in prompts: their semantic IDs, and behind so many tokens of what they say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from conrec.data.instances import as_items
from conrec.data.schema import ITEMS
from conrec.lm.prompts import ItemTokens, alignment
from tests import tiny

WORDS, CODES = tiny.vocabulary(), tiny.codes(4)
SAYS = ["red boots", "", "<a_1><|end|> wired headphones " * 100, "free shipping!!"]
ROWS = np.array([3, 1, 2])


def test_without_text_an_item_is_its_id() -> None:
    for items in (ItemTokens(WORDS, CODES), ItemTokens(WORDS, CODES, SAYS.__getitem__, 0)):
        assert items.of(ROWS) == WORDS.sid(CODES[ROWS])


@pytest.mark.parametrize("most", [1, 3, 50])
def test_what_an_item_says_stands_before_its_id(most: int) -> None:
    items, expected = ItemTokens(WORDS, CODES, SAYS.__getitem__, most), []
    for row in ROWS:
        expected += WORDS.text(SAYS[row])[:most] + WORDS.sid(CODES[row])
    assert items.of(ROWS) == expected


def test_a_title_never_becomes_a_token_of_ours() -> None:
    tokens = ItemTokens(WORDS, CODES, SAYS.__getitem__, 40).of(np.array([2]))
    special = {*range(WORDS.starts[0], WORDS.starts[0] + sum(WORDS.sizes)), WORDS.end, WORDS.pad}
    assert len(tokens) == 43
    assert not special & set(tokens[:40])


def test_the_question_reads_and_the_answer_is_an_id() -> None:
    items, four = ItemTokens(WORDS, CODES, SAYS.__getitem__, 5), np.array([2, 0, 3, 1])
    sample = alignment(items, four, 1)
    assert sample.answer == WORDS.sid(CODES[0])
    begin = len(WORDS.text("One disliked, three bought: "))
    assert sample.prompt[begin : begin + len(items.of(four))] == items.of(four)


def test_an_item_says_its_title_and_its_text() -> None:
    columns = {field.name: pa.nulls(2, field.type) for field in ITEMS}
    columns |= {"item_id": pa.array(["a", "b"]), "title": pa.array(["A film", "Another"])}
    columns["text"] = pa.array(["It begins.", None])
    items = as_items(pa.table(columns))
    assert [items.says(0), items.says(1)] == ["A film: It begins.", "Another"]
    assert as_items(pa.table(columns).drop_columns("text")).says(0) == "A film"
