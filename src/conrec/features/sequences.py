"""Users' events as sequences: what the models of sequences, and the linear ones, learn from and answer for.

Sequences are padded on the right: position 0 is the oldest event shown. A causal model then needs no mask for the
padding, and every position of a window is trained as it is asked later, as if each prefix were a sample of its own.
Where both signs are read they stand in one sequence in the order of time, each event with a mark of its sign.

Shapes: B sequences, L events, T targets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from conrec.data.instances import Events, Instances
from conrec.features.sizes import Inputs

T = TypeVar("T")
PREDICTED, OTHER = 1, 2
"""Marks of events: of the sign that is to be predicted, or of the other one; 0 is padding."""


@dataclass(frozen=True)
class UserEvents:
    """Events with a mark, sorted by owner and then time; each (owner, item) once a mark."""

    owners: np.ndarray
    """int64 [n]: number of the user or instance."""
    rows: np.ndarray
    """int [n] item rows."""
    marks: np.ndarray
    """int64 [n]."""

    @classmethod
    def of_log(cls, events: Events, inputs: Inputs) -> tuple[Self, np.ndarray]:
        """Events of a log, sorted by time, and who the owners are: str [U], sorted."""
        marks = np.zeros(len(events.items), np.int64)
        for mark, sign in _marked(events.is_dislike, events.is_positive, inputs):
            marks[sign] = mark
        used = events.take(marks != 0)
        users, owners = used.owners()
        return cls._sorted(owners, used.items, marks[marks != 0], used.times), users

    @classmethod
    def of_instances(cls, instances: Instances, inputs: Inputs) -> Self:
        """Histories of instances; owner n is instance n."""
        dislikes = instances.dislikes, instances.dislike_times.values
        marked = _marked(dislikes, (instances.positives, instances.positive_times.values), inputs)
        return cls._sorted(
            np.concatenate([rows.owners for _, (rows, _) in marked]),
            np.concatenate([rows.values for _, (rows, _) in marked]),
            np.concatenate([np.full(len(times), mark) for mark, (_, times) in marked]),
            np.concatenate([times for _, (_, times) in marked]),
        )

    @classmethod
    def _sorted(cls, owners: np.ndarray, rows: np.ndarray, marks: np.ndarray, times: np.ndarray) -> Self:
        """At one moment what is to be predicted stands first, and of that the smaller item row."""
        order = np.lexsort((rows, marks, times, owners))
        owners, rows, marks = owners[order].astype(np.int64), rows[order].astype(np.int64), marks[order]
        width = 1 + int(rows.max(initial=0))
        first = np.sort(np.unique((owners * width + rows) * 3 + marks, return_index=True)[1])
        return cls(owners[first], rows[first], marks[first])


def _marked(dislikes: T, positives: T, inputs: Inputs) -> list[tuple[int, T]]:
    """Mark of each sign that is read, with what belongs to it."""
    return [(PREDICTED, dislikes), (OTHER, positives)][: 1 if inputs == "dislikes" else 2]


@dataclass(frozen=True)
class Tokens:
    """Items as a model numbers them: 0 pads, 1 to T are the targets, after them items that were only liked."""

    rows: np.ndarray
    """int64 [n]: item row of token n + 1."""
    targets: int
    """T."""
    of_row: np.ndarray
    """int64 [n_items]: token of an item row; 0 for one that training never met."""

    @classmethod
    def of(cls, events: UserEvents, n_items: int) -> Self:
        """Numbering of the items in the events to learn from."""
        targets = np.unique(events.rows[events.marks == PREDICTED])
        rows = np.concatenate([targets, np.setdiff1d(events.rows, targets)]).astype(np.int64)
        of_row = np.zeros(n_items, np.int64)
        of_row[rows] = np.arange(1, len(rows) + 1)
        return cls(rows, len(targets), of_row)

    def __len__(self) -> int:
        """Tokens, padding included."""
        return len(self.rows) + 1


@dataclass(frozen=True)
class Batch:
    """Windows of events, padded on the right."""

    tokens: Tensor
    """int64 [B, L], 0 pads."""
    marks: Tensor
    """int64 [B, L]."""
    wanted: Tensor
    """bool [B, L]: to be predicted from what stands before it (or around it)."""
    owners: Tensor
    """int64 [B]: the user's number in training; T_users (one more than the last) for a user unknown there."""

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, index: Tensor) -> "Batch":
        """Windows of some indices, without columns that only pad."""
        longest = max(1, int((self.tokens[index] != 0).sum(1).max())) if len(index) else 1
        tokens, marks, wanted = (part[index, :longest] for part in (self.tokens, self.marks, self.wanted))
        return Batch(tokens, marks, wanted, self.owners[index])

    def to(self, device: torch.device) -> "Batch":
        """Batch on another device."""
        return Batch(*(part.to(device) for part in (self.tokens, self.marks, self.wanted, self.owners)))


