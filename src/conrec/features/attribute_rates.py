"""Which attributes a user dislikes: every exposure that was not disliked counts against them, too (docs/decoding.md).

    rate(u, i) = sum over f in F(i) of r_uf,    r_uf ~ Gamma(shape_f, EXPOSURES)

is the rate at which an exposure of an item is disliked. F(i) holds the item's categories and other attributes, the
pairs of a category with another one of them, and what all items share. What is expected of somebody unknown, shape_f /
EXPOSURES, is the rate of all users together. The rates are integrated out (Griffiths and Steyvers 2004).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from conrec.compiled import compiled
from conrec.data.instances import Events, Instances, Ragged
from conrec.data.schema import REASONS
from conrec.data.trust import counted_from
from conrec.features.item_features import ItemFeature
from conrec.items.fields import FieldsEncoder
from conrec.parallel import Memo

EXPOSURES = 4.0
"""How many exposures what is known of everybody is worth."""
LEAST_SHAPE = 0.003
"""Anybody may turn out to dislike anything."""
SWEEPS, BURN_IN = 200, 20
"""Of Gibbs sampling, and how many of them are not looked at; more are no better."""
EVERYBODYS_EXPOSURES = 20.0
"""So many exposures without a dislike are added to each attribute's of all users."""
FEWEST_ITEMS = 3
"""Attributes, and pairs, of fewer items say nothing that the items do not say."""
MOST_ATTRIBUTES = 20_000
"""Of a larger catalogue the commonest ones: a user's rates are a row of so many numbers."""
EVERYBODYS_ROUNDS, REASONS_ROUNDS = 100, 30
"""Of expectation-maximisation; the first few do most of it."""


@dataclass(frozen=True)
class Attributes:
    """What every item is like."""

    matrix: csr_matrix
    """float32 [items, attributes]: how far each item has each attribute; the first one is shared by all."""
    field: np.ndarray
    """int [attributes]: number of the field that each is of; a pair's is that of its part that is no category."""

    @classmethod
    def of(cls, items: Sequence[dict[str, str]]) -> Attributes:
        """items: category and attributes of each (`items.fields.fields_of`).

        A number lies between two points of its scale and has a part of both.
        """
        encoder = FieldsEncoder(1)
        encoder.fit(list(items))
        columns: dict[tuple[str, ...], int] = {(): 0}
        starts, places, values = array("q", [0]), array("i"), array("f")
        for item in items:
            parts = {token: min(strength, 1.0) for token, strength in encoder.tokens(item).items()}
            own: dict[tuple[str, ...], float] = {(): 1.0} | {(token,): part for token, part in parts.items()}
            for first in parts:
                for second in parts:
                    # Two categories are met in both orders; it is one pair.
                    if _is_category(first) and (first < second or not _is_category(second)):
                        own[first, second] = parts[first] * parts[second]
            for name, part in own.items():
                places.append(columns.setdefault(name, len(columns)))
                values.append(part)
            starts.append(len(places))
        matrix = csr_matrix(tuple(map(np.asarray, (values, places, starts))), shape=(len(items), len(columns)))
        matrix.sort_indices()
        uses = np.bincount(matrix.indices, minlength=len(columns))
        kept = np.zeros(len(columns), bool)
        kept[np.argsort(-uses, kind="stable")[:MOST_ATTRIBUTES]] = True
        kept &= uses >= FEWEST_ITEMS
        kept[0] = True
        fields = [name[-1].split("=", 1)[0] if name else "" for name in columns]
        return cls(matrix[:, kept].tocsr(), np.unique(fields, return_inverse=True)[1][kept])


def _is_category(token: str) -> bool:
    return token.startswith("category=")


@dataclass(frozen=True)
class Everybody:
    """What all users' dislikes are explained by."""

    rates: np.ndarray
    """float64 [attributes]: dislikes an exposure."""
    reasons: np.ndarray
    """float64 [attributes, reasons + 1]: how likely a dislike for each is given each reason; the last one is none."""

    @property
    def shape(self) -> np.ndarray:
        """float64 [attributes]: what it says of somebody unknown, of the gammas' shape."""
        return np.maximum(EXPOSURES * self.rates, LEAST_SHAPE)


