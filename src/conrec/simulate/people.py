"""The simulated users: what each likes, what each cannot stand (the truth), and how active each is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from conrec.simulate.catalogue import ATTRIBUTES, LEAVES, ROOT_OF_LEAF, ROOTS, Catalogue, values_of

MAX_RULES = 4
FOCUS = 2
"""Liked leaves that a user is shopping in at any one time."""
FOCUS_DAYS = 14.0
"""Mean number of days until the user moves on from such a leaf."""
JOINED_BEFORE = 0.5
"""Share of the users who are there on the first day."""

Rule = tuple[str, str, str]


@dataclass(frozen=True)
class People:
    """One row a user everywhere."""

    ids: list[str]
    joined: np.ndarray
    """int64 [users]: first day."""
    active: np.ndarray
    """float64 [users]: chance to open the app on a day."""
    exposures: np.ndarray
    """float64 [users]: mean number of items shown on a day the app is opened."""
    liked: np.ndarray
    """bool [users, leaves]."""
    focus: np.ndarray
    """int8 [days, users, FOCUS]: liked leaves the user is shopping in."""
    taste: np.ndarray
    """float32 [users, items]: how much more or less than usual the item attracts, from colour and style."""
    rules: list[list[Rule]]
    """2 to MAX_RULES a user, the strongest first."""
    strength: np.ndarray
    """float64 [users, MAX_RULES]: chance that a shown item is disliked for the rule; 0 where there is none."""
    match: np.ndarray
    """int8 [users, items]: the first rule that matches, -1 where none does."""

    def __len__(self) -> int:
        return len(self.ids)

    def interests(self) -> pa.Table:
        """The true rules: user_id, scope, attribute, value; a user's strongest first."""
        rows = [(user, *rule) for user, rules in zip(self.ids, self.rules) for rule in rules]
        names = ("user_id", "scope", "attribute", "value")
        return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(names)})


def make_people(
    users: int, days: int, dislike_if_matched: float, catalogue: Catalogue, rng: np.random.Generator
) -> People:
    active = rng.beta(6.0, 3.0, users).clip(0.2, 1.0)
    volume = rng.lognormal(-0.5 * 0.6**2, 0.6, users)
    joined = np.where(rng.random(users) < JOINED_BEFORE, 0, rng.integers(0, days, users))
    joined[0] = 0
    liked = _likes(users, rng)
    rules = [_rules(np.flatnonzero(row), catalogue, rng) for row in liked]
    strength = np.zeros((users, MAX_RULES))
    for user, own in enumerate(rules):
        drawn = dislike_if_matched * rng.uniform(0.75, 1.25, len(own))
        strength[user, : len(own)] = np.sort(drawn)[::-1]
    ids = [f"u{number:08d}" for number in np.sort(rng.choice(10**8, users, replace=False))]
    focus = _focus(liked, days, rng)
    taste = _taste(users, catalogue, rng)
    match = _match(rules, catalogue)
    return People(ids, joined, active, volume / active, liked, focus, taste, rules, strength, match)


def _likes(users: int, rng: np.random.Generator) -> np.ndarray:
    """bool [users, leaves]: four to seven leaves, most of them from two or three roots."""
    liked = np.zeros((users, len(LEAVES)), dtype=bool)
    for row in liked:
        roots = rng.choice(len(ROOTS), int(rng.integers(2, 4)), replace=False)
        weight = np.where(np.isin(ROOT_OF_LEAF, roots), 1.0, 0.05)
        row[rng.choice(len(LEAVES), int(rng.integers(4, 8)), replace=False, p=weight / weight.sum())] = True
    return liked


def _focus(liked: np.ndarray, days: int, rng: np.random.Generator) -> np.ndarray:
    """int8 [days, users, FOCUS]: each place of the focus moves to a liked leaf at random every so often."""
    users = len(liked)

    def draw() -> np.ndarray:
        keys = np.where(liked, rng.random(liked.shape), 2.0)
        return np.argsort(keys, axis=1)[:, :FOCUS].astype(np.int8)

    focus = np.empty((days, users, FOCUS), np.int8)
    focus[0] = draw()
    for day in range(1, days):
        moves = rng.random((users, FOCUS)) < 1.0 / FOCUS_DAYS
        focus[day] = np.where(moves, draw(), focus[day - 1])
    return focus


