"""The simulated platform's items: a category tree, attributes that cut across it, and sellers' titles.

Attributes are drawn per leaf category with a leaf's own bias, so they are correlated with the tree but never
determined by it: 'bulky' occurs among all footwear, 'leopard' everywhere, 'wired' among what has a plug.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product

import numpy as np

WORDS = tomllib.loads((files(__package__) / "catalogue.toml").read_text("utf-8"))
"""The category tree, the values of attributes, and the words of sellers."""
TREE: dict[str, list[str]] = WORDS["tree"]
LEAVES = tuple(f"{root}/{leaf}" for root, leaves in TREE.items() for leaf in leaves)
ROOTS = tuple(TREE)
ROOT_OF_LEAF = np.repeat(np.arange(len(ROOTS)), [len(leaves) for leaves in TREE.values()])

ATTRIBUTES: dict[str, list[str]] = WORDS["attributes"]
MATERIALS: dict[str, list[str]] = WORDS["materials"]
PLUGGED = (*(f"audio/{leaf}" for leaf in TREE["audio"]), *WORDS["plugged"])
STORES = tuple(f"{first} {second}" for first, second in product(*WORDS["stores"]))
FLAGS = tuple(WORDS["flags"])

LISTED_BEFORE = 0.6
"""Share of the items listed before the log begins, over `BACKLOG_DAYS`."""
BACKLOG_DAYS = 60


@dataclass(frozen=True)
class Catalogue:
    """What the platform sells; arrays have one entry an item."""

    ids: list[str]
    titles: list[str]
    attributes: list[dict[str, str]]
    """shape, material, colour, pattern, style, store, image and, among PLUGGED leaves, connection."""
    leaf: np.ndarray
    """int64 [items], index into LEAVES."""
    listed: np.ndarray
    """float64 [items]: day of listing, negative before the log begins."""
    popularity: np.ndarray
    """float64 [items], the platform's standing preference within a leaf (mildly skewed)."""
    flags: np.ndarray
    """bool [items, 3]: FLAGS, hidden from the log's attributes."""

    def __len__(self) -> int:
        return len(self.ids)

    def matching(self, scope: str, attribute: str, value: str) -> np.ndarray:
        """bool [items]: those that the interest rule (scope, attribute, value) matches.

        `scope` is a root, a leaf as "root/leaf", or "*" for everything; `attribute` may be "category".
        """
        items = [{"category": LEAVES[leaf], **own} for leaf, own in zip(self.leaf, self.attributes)]
        return np.array([matches(item, scope, attribute, value) for item in items])


def matches(item: Mapping[str, str], scope: str, attribute: str, value: str) -> bool:
    """Whether an interest rule matches an item, given by its category and attributes (see `Catalogue.matching`)."""
    inside = scope == "*" or f"{item.get('category', '')}/".startswith(f"{scope}/")
    return inside and item.get(attribute) == value


def make_catalogue(items: int, days: int, rng: np.random.Generator) -> Catalogue:
    """Draw the items of a platform whose log runs for `days`."""
    leaf = rng.choice(len(LEAVES), items, p=rng.dirichlet(np.full(len(LEAVES), 30.0)))
    before = rng.random(items) < LISTED_BEFORE
    before[0] = True
    listed = np.where(before, -BACKLOG_DAYS * rng.random(items), days * rng.random(items))
    attributes = _attributes(leaf, rng)
    ids = [f"i{number:08d}" for number in np.sort(rng.choice(10**8, items, replace=False))]
    titles = [_title(LEAVES[n], a, rng) for n, a in zip(leaf, attributes)]
    popularity = rng.lognormal(0.0, 0.6, items)
    flags = rng.random((items, len(FLAGS))) < list(WORDS["flags"].values())
    return Catalogue(ids, titles, attributes, leaf, listed, popularity, flags)


def values_of(attribute: str, root: str) -> list[str]:
    """What an attribute of an item may be; what it is made of depends on the root."""
    return MATERIALS[root] if attribute == "material" else ATTRIBUTES[attribute]


def _attributes(leaf: np.ndarray, rng: np.random.Generator) -> list[dict[str, str]]:
    """One dictionary an item, values drawn from its leaf's own biased distribution."""
    columns: list[dict[str, str]] = [{} for _ in leaf]
    # A store sells in a quarter of the roots, and a few stores of a root sell most.
    sells = np.array([rng.permutation(len(STORES)) for _ in ROOTS])[:, : len(STORES) // 4]
    for number, name in enumerate(LEAVES):
        rows = np.flatnonzero(leaf == number)
        root = ROOT_OF_LEAF[number]

        def put(attribute: str, values: Sequence[str], share: np.ndarray, rows: np.ndarray = rows) -> None:
            for row, pick in zip(rows, rng.choice(len(values), len(rows), p=share / share.sum())):
                columns[row][attribute] = values[pick]

        for attribute, shares in WORDS["shares"].items():
            if attribute != "connection" or name in PLUGGED:
                put(attribute, values_of(attribute, ROOTS[root]), rng.dirichlet(shares))
        stores = [STORES[n] for n in sells[root]]
        put("store", stores, 1.0 / (2.0 + np.arange(len(stores))))
        put("image", ATTRIBUTES["image"], np.array([0.45, 0.27, 0.16, 0.12]))
    return columns


_EMOJI = "🔥✨🎁💯🚚⭐💥❤"


def _title(leaf: str, attributes: dict[str, str], rng: np.random.Generator) -> str:
    """A seller's title: most attributes in some order, synonyms, repeated words, shipping text, emojis."""
    words = [
        str(rng.choice(WORDS["synonyms"].get(attributes[name], (attributes[name],))))
        for name, kept in WORDS["mentioned"].items()
        if name in attributes and rng.random() < kept
    ]
    words = [words[n] for n in rng.permutation(len(words))]
    plural = leaf.split("/")[1]
    as_it_is = plural in WORDS["plural_only"] or leaf.startswith("footwear/")  # which is sold in pairs
    words.append(plural if as_it_is else WORDS["singular"].get(plural, plural[:-1]))
    if rng.random() < 0.5:
        words.insert(0, attributes["store"])
    if rng.random() < 0.2:
        words.append(words[int(rng.integers(len(words)))])
    for _ in range(int(rng.choice(3, p=[0.45, 0.4, 0.15]))):
        words.insert(int(rng.choice([0, len(words)])), str(rng.choice(WORDS["noise"])))
    if rng.random() < 0.25:
        mark = str(rng.choice(list(_EMOJI))) * int(rng.integers(1, 4))
        words.insert(int(rng.choice([0, len(words)])), mark)
    title = " ".join(words)
    return title.upper() if rng.random() < 0.06 else title[0].upper() + title[1:]
