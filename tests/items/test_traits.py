"""Traits of titles and pictures: synonyms merge, pictures fill in what titles leave out, later items teach nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.items.encoders import Content
from conrec.items.synonyms import Reactions, Seen
from conrec.items.traits import SAVED, TraitEncoder, joined, read_traits, write_traits
from tests.items.test_pictures import encoded

ITEMS, KNOWN, USERS = 360, 300, 300
COLOURS = {"red": ("red", "scarlet"), "blue": ("blue",), "green": ("green",)}


def shop(seed: int = 0) -> tuple[Content, list[str | None], np.ndarray]:
    """Titles name the colour three times in four, pictures show it; contents, categories, and the true colours."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(list(COLOURS), ITEMS)
    kind = rng.choice(["lamp", "sofa"], ITEMS)
    words = [str(rng.choice(COLOURS[name])) if rng.random() < 0.75 else "" for name in colour]
    noise = rng.choice(["polka dot", "free shipping", ""], ITEMS)
    titles = [" ".join(rng.permutation([word, extra])) + f" {k}" for word, extra, k in zip(words, noise, kind)]
    content = Content(titles, [{} for _ in titles], [encoded(str(name)) for name in colour])
    return content, [f"furniture/{k}s" for k in kind], colour


def told(colour: np.ndarray, seed: int = 1) -> Reactions:
    """Every user cannot stand one colour; only known items were shown."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(USERS), 40), rng.integers(KNOWN, size=USERS * 40)
    hated = np.array(list(COLOURS))[users % 3] == colour[items]
    disliked = rng.random(len(users)) < np.where(hated, 0.4, 0.01)
    return Reactions(Seen(users, items), Seen(users[disliked], items[disliked]))


@pytest.fixture(scope="module")
def fitted() -> TraitEncoder:
    content, categories, colour = shop()
    encoder = TraitEncoder()
    encoder.fit(content, categories, np.arange(KNOWN), told(colour))
    return encoder


def texts(found: list[dict[str, str]]) -> list[set[str]]:
    return [set(item.get("text", "").split("|")) - {""} for item in found]


def test_synonyms_are_one_trait_pairs_of_words_are_one_name_and_the_category_is_none(fitted: TraitEncoder) -> None:
    titles = ["scarlet lamp", "RED polka dot sofa", "lamp, red"]
    found = texts(fitted.encode(Content(titles, [{}] * 3, [None] * 3), ["furniture/lamps"] * 3))
    (red,) = found[0]
    assert found == [{red}, {red, "polka dot"}, {red}]
    assert red in COLOURS["red"]


def test_pictures_fill_in_what_titles_leave_out_and_nothing_that_they_contradict(fitted: TraitEncoder) -> None:
    content, categories, colour = shop()
    name = texts(fitted.encode(Content(["red lamp"], [{}], [None]), categories[:1]))[0].pop()
    names = {"red": name, "blue": "blue", "green": "green"}
    # Of known items and of later ones alike.
    for item, true in zip(texts(fitted.encode(content, categories)), colour):
        assert item & set(names.values()) == {names[true]}
    lying = Content(["blue lamp"], [{}], [encoded("red")])
    assert texts(fitted.encode(lying, categories[:1])) == [{"blue"}]


def test_looks_are_of_pictures_alone(fitted: TraitEncoder) -> None:
    content, categories, colour = shop()
    looks = [item["picture"] for item in fitted.encode(content, categories)]
    pairs = set(zip(looks, colour))  # the colour is all that a picture shows here, less the category's average
    assert len(pairs) == len(set(looks)) >= 3
    without = fitted.encode(replace(content, pictures=[None] * ITEMS), categories)
    assert all("picture" not in item for item in without)


def test_nothing_is_learned_from_later_items() -> None:
    content, categories, colour = shop()
    reactions = told(colour)
    encoder, other = TraitEncoder(), TraitEncoder()
    encoder.fit(content, categories, np.arange(KNOWN), reactions)
    later = [f"{title} sparkling" if n >= KNOWN else title for n, title in enumerate(content.titles)]
    pictures = [encoded("white") if n >= KNOWN else picture for n, picture in enumerate(content.pictures)]
    other.fit(Content(later, content.fields, pictures), categories, np.arange(KNOWN), reactions)
    assert encoder.state().keys() == other.state().keys()
    for name, value in encoder.state().items():
        np.testing.assert_array_equal(value, other.state()[name])


def test_a_saved_encoder_finds_the_same(fitted: TraitEncoder, tmp_path: Path) -> None:
    content, categories, _ = shop()
    fitted.save(tmp_path)
    assert TraitEncoder.load(tmp_path).encode(content, categories) == fitted.encode(content, categories)
    assert TraitEncoder.load(tmp_path / "nowhere").encode(content, categories) == [{}] * ITEMS
    (tmp_path / SAVED).write_bytes(b"{")
    with pytest.raises(ConrecError, match="compress"):
        TraitEncoder.load(tmp_path)


def test_titles_without_words_and_items_without_anything() -> None:
    nothing = np.zeros(0, np.int64)
    nobody = Reactions(Seen(nothing, nothing), Seen(nothing, nothing))
    content = Content(["", "☃☃", "red"] * 3, [{}] * 9, [None] * 9)
    encoder = TraitEncoder()
    encoder.fit(content, [None] * 9, np.arange(9), nobody)
    assert encoder.encode(content, [None] * 9) == [{}] * 9
    assert encoder.encode(content.take(nothing), []) == []


def test_given_columns_are_kept_beside_traits(tmp_path: Path) -> None:
    traits = [{"text": "red|bulky"}, {"picture": "look 1"}]
    given = [{"category": "lamps"}, {"picture": "blurred"}]
    assert joined(given, traits) == [{"text": "red|bulky", "category": "lamps"}, {"picture": "blurred"}]
    write_traits(tmp_path, traits)
    assert read_traits(tmp_path, 2) == traits
    assert read_traits(tmp_path / "nowhere", 2) == [{}, {}]
