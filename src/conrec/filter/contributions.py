"""Why a candidate scores high: what its score added up, the largest contribution first.

    score(u, i) = b_u                    user         how given this user is to dislikes
                + b_i + <p_u, y_i>       item         how everybody takes this item, its features y_i seen by this user
                + <p_u, f_i>             latent       what people who dislike alike think of it
                + <p_u, e_i>             its values, each by what it adds to the item embedding e_i, and
                                         content      what is left of that: the item as a whole
                + w * cosine             prediction   how close it is to a predicted dislike

What a value adds is <p_u, e_i - e_i without it> (`score.item_values`). The contributions sum to the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from conrec.filter.npy import map_npy
from conrec.score.factors import ItemFactors, UserFactors, value_record
from conrec.score.similarity import max_cosine

if TYPE_CHECKING:
    from conrec.filter.filter import AfterUndo, OpenSnapshot

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
    """The newest dislike of the user that has this value, or the one from which the prediction follows most."""
    past_title: str | None = None


@dataclass(slots=True)
class Why:
    """Why a candidate is over the threshold."""

    contributions: list[Contribution]
    """What raised its score, largest first, at most NAMED."""
    predicted_item: str | None
    """The predicted dislike that it is closest to, where that counts (the paper's score)."""
    prefix: tuple[int, ...]
    """The codes that the candidate's semantic ID begins with in common with that one's."""


class StoredValues:
    """What a snapshot knows of its items' values."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        """ConrecError, OSError or ArrowException where a file is missing, or of another embedding."""
        self.records = map_npy(folder / "records.npy", value_record(dimensions), 1)
        with pq.ParquetFile(folder / "names.parquet") as file:
            self._names = file.read()["name"].combine_chunks()

    def name(self, number: int) -> str:
        """Of a value."""
        return str(self._names[number].as_py())

    def newest(self, rows: np.ndarray) -> dict[int, int]:
        """Value -> the first of these items (int [m]) that has it."""
        numbers = self.records["values"][rows[::-1]]
        return dict(zip(numbers.ravel().tolist(), np.repeat(rows[::-1], numbers.shape[1]).tolist()))


def amounts(
    items: ItemFactors,
    user: UserFactors,
    rows: np.ndarray,
    widths: tuple[int, int],
    prediction: np.ndarray,
    differences: np.ndarray | None,
) -> np.ndarray:
    """All contributions to the scores of some items (int [c], rows), float32 [c, KINDS + LARGEST], values last.

    widths: as `SnapshotItems.widths`; prediction: float32 [c], that contribution; differences: float [c, LARGEST, d],
    None where values are not known.
    """
    table = items.table.take(rows, axis=0)[:, items.features :]
    starts = [0, widths[0], sum(widths)]
    item, latent, embedding = (
        table[:, start:end] @ user.vector[start:end] for start, end in zip(starts, [*starts[1:], len(user.vector)])
    )
    of_user = np.full(len(rows), user.bias, np.float32)
    fixed = np.stack([of_user, table[:, -1] + item, latent, embedding, prediction], axis=1)
    if differences is None:
        return fixed
    values = differences.astype(np.float32) @ user.vector[starts[2] :]
    fixed[:, KINDS.index("content")] -= values.sum(axis=1)
    return np.hstack([fixed, values])


def explain(now: OpenSnapshot, user_now: AfterUndo, rows: np.ndarray) -> Iterator[Why]:
    """Why each of some items (int [c], rows) scores as high as it does."""
    user, dislikes = user_now.factors, user_now.stored.dislikes
    closeness, nearest = np.zeros(len(rows), np.float32), np.full(len(rows), -1)
    if now.cosine_weight:
        closeness, nearest = max_cosine(now.factors.unit_of(rows), now.factors.unit_of(user.predicted))
    prefixes: list[tuple[int, ...]] = [()] * len(rows)
    if len(rows) and nearest[0] >= 0:
        common = np.cumprod(now.codes[rows] == now.codes[user.predicted[nearest]], axis=1).sum(axis=1).tolist()
        prefixes = [tuple(codes[:length]) for codes, length in zip(now.codes[rows].tolist(), common)]
    own = None if now.values is None else now.values.records[rows]
    differences = None if own is None else own["differences"]
    added = amounts(now.factors, user, rows, now.widths, now.cosine_weight * closeness, differences)
    order = np.argsort(-added, axis=1)[:, :NAMED]
    largest = np.take_along_axis(added, order, axis=1).tolist()
    numbers = [] if own is None else own["values"].tolist()
    past_of = {} if now.values is None else now.values.newest(user_now.dislikes)

    def past(row: int) -> tuple[str | None, str | None]:
        return (None, None) if row < 0 else (now.index.id(row), now.title(row))

    @cache
    def value(number: int) -> tuple[str | None, ...]:
        assert now.values is not None
        return now.values.name(number), *past(past_of.get(number, -1))

    @cache
    def prediction(near: int) -> tuple[str | None, ...]:
        reason = int(user_now.reason_index[near])
        return now.title(int(user.predicted[near])), *past(int(dislikes[reason]) if reason >= 0 else -1)

    for n, (near, places) in enumerate(zip(nearest.tolist(), order.tolist())):
        contributions = []
        for place, amount in zip(places, largest[n]):
            if amount <= 0:
                break
            kind = KINDS[place] if place < len(KINDS) else "value"
            about = value(numbers[n][place - len(KINDS)]) if kind == "value" else ()
            about = prediction(near) if kind == "prediction" else about
            contributions.append(Contribution(kind, amount, *about))
        predicted = now.index.id(int(user.predicted[near])) if near >= 0 else None
        yield Why(contributions, predicted, prefixes[n])
