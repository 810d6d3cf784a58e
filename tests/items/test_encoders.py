"""The joint embedding: near means alike, missing parts do no harm, frozen means frozen."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from conrec.config import ItemsConfig
from conrec.errors import ConrecError
from conrec.items.encoders import Content, JointEncoder
from conrec.items.fields import FieldsEncoder
from conrec.items.text import TfidfEncoder
from tests.items.test_pictures import encoded

KINDS = ("boots", "headphones", "lamp", "sofa")
COLOURS = ("red", "blue", "green", "white")


def shop(n: int = 240, seed: int = 0) -> Content:
    """Items of four kinds and colours; every third without a picture."""
    rng = np.random.default_rng(seed)
    kinds, colours = rng.choice(KINDS, n), rng.choice(COLOURS, n)
    noise = rng.choice(["free shipping", "sale", "new 2024", "original"], n)
    return Content(
        [f"{colour} {kind} {extra}" for kind, colour, extra in zip(kinds, colours, noise)],
        [{"category": str(kind), "price": str(10 + n % 50)} for n, kind in enumerate(kinds)],
        [encoded(str(colour)) if n % 3 else None for n, colour in enumerate(colours)],
    )


def test_near_means_alike_and_random_pairs_are_spread() -> None:
    content = shop()
    x, account = JointEncoder(ItemsConfig()).fit_encode(content, np.arange(240))
    assert x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    similar = x @ x.T
    kind = np.array([f["category"] for f in content.fields])
    same = kind[:, None] == kind
    off = ~np.eye(240, dtype=bool)
    assert similar[same & off].mean() > similar[~same].mean() + 0.3
    assert abs(similar[off].mean()) < 0.05
    assert account.used.sum() == 160


def test_later_items_do_not_change_what_was_fitted() -> None:
    content = shop()
    alone, _ = JointEncoder(ItemsConfig()).fit_encode(content.take(np.arange(200)), np.arange(200))
    together, _ = JointEncoder(ItemsConfig()).fit_encode(content, np.arange(200))
    np.testing.assert_allclose(together[:200], alone, atol=1e-5)


def test_a_saved_encoder_encodes_as_before(tmp_path: Path) -> None:
    content = shop()
    encoder = JointEncoder(ItemsConfig())
    x, _ = encoder.fit_encode(content, np.arange(150))
    encoder.save(tmp_path)
    again, account = JointEncoder.load(ItemsConfig(), tmp_path).encode(content)
    np.testing.assert_array_equal(again, x)
    assert account.used.sum() == 160


def test_an_item_without_a_picture_is_described_by_its_words() -> None:
    content = shop()
    with_pictures, _ = JointEncoder(ItemsConfig()).fit_encode(content, np.arange(240))
    without, account = JointEncoder(dataclasses.replace(ItemsConfig(), image="none")).fit_encode(
        content, np.arange(240)
    )
    words = without.shape[1]
    np.testing.assert_allclose(with_pictures[0, :words], without[0], atol=1e-5)
    assert not with_pictures[0, words:].any()
    assert set(account.outcome) == {"ignored", "missing"}


def test_nothing_known_of_an_item_is_zeros_not_nan() -> None:
    content = Content([*shop().titles, "", "☃☃"], [*shop().fields, {}, {}], [*shop().pictures, None, None])
    x, _ = JointEncoder(ItemsConfig()).fit_encode(content, np.arange(240))
    assert np.isfinite(x).all()


@pytest.mark.parametrize("texts", [["", ""], ["?!", "..."], ["one"], ["a b", "a b", "a b"]])
def test_titles_without_terms(texts: list[str]) -> None:
    encoder = TfidfEncoder(8)
    encoder.fit(texts)
    assert np.isfinite(encoder.encode_texts([*texts, "new"])).all()


def test_near_numbers_are_near_and_lists_are_taken_apart() -> None:
    items = [{"year": str(1950 + n % 70), "genres": ("Comedy|Drama", "Horror")[n % 2]} for n in range(200)]
    encoder = FieldsEncoder(16)
    encoder.fit(items)

    def cosine(a: dict[str, str], b: dict[str, str]) -> float:
        x, y = encoder.encode([a, b])
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    def year(n: int) -> dict[str, str]:
        return {"year": str(n)}

    assert cosine(year(1980), year(1982)) > 0.8 > cosine(year(1980), year(2010)) + 0.5
    assert cosine({"genres": "Drama"}, {"genres": "Comedy|Drama"}) > cosine({"genres": "Drama"}, {"genres": "Horror"})


def test_the_category_outweighs_another_field() -> None:
    encoder = FieldsEncoder(16)
    encoder.fit([{"category": "ab"[n % 2], "colour": "ab"[n // 2 % 2]} for n in range(200)])
    mine, kind, colour = encoder.encode(
        [{"category": "a", "colour": "a"}, {"category": "a", "colour": "b"}, {"category": "b", "colour": "a"}]
    )
    assert mine @ kind > mine @ colour


def test_an_unknown_value_is_zeros() -> None:
    encoder = FieldsEncoder(4)
    encoder.fit([{"kind": "a"}, {"kind": "b"}, {"kind": "c"}])
    assert not encoder.encode([{"kind": "new"}, {}]).any()


def test_no_saved_encoder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="run the compress stage again"):
        JointEncoder.load(ItemsConfig(), tmp_path)


def test_titles_are_learned_from_a_part_of_a_large_catalogue_and_encoded_in_portions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles = shop().titles
    alone = TfidfEncoder(8)
    alone.fit(titles[::2])
    expected = alone.encode_texts(titles)
    monkeypatch.setattr("conrec.items.text.MOST", 120)
    monkeypatch.setattr("conrec.items.text.AT_ONCE", 7)
    part = TfidfEncoder(8)
    part.fit(titles)
    known = part._fitted
    assert known is not None
    assert len(known[0]) == 120
    found = part.encode_texts(titles)
    assert found.shape == expected.shape
    assert (np.abs(found).sum(axis=1) > 0).all()
    again = TfidfEncoder(8)
    again.restore(part.state())
    np.testing.assert_allclose(again.encode_texts(titles), found, atol=1e-6)
