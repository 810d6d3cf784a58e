"""What a user muted: a category, a value, or a word of titles. It is out whatever its score, until it is unmuted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from conrec.data.schema import SEPARATOR

if TYPE_CHECKING:
    from conrec.filter.filter import OpenSnapshot
    from conrec.filter.user_now import UserNow

LEAST, SHARE, LIFT, SUGGESTED = 3, 0.2, 2.0, 3
"""Dislikes, their share of all, and lift that a suggestion takes at least, and how many there are at most."""


@dataclass(frozen=True, slots=True)
class Mute:
    """One rule."""

    kind: Literal["category", "value", "word"]
    name: str
    """A category or a part of its path, a value as reasons name it ("trait: animal print"), or a word of the title."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A value to mute: the user dislikes it more often than it is shown, and the score has learned so."""

    mute: Mute
    dislikes: int
    """Of the user's dislikes those that have it, of so many (`of`)."""
    of: int
    shown: float
    """Share of what was shown to the user that has it."""
    lift: float
    """How many times that is its share of the dislikes."""


def muted(now: OpenSnapshot, mutes: Sequence[Mute], rows: np.ndarray) -> dict[int, Mute]:
    """Positions of the candidates (int [c], rows; -1: unknown) that are muted, ascending, each with its first rule."""
    known = (rows >= 0).nonzero()[0] if mutes else np.zeros(0, int)
    texts, items = {}, rows[known]
    for kind, column in (("word", now.titles), ("category", now.categories)):
        if any(mute.kind == kind for mute in mutes):
            # Not `take`: an array for it would import pandas, longer than a request may take.
            texts[kind] = [(column[row].as_py() or "").casefold() for row in items.tolist()]
    found: dict[int, Mute] = {}
    for mute in mutes:
        if mute.kind == "value":
            hits = (now.values["values"][items] == now.value_numbers.get(mute.name, -2)).any(axis=1).tolist()
        else:
            says = {text: _says(text, mute) for text in set(texts[mute.kind])}
            hits = [says[text] for text in texts[mute.kind]]
        for position in known[np.array(hits, bool)].tolist():
            found.setdefault(position, mute)
    return dict(sorted(found.items()))


def is_known(now: OpenSnapshot, mute: Mute) -> bool:
    """Whether there is such a category or value; any word will do that has a letter or a digit."""
    if mute.kind == "value":
        return mute.name in now.value_numbers
    if mute.kind == "word":
        return re.search(r"\w", mute.name) is not None
    return any(_says((category or "").casefold(), mute) for category in now.categories.unique().to_pylist())


def suggested(now: OpenSnapshot, user: UserNow, mutes: Sequence[Mute]) -> list[Suggestion]:
    """At most SUGGESTED values that are no mutes yet, by dislikes times the logarithm of their lift."""
    disliked, shown = np.unique(user.history.told(1)), user.history.shown
    if user.factors is None or len(disliked) < LEAST or not now.value_names:
        return []
    records, vector = now.values[disliked], user.factors.vector[sum(now.widths) :]
    added = records["differences"].astype(np.float32) @ vector
    learned = _of_values(now, records["values"][:, : added.shape[1]], added)
    # Where the log does not say what was shown, it is what the user said something of.
    items = shown["item"] if len(shown) else np.unique(user.history.events["item"])
    times = np.abs(shown["count"]) if len(shown) else np.ones(len(items))
    own = _of_values(now, records["values"], 1)
    share = (_of_values(now, now.values["values"][items], times[:, None]) + 1) / (times.sum() + 1)
    lift = own / len(disliked) / share
    often = own >= max(LEAST, SHARE * len(disliked))
    worth = np.where(often & (lift >= LIFT) & (learned > 0), own * np.log(np.maximum(lift, 1)), 0)
    found: list[Suggestion] = []
    for number in np.argsort(-worth, kind="stable")[: np.count_nonzero(worth)].tolist():
        name = now.value_names[number]
        mute = Mute("category", name[10:]) if name.startswith("category: ") else Mute("value", name)
        if mute not in mutes and not name.startswith("look: "):  # a cluster of pictures says nothing to a person
            found.append(Suggestion(mute, int(own[number]), len(disliked), float(share[number]), float(lift[number])))
    return found[:SUGGESTED]


def _says(text: str, mute: Mute) -> bool:
    """Whether a title (in lower case, as its category) has the word, or the category the name. In scripts without upper
    and lower case, which often put no space between words, a word may stand anywhere."""
    name = " ".join(mute.name.casefold().split())
    if mute.kind == "category":
        return name in (text, *SEPARATOR.split(text))
    before, after = (r"(?<!\w)", r"(?!\w)") if name.upper() != name else ("", "")
    return re.search(before + re.escape(name) + after, text) is not None


def _of_values(now: OpenSnapshot, numbers: np.ndarray, amounts: np.ndarray | int) -> np.ndarray:
    """float64 [values]: sums by value. numbers: int [k, v], -1 for none; amounts: for each, or what spreads to them."""
    there = numbers >= 0
    return np.bincount(numbers[there], np.broadcast_to(amounts, numbers.shape)[there], len(now.value_names))
