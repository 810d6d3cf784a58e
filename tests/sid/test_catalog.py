"""The catalogue survives the disk and answers for an ID with every item behind it."""

from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.sid.catalog import Catalog


def small_catalog() -> Catalog:
    codes = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]], np.int32)
    rng = np.random.default_rng(0)
    words = [rng.normal(size=(2, 5)).astype(np.float32) for _ in range(3)]
    hat = sum(words[level][codes[:, level]] for level in range(3))
    assert isinstance(hat, np.ndarray)
    latents = (hat + rng.normal(size=hat.shape) * 0.1).astype(np.float32)
    return Catalog(["w", "x", "ÿ", "../z"], ["<a_0>", "", "three", "four"], codes, (2, 2, 2), latents, hat, words)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    catalog = small_catalog()
    catalog.save(tmp_path)
    again = Catalog.load(tmp_path)
    assert (again.item_ids, again.titles, again.sizes) == (catalog.item_ids, catalog.titles, catalog.sizes)
    for mine, theirs in [
        (catalog.codes, again.codes),
        (catalog.latents, again.latents),
        (catalog.reconstructed, again.reconstructed),
        *zip(catalog.codewords, again.codewords),
    ]:
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_items_without_semantic_ids_keep_their_embeddings(tmp_path: Path) -> None:
    catalog = Catalog.plain(["a", "b"], ["A", "B"], np.array([[3, 4], [1, 0]], np.float32))
    catalog.save(tmp_path)
    again = Catalog.load(tmp_path)
    assert (again.levels, again.sizes, again.codes.shape) == (0, (), (2, 0))
    np.testing.assert_array_equal(again.unit, np.array([[0.6, 0.8], [1, 0]], np.float32))


def test_unit_rows_have_length_one_and_keep_their_direction() -> None:
    catalog = small_catalog()
    np.testing.assert_allclose(np.linalg.norm(catalog.unit, axis=1), 1, rtol=1e-5)
    lengths = np.linalg.norm(catalog.reconstructed, axis=1, keepdims=True)
    np.testing.assert_allclose(catalog.unit * lengths, catalog.reconstructed, rtol=1e-4, atol=1e-6)


def test_a_folder_without_a_catalogue_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match=r"not readable .* run the compress stage again") as caught:
        Catalog.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