def training_windows(events: UserEvents, tokens: Tokens, length: int) -> Batch:
    """Windows of up to `length` + 1 events, so that `length` of them can each have a next one.

    A longer history is cut into windows that overlap by half; an event is wanted only in the window that shows most
    of what came before it. Windows without anything wanted are left out.
    """
    step = max(1, length // 2)
    starts = np.flatnonzero(np.diff(events.owners, prepend=-1))
    stops = np.append(starts[1:], len(events.owners))
    firsts, lasts, fresh = [], [], []
    for start, stop in zip(starts.tolist(), stops.tolist()):
        first, seen = start, start + 1  # the very first event has nothing before it
        while seen < stop:
            last = min(first + length + 1, stop)
            firsts.append(first)
            lasts.append(last)
            fresh.append(seen)
            first, seen = first + step, last
    rows = np.asarray(firsts, np.int64)[:, None] + np.arange(length + 1)
    real = rows < np.asarray(lasts, np.int64)[:, None]
    at = np.where(real, rows, 0)
    marks = np.where(real, events.marks[at], 0)
    wanted = (marks == PREDICTED) & (rows >= np.asarray(fresh, np.int64)[:, None])
    kept = wanted.any(1)
    if not kept.any():
        raise ValueError("no user has two dislikes to learn a sequence from")
    shown = np.where(real, tokens.of_row[events.rows[at]], 0)
    return Batch(*(torch.from_numpy(part[kept]) for part in (shown, marks, wanted, events.owners[at[:, 0]])))


def histories(events: UserEvents, n: int, tokens: Tokens, length: int, owners: np.ndarray) -> Batch:
    """The newest `length` known events of each of n instances, padded on the right; `owners` int64 [n] as in Batch."""
    known = tokens.of_row[events.rows] > 0
    of, marks, rows = events.owners[known], events.marks[known], events.rows[known]
    counts = np.bincount(of, minlength=n)
    stops = np.cumsum(counts)
    from_end = stops[of] - np.arange(len(of))  # 1 for the newest
    newest = from_end <= length
    of, marks, rows, from_end = of[newest], marks[newest], rows[newest], from_end[newest]
    place = np.minimum(counts, length)[of] - from_end
    table = np.zeros((2, n, max(1, min(length, int(counts.max(initial=0))))), np.int64)
    table[0, of, place] = tokens.of_row[rows]
    table[1, of, place] = marks
    filled = torch.from_numpy(table)
    return Batch(filled[0], filled[1], torch.zeros_like(filled[0], dtype=torch.bool), torch.from_numpy(owners))


def shuffled(windows: Batch, cells: int, generator: torch.Generator) -> Iterator[Batch]:
    """Every window once, in batches of up to `cells` places, padding included.

    Windows of like length go together, so that little is padding and a batch has about as many predictions as any
    other; which ones meet, and the order of the batches, is drawn anew each time.
    """
    lengths = (windows.tokens != 0).sum(1)
    order = torch.argsort(lengths + torch.rand(len(windows), generator=generator))
    ordered = lengths[order].tolist()
    batches, first = [], 0
    for n, length in enumerate(ordered):  # ascending, so the newest is the longest of its batch
        if (n + 1 - first) * length > cells and n > first:
            batches.append(order[first:n])
            first = n
    batches.append(order[first:])
    for n in torch.randperm(len(batches), generator=generator).tolist():
        yield windows.take(batches[n])
