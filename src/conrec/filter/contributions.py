"""Why a candidate scores high: what its score added up, the largest contribution first.

    score(u, i) = b_u                    user         how given this user is to dislikes
                + b_i + <p_u, y_i>       item         how everybody takes this item, its features y_i seen by this user
                + <p_u, f_i>             latent       what people who dislike alike think of it
                + <p_u, e_i>             its values, each by what it adds to the item embedding e_i, and
                                         content      what is left of that: title and picture, and combinations

What a value adds is <p_u, e_i - e_i without it> (`score.item_values`). The contributions sum to the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from conrec.filter.mutes import Mute
from conrec.score.factors import LARGEST, UserFactors

if TYPE_CHECKING:
    from conrec.filter.filter import OpenSnapshot
    from conrec.filter.user_now import UserNow

KINDS = ("user", "item", "latent", "content")
NAMED = 5
"""Contributions that a reason names at most."""


class Contribution(Struct, gc=False):
    """One part of a score. (A list has hundreds: as dataclasses, they take twice as long to make and to write.)"""

    kind: str
    """One of KINDS, or `value`."""
    amount: float
    """What it adds to the score, in log-odds."""
    name: str | None = None
    """The value ("trait: polka dot"); else None."""
    past_item: str | None = None
    """Of the user's dislikes the newest that has this value, or (of the content) the one that is most alike."""
    past_title: str | None = None


class Why(Struct, gc=False):
    """Why a candidate is over the threshold, never to be shown again, or muted."""

    contributions: list[Contribution]
    """What raised its score, largest first, at most NAMED."""
    rejected_item: str | None = None
    """The item that the user rejected, for which this one is out whatever its score: itself, or one nearly the same."""
    muted: Mute | None = None
    """The user's rule for which it is out."""


def amounts(now: OpenSnapshot, user: UserFactors, rows: np.ndarray) -> np.ndarray:
    """All contributions to the scores of some items (int [c], rows), float32 [c, KINDS + LARGEST], values last."""
    table = now.factors.table.take(rows, axis=0)
    ends = [0, now.widths[0], sum(now.widths), len(user.vector)]
    item, latent, embedding = (table[:, a:b] @ user.vector[a:b] for a, b in pairwise(ends))
    values = now.values.take(rows)["differences"].astype(np.float32) @ user.vector[ends[2] :]
    of_user, item = np.full(len(rows), user.bias, np.float32), table[:, -1] + item
    return np.hstack([np.stack([of_user, item, latent, embedding - values.sum(axis=1)], axis=1), values])


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
        why = reasons.get(position) or Why([])
        why.rejected_item, why.muted = rejected.get(position), mutes.get(position)
        yield position, why


def _explain(now: OpenSnapshot, user_now: UserNow, rows: np.ndarray) -> Iterator[Why]:
    """Why each of some items (int [c], rows) scores as high as it does."""
    user, dislikes = user_now.factors, user_now.dislikes
    assert user is not None
    added = amounts(now, user, rows)
    order = np.argsort(-added, axis=1)[:, :NAMED]
    largest = np.take_along_axis(added, order, axis=1).tolist()
    numbers = now.values["values"][rows, :LARGEST].tolist()
    nothing, past = (None, None), {row: (now.index.id(row), now.title(row)) for row in dislikes.tolist()}
    # Value -> the newest dislike that has it: the last one stays.
    past_values = now.values["values"][dislikes]
    whose, which = np.nonzero(past_values >= 0)
    newest = dict(zip(past_values[whose, which].tolist(), dislikes[whose].tolist()))
    for places, amounts_of, values, alike in zip(order.tolist(), largest, numbers, now.most_alike(rows, dislikes)):
        contributions = []
        for place, amount in zip(places, amounts_of):
            if amount <= 0:
                break
            if place >= len(KINDS):
                value = values[place - len(KINDS)]
                one = Contribution("value", amount, now.value_names[value], *past.get(newest.get(value), nothing))
            else:
                told = past.get(alike, nothing) if KINDS[place] == "content" else nothing
                one = Contribution(KINDS[place], amount, None, *told)
            contributions.append(one)
        yield Why(contributions)