class AttributeRates(ItemFeature):
    """Dislike rates by attribute, over the log before a cutoff."""

    name = "attribute"

    def __init__(self, items: Sequence[dict[str, str]], events: Events, known_users: np.ndarray | None = None) -> None:
        """items: their fields. events: sorted by time. Shown is what the platform logged as shown; where it logs
        nothing, what was judged.

        `known_users`, str [n], in `users` mode: what is known of everybody is their whole log.
        """
        self._attributes = Attributes.of(items)
        self._log, self._counted = events.by_user, counted_from(events)
        self._shown, self._disliked = events.shown, events.is_dislike
        self._before = Memo(self._until)
        self._always = None if known_users is None else self._of_all(events.of_users(known_users))

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]: the log of the rate at which each user dislikes the item once it is shown."""
        return np.log(self._rates(instances, self._attributes.matrix))

    def of_items(self, instances: Instances, items: np.ndarray) -> np.ndarray:
        """float32 [B, k]: the rates, no logarithms, of some items, rows int [k], alike for all users."""
        return self._rates(instances, self._attributes.matrix[items])

    def of_day(self, cutoff: np.datetime64) -> tuple[csr_matrix, Everybody]:
        """The items' attributes, and what explains all users' dislikes on the day: for one user without a log."""
        return self._attributes.matrix, self._of_day(cutoff.astype("datetime64[D]"))

    def mean(self, cutoff: np.datetime64, items: np.ndarray) -> np.ndarray:
        """float32 [k]: the rates of some items, no logarithms, for somebody who was shown nothing yet."""
        shape = self._of_day(cutoff.astype("datetime64[D]")).shape
        return np.asarray(self._attributes.matrix[items] @ (shape / EXPOSURES), np.float32)

    def _rates(self, instances: Instances, matrix: csr_matrix) -> np.ndarray:
        """float32 [B, k], for the items that are the rows of the matrix."""
        out = np.empty((len(instances), matrix.shape[0]), np.float32)
        days = instances.cutoffs.astype("datetime64[D]")
        for day in np.unique(days):
            here, everybody = np.flatnonzero(days == day), self._of_day(day)
            changes = self._changes(instances.users[here], instances.cutoffs[here], everybody)
            out[here] = RatesOf.items(matrix, everybody.shape).of_users(changes)
        return out

    def _changes(
        self, users: np.ndarray, cutoffs: np.ndarray, everybody: Everybody
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`changed_rates` of users, each at its own cutoff."""
        log, before = self._log.events, self._log.before(users, cutoffs)
        shown, disliked = (before.where(which[before.values]) for which in (self._shown, self._disliked))
        met, rejected = (one.of_values(log.items[one.values]) for one in (shown, disliked))
        matrix, shape, reasons = self._attributes.matrix, everybody.shape, everybody.reasons
        given = log.reasons[disliked.values]
        return changed_rates(matrix, shape, reasons, met, np.ones(len(met.values)), rejected, given)

    def _of_day(self, day: np.datetime64) -> Everybody:
        return self._before(day) if self._always is None else self._always

    def _until(self, day: np.datetime64) -> Everybody:
        return self._of_all(self._counted < day.astype("datetime64[us]"))

    def _of_all(self, known: np.ndarray) -> Everybody:
        """From those of everybody's events that are known, bool [n]."""
        log, own = self._log.events, known & self._disliked
        shown, disliked, given = log.items[known & self._shown], log.items[own], log.reasons[own]
        matrix, items = self._attributes.matrix.astype(np.float64), self._attributes.matrix.shape[0]
        met, rejected = (np.bincount(part, minlength=items) for part in (shown, disliked))
        base = (rejected.sum() + 1.0) / (met.sum() + EVERYBODYS_EXPOSURES)
        rates = np.full(matrix.shape[1], base * items / matrix.sum())
        against = matrix.T @ met + EVERYBODYS_EXPOSURES
        for _ in range(EVERYBODYS_ROUNDS):
            rates = rates * (matrix.T @ (rejected / np.maximum(matrix @ rates, 1e-12))) / against
        return Everybody(rates, self._reasons(disliked, given, rates))

    def _reasons(self, disliked: np.ndarray, reasons: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """`Everybody.reasons`: the same for all attributes of a field, and all alike where nobody gave a reason."""
        field, width = self._attributes.field, len(REASONS) + 1
        given = np.full((field.max() + 1, width), 1 / width)
        if (reasons >= 0).any():
            pairs, uses = np.unique(disliked * np.int64(width) + reasons % width, return_counts=True)
            items, of_pair = np.divmod(pairs, width)
            own = self._attributes.matrix[items]
            pair = np.repeat(np.arange(len(pairs)), np.diff(own.indptr))
            place = field[own.indices] * width + of_pair[pair]
            for _ in range(REASONS_ROUNDS):
                share = own.data * rates[own.indices] * given.ravel()[place] + 1e-300
                share = share * (uses / np.bincount(pair, share, len(pairs)))[pair]
                given = 1 + np.bincount(place, share, given.size).reshape(given.shape)
                given = given / given.sum(axis=1, keepdims=True)
        return np.asarray(given[field])


@dataclass(frozen=True)
class RatesOf:
    """Some items, ready to be asked how surely users dislike them once they are shown."""

    unknown: np.ndarray
    """float64 [k]: the rates of somebody who was shown nothing."""
    by_attribute: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Which items have each attribute, and how far: data, indices, and indptr of a matrix [attributes, k]."""

    @classmethod
    def items(cls, matrix: csr_matrix, shape: np.ndarray) -> RatesOf:
        """The items that are the rows of the matrix [k, attributes]. shape: `Everybody`."""
        turned = matrix.T.tocsr()
        return cls(np.asarray(matrix @ (shape / EXPOSURES), np.float64), (turned.data, turned.indices, turned.indptr))

    def of_users(self, changes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """float32 [b, k]: the rates of users with these `changed_rates`."""
        return _summed(self.unknown, self.by_attribute, changes)


@compiled()
def _summed(
    unknown: np.ndarray,
    by_attribute: tuple[np.ndarray, np.ndarray, np.ndarray],
    changes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    (part, items, item_at), (change, attributes, change_at) = by_attribute, changes
    found = np.empty((len(change_at) - 1, len(unknown)), np.float32)
    for user in range(len(found)):
        rates = unknown.copy()
        for n in range(change_at[user], change_at[user + 1]):
            for place in range(item_at[attributes[n]], item_at[attributes[n] + 1]):
                rates[items[place]] += change[n] * part[place]
        found[user] = rates
    return found


def changed_rates(
    matrix: csr_matrix,
    shape: np.ndarray,
    reasons: np.ndarray,
    shown: Ragged,
    counts: np.ndarray,
    disliked: Ragged,
    given: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users' rates, less shape / EXPOSURES, which is that of somebody who was shown nothing: data, indices, and indptr
    of a matrix, float64 [b, attributes]. Posterior means, by Gibbs sampling with a fixed seed for each user.

    matrix: [items, attributes]. shape, reasons: `Everybody`. shown: items of each user, and `counts`, how often it was;
    disliked: items of each user, and `given`, int, the reasons given with them (-1: none).
    """
    lengths = np.diff(matrix.indptr)
    most = int(lengths[shown.values].sum() + lengths[disliked.values].sum())
    # The same for every user: rates must not depend on who else is asked for.
    draws = np.random.default_rng(0).random(SWEEPS * int(disliked.lengths.max(initial=0)))
    users = shown.offsets, shown.values, counts, disliked.offsets, disliked.values, given
    of_users = tuple(np.ascontiguousarray(one, np.int64) for one in users)  # of one type, so compiled once
    return _changed((matrix.indptr, matrix.indices, matrix.data), shape, reasons, of_users, draws, most)


@compiled()
def _changed(
    items: tuple[np.ndarray, ...],
    shape: np.ndarray,
    reasons: np.ndarray,
    users: tuple[np.ndarray, ...],
    draws: np.ndarray,
    most: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`changed_rates` as data, indices, and indptr; at most so many numbers."""
    indptr, indices, data = items
    shown_of, shown, counts, disliked_of, disliked, given = users
    found, places, ends = np.empty(most), np.empty(most, np.int32), np.zeros(len(shown_of), np.int64)
    number, met = np.full(len(shape), -1), np.zeros(len(shape))
    for user in range(len(shown_of) - 1):
        begin = end = ends[user]
        # The attributes of what was disliked, numbered as they come: only these have anything to explain.
        first, last = disliked_of[user], disliked_of[user + 1]
        starts = np.zeros(last - first + 1, np.int64)
        starts[1:] = np.cumsum(indptr[disliked[first:last] + 1] - indptr[disliked[first:last]])
        own, fits = np.empty(starts[-1], np.int64), np.empty(starts[-1])
        n = 0
        for event in range(first, last):
            for place in range(indptr[disliked[event]], indptr[disliked[event] + 1]):
                attribute = indices[place]
                if number[attribute] < 0:
                    number[attribute], places[end], end = end - begin, attribute, end + 1
                own[n], fits[n] = number[attribute], data[place] * reasons[attribute, given[event]]
                n += 1
        explaining = end - begin
        for event in range(shown_of[user], shown_of[user + 1]):
            for place in range(indptr[shown[event]], indptr[shown[event] + 1]):
                attribute = indices[place]
                if number[attribute] < 0:
                    number[attribute], places[end], end = end - begin, attribute, end + 1
                met[attribute] += data[place] * counts[event]
        some = places[begin:end]
        prior, against = shape[some], EXPOSURES + met[some]
        explained = np.zeros(len(some))
        explained[:explaining] = explanations(
            starts, own, fits, prior[:explaining], against[:explaining], draws, SWEEPS, BURN_IN
        )
        found[begin:end] = (prior + explained) / against - prior / EXPOSURES
        number[some], met[some], ends[user + 1] = -1, 0.0, end
    return found[:end], places[:end], ends


@compiled()
def explanations(
    starts: np.ndarray,
    attributes: np.ndarray,
    fits: np.ndarray,
    shape: np.ndarray,
    against: np.ndarray,
    draws: np.ndarray,
    sweeps: int,
    burn_in: int,
) -> np.ndarray:
    """float64 [k]: how many of a user's dislikes each of k attributes explains, on average over the posterior.

    starts: int [d + 1], where those of each dislike begin in `attributes`, int, and `fits`, float (how well each
    explains it). shape, against: float [k], of the gammas. draws: float [sweeps * d], uniform in [0, 1). In each
    sweep every dislike in turn is given to one of its attributes, by what the others leave likely.
    """
    counts, total = np.zeros(len(shape)), np.zeros(len(shape))
    chosen, weights = np.full(len(starts) - 1, -1), np.zeros(len(fits))
    for sweep in range(sweeps):
        for dislike in range(len(chosen)):
            if chosen[dislike] >= 0:
                counts[chosen[dislike]] -= 1.0
            begin, end = starts[dislike], starts[dislike + 1]
            drawn = 0.0
            for n in range(begin, end):
                a = attributes[n]
                weights[n] = fits[n] * (shape[a] + counts[a]) / against[a]
                drawn += weights[n]
            drawn *= draws[sweep * len(chosen) + dislike]
            n = begin - 1
            while drawn >= 0.0 and n < end - 1:
                n += 1
                drawn -= weights[n]
            chosen[dislike] = attributes[n]
            counts[attributes[n]] += 1.0
        if sweep >= burn_in:
            total += counts
    return total / (sweeps - burn_in)
