"""The simulated platform's items: a category tree, attributes that cut across it, and sellers' titles.

Attributes are drawn per leaf category with a leaf's own bias, so they are correlated with the tree but never
determined by it: 'bulky' occurs among all footwear, 'leopard' everywhere, 'wired' among what has a plug.
"""

import tomllib
from collections.abc import Mapping
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

SHAPES = ("slim", "classic", "bulky")
COLOURS, PATTERNS, STYLES = (tuple(WORDS[name]) for name in ("colours", "patterns", "styles"))
LOOKS = ("clean", "lifestyle", "cluttered", "unsettling")
"""Looks of the seller's picture. The picture alone shows it, never the title."""
CONNECTIONS = ("wired", "wireless")
MATERIALS = {root: tuple(values) for root, values in WORDS["materials"].items()}
PLUGGED = (*(f"audio/{leaf}" for leaf in TREE["audio"]), *WORDS["plugged"])
STORES = tuple(f"{first} {second}" for first, second in product(*WORDS["stores"]))
FLAGS = ("ai_generated_image", "bait_price", "counterfeit")
FLAG_SHARES = (0.06, 0.05, 0.03)

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
    return Catalogue(
        ids=[f"i{number:08d}" for number in np.sort(rng.choice(10**8, items, replace=False))],
        titles=[_title(LEAVES[n], a, rng) for n, a in zip(leaf, attributes)],
        attributes=attributes,
        leaf=leaf,
        listed=listed,
        popularity=rng.lognormal(0.0, 0.6, items),
        flags=rng.random((items, len(FLAGS))) < np.array(FLAG_SHARES),
    )


def _attributes(leaf: np.ndarray, rng: np.random.Generator) -> list[dict[str, str]]:
    """One dictionary an item, values drawn from its leaf's own biased distribution."""
    columns: list[dict[str, str]] = [{} for _ in leaf]
    # A store sells in a quarter of the roots, and a few stores of a root sell most.
    sells = np.array([rng.permutation(len(STORES)) for _ in ROOTS])[:, : len(STORES) // 4]
    for number, name in enumerate(LEAVES):
        rows = np.flatnonzero(leaf == number)
        root = ROOT_OF_LEAF[number]

        def put(attribute: str, values: tuple[str, ...], share: np.ndarray, rows: np.ndarray = rows) -> None:
            for row, pick in zip(rows, rng.choice(len(values), len(rows), p=share / share.sum())):
                columns[row][attribute] = values[pick]

        put("shape", SHAPES, rng.dirichlet([9.0, 12.0, 9.0]))
        put("material", MATERIALS[ROOTS[root]], rng.dirichlet(np.full(4, 6.0)))
        put("colour", COLOURS, rng.dirichlet(np.full(len(COLOURS), 6.0)))
        put("pattern", PATTERNS, rng.dirichlet([12.0, 6.0, 6.0, 6.0, 6.0, 6.0]))
        put("style", STYLES, rng.dirichlet(np.full(len(STYLES), 6.0)))
        if name in PLUGGED:
            put("connection", CONNECTIONS, rng.dirichlet([8.0, 12.0]))
        stores = tuple(STORES[n] for n in sells[root])
        put("store", stores, 1.0 / (2.0 + np.arange(len(stores))))
        put("image", LOOKS, np.array([0.45, 0.27, 0.16, 0.12]))
    return columns


_KEPT = {"shape": 0.9, "material": 0.8, "colour": 0.85, "pattern": 0.8, "style": 0.75, "connection": 0.95}
"""How often a seller mentions an attribute."""
_EMOJI = "🔥✨🎁💯🚚⭐💥❤"


def _title(leaf: str, attributes: dict[str, str], rng: np.random.Generator) -> str:
    """A seller's title: most attributes in some order, synonyms, repeated words, shipping text, emojis."""
    words = [
        str(rng.choice(WORDS["synonyms"].get(attributes[name], (attributes[name],))))
        for name, kept in _KEPT.items()
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
