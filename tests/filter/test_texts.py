"""Texts against the list of them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.filter.texts import Texts

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.none() | text, max_size=20), skip=st.integers(0, 5))
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_they_are_the_list(kind: pa.DataType, values: list[str | None], skip: int) -> None:
    texts = Texts(pa.array(values, kind).slice(skip))
    expected = values[skip:]
    assert list(texts) == [texts[row] for row in range(len(texts))] == expected
    assert len(texts) == len(expected)
