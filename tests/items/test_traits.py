"""Traits of titles and pictures: synonyms merge, pictures fill in what titles leave out, later items teach nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.data.instances import Events
from conrec.errors import ConrecError
from conrec.items.encoders import Content
from conrec.items.image import HogEncoder
from conrec.items.traits import SAVED, TraitEncoder, joined, read_traits, write_traits
from tests.items.test_pictures import encoded
from tests.items.test_synonyms import events

ITEMS, KNOWN, USERS = 360, 300, 300
COLOURS = {"red": ("red", "scarlet"), "blue": ("blue",), "green": ("green",)}


IDS = [f"shop/{n}" for n in range(ITEMS)]


def shop(seed: int = 0) -> tuple[Content, np.ndarray]:
    """Titles name the colour three times in four, pictures show it; contents and the true colours."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(list(COLOURS), ITEMS)
    kind = rng.choice(["lamp", "sofa"], ITEMS)
    words = [str(rng.choice(COLOURS[name])) if rng.random() < 0.75 else "" for name in colour]
    noise = rng.choice(["polka dot", "free shipping", ""], ITEMS)
    titles = [" ".join(rng.permutation([word, extra])) + f" {k}" for word, extra, k in zip(words, noise, kind)]
    fields = [{"category": f"furniture/{k}s"} for k in kind]
    return Content(titles, fields, [encoded(str(name)) for name in colour]), colour


def of_titles(*titles: str, picture: bytes | None = None) -> Content:
    """Lamps."""
    return Content(list(titles), [{"category": "furniture/lamps"}] * len(titles), [picture] * len(titles))


def told(colour: np.ndarray, seed: int = 1) -> Events:
    """Every user cannot stand one colour; only known items were shown."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(USERS), 40), rng.integers(KNOWN, size=USERS * 40)
    hated = np.array(list(COLOURS))[users % 3] == colour[items]
    return events(users, items, rng.random(len(users)) < np.where(hated, 0.4, 0.01))


def learned(content: Content, log: Events) -> TraitEncoder:
    encoder = TraitEncoder(HogEncoder(0))
    encoder.fit(content, IDS, np.arange(KNOWN), log)
    return encoder


@pytest.fixture(scope="module")
def fitted() -> TraitEncoder:
    content, colour = shop()
    return learned(content, told(colour))


def texts(found: list[dict[str, str]]) -> list[set[str]]:
    return [set(item.get("trait", "").split("|")) - {""} for item in found]


def test_synonyms_are_one_trait_pairs_of_words_are_one_name_and_the_category_is_none(fitted: TraitEncoder) -> None:
    found = texts(fitted.encode(of_titles("scarlet lamp", "RED polka dot sofa", "lamp, red")))
    (red,) = found[0]
    assert found == [{red}, {red, "polka dot"}, {red}]
    # The commonest name is the trait's.
    said = [word for title in shop()[0].titles[:KNOWN] for word in title.split()]
    assert red == max(COLOURS["red"], key=said.count)


def test_what_a_column_says_is_no_trait() -> None:
    content, colour = shop()
    rng = np.random.default_rng(3)
    years = rng.integers(1990, 1995, ITEMS)
    titles = [f"{title} ({year})" for title, year in zip(content.titles, years)]
    columns = [fields | {"year": str(year)} for fields, year in zip(content.fields, years)]
    for fields, found in ((content.fields, 5), (columns, 0)):
        content = Content(titles, fields, [None] * ITEMS)
        traits = set().union(*texts(learned(content, told(colour)).encode(content)))
        assert len(traits & set(map(str, years))) == found
        assert {"blue", "green", "polka dot"} < traits


def test_pictures_fill_in_what_titles_leave_out_and_nothing_that_they_contradict(fitted: TraitEncoder) -> None:
    content, colour = shop()
    name = texts(fitted.encode(of_titles("red lamp")))[0].pop()
    names = {"red": name, "blue": "blue", "green": "green"}
    # Of known items and of later ones alike.
    for item, true in zip(texts(fitted.encode(content)), colour):
        assert item & set(names.values()) == {names[true]}
    assert texts(fitted.encode(of_titles("blue lamp", picture=encoded("red")))) == [{"blue"}]


def test_looks_are_of_pictures_alone(fitted: TraitEncoder) -> None:
    content, colour = shop()
    looks = [item["look"] for item in fitted.encode(content)]
    pairs = set(zip(looks, colour))  # the colour is all that a picture shows here, less the category's average
    assert len(pairs) == len(set(looks)) >= 3
    # Each is called by an item that has it; what would part an ID in two is left out.
    assert {f"like {name.replace('/', ' ')}": look for name, look in zip(IDS, looks)}.items() >= {(k, k) for k in looks}
    without = fitted.encode(replace(content, pictures=[None] * ITEMS))
    assert all("look" not in item for item in without)
    blind = TraitEncoder(None)
    blind.fit(content, IDS, np.arange(KNOWN), told(colour))
    assert not any("look" in item for item in blind.encode(content))


def test_nothing_is_learned_from_later_items(fitted: TraitEncoder, tmp_path: Path) -> None:
    content, colour = shop()
    later = [f"{title} sparkling" if n >= KNOWN else title for n, title in enumerate(content.titles)]
    pictures = [encoded("white") if n >= KNOWN else picture for n, picture in enumerate(content.pictures)]
    fitted.save(tmp_path / "one")
    learned(Content(later, content.fields, pictures), told(colour)).save(tmp_path / "two")
    assert (tmp_path / "one" / SAVED).read_bytes() == (tmp_path / "two" / SAVED).read_bytes()


def test_a_saved_encoder_finds_the_same(fitted: TraitEncoder, tmp_path: Path) -> None:
    content, _ = shop()
    fitted.save(tmp_path)
    assert TraitEncoder.load(tmp_path, HogEncoder(0)).encode(content) == fitted.encode(content)
    assert TraitEncoder.load(tmp_path / "nowhere", None).encode(content) == [{}] * ITEMS
    (tmp_path / SAVED).write_bytes(b"{")
    with pytest.raises(ConrecError, match="compress"):
        TraitEncoder.load(tmp_path, None)


def test_titles_without_words_and_items_without_anything() -> None:
    nothing = np.zeros(0, np.int64)
    nobody = events(nothing, nothing, nothing > 0)
    content = Content(["", "☃☃", "red"] * 3, [{}] * 9, [None] * 9)
    encoder = TraitEncoder(HogEncoder(0))
    encoder.fit(content, IDS[:9], np.arange(9), nobody)
    assert encoder.encode(content) == [{}] * 9
    assert encoder.encode(content.take(nothing)) == []


def test_given_columns_are_kept_beside_traits(tmp_path: Path) -> None:
    traits = [{"trait": "red|bulky"}, {"look": "like b"}, {}]
    given = [{"category": "lamps"}, {"look": "blurred"}, {}]
    assert joined(given, traits) == [{"trait": "red|bulky", "category": "lamps"}, {"look": "blurred"}, {}]
    write_traits(tmp_path, traits)
    assert read_traits(tmp_path, 3) == traits
    with pytest.raises(ConrecError, match=r"3 rows for 2 items.*compress"):
        read_traits(tmp_path, 2)
    assert read_traits(tmp_path / "nowhere", 2) == [{}, {}]