def _taste(users: int, catalogue: Catalogue, rng: np.random.Generator) -> np.ndarray:
    """float32 [users, items], 0.7 to 1.6: each user favours two colours and a style."""
    colour = np.array([ATTRIBUTES["colour"].index(a["colour"]) for a in catalogue.attributes])
    style = np.array([ATTRIBUTES["style"].index(a["style"]) for a in catalogue.attributes])
    colours = np.full((users, len(ATTRIBUTES["colour"])), 0.85, np.float32)
    colours[np.arange(users)[:, None], np.argsort(rng.random(colours.shape), axis=1)[:, :2]] = 1.25
    styles = np.full((users, len(ATTRIBUTES["style"])), 0.85, np.float32)
    styles[np.arange(users), rng.integers(0, styles.shape[1], users)] = 1.3
    return colours[:, colour] * styles[:, style]


def _rules(liked: np.ndarray, catalogue: Catalogue, rng: np.random.Generator) -> list[Rule]:
    """Nuanced dislikes: most cut across the leaves of a root in which the user likes something.

    A whole leaf is disliked only where the user likes none of it but its siblings.
    """
    roots = np.unique(ROOT_OF_LEAF[liked])
    rules: list[Rule] = []
    wanted = int(rng.integers(2, MAX_RULES + 1))
    while len(rules) < wanted:
        number = int(rng.choice(roots)) if rng.random() < 0.9 else int(rng.integers(len(ROOTS)))
        root = ROOTS[number]
        siblings = np.setdiff1d(np.flatnonzero(np.isin(ROOT_OF_LEAF, number)), liked)
        kind = rng.choice(["attribute", "everywhere", "leaf", "store", "image"], p=[0.58, 0.04, 0.13, 0.13, 0.12])
        if kind == "attribute":
            rule = (root, *_attribute(root, rng))
        elif kind == "everywhere":
            rule = ("*", "pattern", str(rng.choice(ATTRIBUTES["pattern"][1:])))
        elif kind == "store":
            some = catalogue.attributes[int(rng.integers(len(catalogue)))]
            rule = ("*", "store", some["store"])
        elif kind == "image":
            rule = (root, "image", "unsettling")
        elif len(siblings):
            rule = (root, "category", LEAVES[int(rng.choice(siblings))])
        else:
            continue
        if rule not in rules:
            rules.append(rule)
    return rules


def _attribute(root: str, rng: np.random.Generator) -> tuple[str, str]:
    """An attribute and a value of it that items of the root can have."""
    if root == "audio" and rng.random() < 0.4:
        return "connection", _often_disliked(ATTRIBUTES["connection"], 0, rng)
    attribute = str(rng.choice(["shape", "pattern", "material", "style", "colour"], p=[0.35, 0.2, 0.2, 0.15, 0.1]))
    values = ATTRIBUTES["pattern"][1:] if attribute == "pattern" else values_of(attribute, root)  # nobody minds plain
    return attribute, _often_disliked(values, ROOTS.index(root), rng)


def _often_disliked(values: list[str], shift: int, rng: np.random.Generator) -> str:
    """A value, some far more often than others: what grates on many people differs from root to root (`shift`)."""
    weight = 1.0 / (1.0 + (np.arange(len(values)) + shift) % len(values))
    return str(rng.choice(values, p=weight / weight.sum()))


def _match(rules: list[list[Rule]], catalogue: Catalogue) -> np.ndarray:
    """int8 [users, items]: number of the first matching rule, or -1."""
    match = np.full((len(rules), len(catalogue)), -1, np.int8)
    masks: dict[Rule, np.ndarray] = {}
    for user, own in enumerate(rules):
        for number in reversed(range(len(own))):
            rule = own[number]
            if rule not in masks:
                masks[rule] = catalogue.matching(*rule)
            match[user, masks[rule]] = number
    return match
