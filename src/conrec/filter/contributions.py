"""Why a candidate scores high: what its score added up, the largest contribution first.

    score(u, i) = b_u                    user         how given this user is to dislikes
                + b_i + <p_u, y_i>       item         how everybody takes this item, its features y_i seen by this user
                + <p_u, f_i>             latent       what people who dislike alike think of it
                + <p_u, e_i>             its values, each by what it adds to the item embedding e_i, and
                                         content      what is left of that: title and picture, and combinations
                + w * cosine             prediction   how close it is to a predicted dislike

What a value adds is <p_u, e_i - e_i without it> (`score.item_values`). The contributions sum to the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from conrec.filter.mutes import Mute
from conrec.items.vectors import unit_rows
from conrec.score.factors import LARGEST, UserFactors
from conrec.score.similarity import max_cosine

if TYPE_CHECKING:
    from conrec.filter.filter import OpenSnapshot
    from conrec.filter.user_now import UserNow

KINDS = ("user", "item", "latent", "content", "prediction")
NAMED = 5
"""Contributions that a reason names at most."""


@dataclass(slots=True)
class Contribution:
    """One part of a score. (Neither this nor `Why` is frozen: that would take five times as long to make.)"""

    kind: str
    """One of KINDS, or `value`."""
    amount: float
    """What it adds to the score; of the history score, log-odds."""
    name: str | None = None
    """The value ("trait: polka dot"), or the title of the predicted dislike; else None."""
    past_item: str | None = None
    """Of the user's dislikes the newest that has this value, the one whose embedding is most like the item's (of the
    content), or the one from which the prediction follows most."""
    past_title: str | None = None


@dataclass(slots=True)
class Why:
    """Why a candidate is over the threshold, never to be shown again, or muted."""

    contributions: list[Contribution]
    """What raised its score, largest first, at most NAMED."""
    predicted_item: str | None
    """The predicted dislike that it is closest to, where that counts (the paper's score)."""
    prefix: tuple[int, ...]
    """The codes that the candidate's semantic ID begins with in common with that one's."""
    rejected_item: str | None = None
    """The item that the user rejected, for which this one is out whatever its score: itself, or one nearly the same."""
    muted: Mute | None = None
    """The user's rule for which it is out."""


def amounts(now: OpenSnapshot, user: UserFactors, rows: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """All contributions to the scores of some items (int [c], rows), float32 [c, KINDS + LARGEST], values last.

    cosines: float32 [c], the largest of each item to a predicted dislike.
    """
    table = now.factors.table.take(rows, axis=0)[:, now.factors.features :]
    ends = [0, now.widths[0], sum(now.widths), len(user.vector)]
    item, latent, embedding = (table[:, a:b] @ user.vector[a:b] for a, b in pairwise(ends))
    values = now.values.take(rows)["differences"].astype(np.float32) @ user.vector[ends[2] :]
    of_user, item = np.full(len(rows), user.bias, np.float32), table[:, -1] + item
    fixed = of_user, item, latent, embedding - values.sum(axis=1), now.cosine_weight * cosines
    return np.hstack([np.stack(fixed, axis=1), values])


def explain(
    now: OpenSnapshot,
    user: UserNow,
    rows: np.ndarray,
    over: np.ndarray,
    rejected: dict[int, str],
    mutes: dict[int, Mute],
) -> Iterator[tuple[int, Why]]:
    """Positions of candidates (rows, int [c]) and why each goes: int [o] over the threshold, rejected before, or
    muted."""
    reasons = dict(zip(over.tolist(), _explain(now, user, rows[over]) if len(over) else ()))
    for position in sorted({*reasons, *rejected, *mutes}):
        why = reasons.get(position) or Why([], None, ())
        why.rejected_item, why.muted = rejected.get(position), mutes.get(position)
        yield position, why


def _explain(now: OpenSnapshot, user_now: UserNow, rows: np.ndarray) -> Iterator[Why]:
    """Why each of some items (int [c], rows) scores as high as it does."""
    user, oldest_first, vectors = user_now.factors, user_now.dislikes[::-1], now.factors.vectors[:, sum(now.widths) :]
    assert user is not None
    cosines, nearest = np.zeros(len(rows), np.float32), np.full(len(rows), -1)
    prefixes: list[tuple[int, ...]] = [()] * len(rows)
    if now.cosine_weight:
        cosines, nearest = max_cosine(now.factors.unit_of(rows), now.factors.unit_of(user.predicted))
        if len(user.predicted):
            common = np.cumprod(now.codes[rows] == now.codes[user.predicted[nearest]], axis=1).sum(axis=1).tolist()
            prefixes = [tuple(codes[:length]) for codes, length in zip(now.codes[rows].tolist(), common)]
    added = amounts(now, user, rows, cosines)
    order = np.argsort(-added, axis=1)[:, :NAMED]
    largest = np.take_along_axis(added, order, axis=1).tolist()
    numbers = now.values["values"][rows, :LARGEST].tolist()
    # Value -> the newest dislike that has it: the last one stays.
    past_values = now.values["values"][oldest_first]
    whose, which = np.nonzero(past_values >= 0)
    newest = dict(zip(past_values[whose, which].tolist(), oldest_first[whose].tolist()))

    alike: list[int | None] = [None] * len(rows)
    if len(oldest_first):
        alike = oldest_first[(vectors[rows] @ unit_rows(vectors[oldest_first]).T).argmax(axis=1)].tolist()

    @cache
    def told(row: int | None) -> tuple[str | None, str | None]:
        return (None, None) if row is None else (now.index.id(row), now.title(row))

    for n, (near, places) in enumerate(zip(nearest.tolist(), order.tolist())):
        predicted = int(user.predicted[near]) if near >= 0 else None
        contributions = []
        for place, amount in zip(places, largest[n]):
            if amount <= 0:
                break
            if place >= len(KINDS):
                number = numbers[n][place - len(KINDS)]
                one = Contribution("value", amount, now.value_names[number], *told(newest.get(number)))
            elif KINDS[place] == "prediction":
                reason = int(user_now.reason_index[near])
                past = int(user_now.past[reason]) if reason >= 0 else None
                one = Contribution("prediction", amount, told(predicted)[1], *told(past))
            else:
                past = alike[n] if KINDS[place] == "content" else None
                one = Contribution(KINDS[place], amount, None, *told(past))
            contributions.append(one)
        yield Why(contributions, told(predicted)[0], prefixes[n])
