"""The recommender, day by day, and the truth about it in closed form.

On a day that user u opens the app, item i of leaf l is shown (once at most) with probability
1 - exp(-m[u] * share[u, l] * q[i]): m is the user's appetite, q the item's share of its leaf (popularity times
freshness), and share the leaf's part of what u sees: decayed positives, spilling over to sibling leaves, times
the damping that recent dislikes left. What u disliked is never shown to u again. The state changes at midnight
only, so the probability that an item is shown and disliked follows from the state at a midnight without
drawing anything; over several days the state is carried on by its expectation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from conrec.config import SimulateConfig
from conrec.data.schema import INTEREST_REASONS
from conrec.simulate.catalogue import FLAGS, LEAVES, ROOT_OF_LEAF, ROOTS, Catalogue
from conrec.simulate.people import People

NEVER = np.int16(32_000)
SPILL = 0.25
"""Part of a root's positives that counts for each of its leaves."""
PRIOR = 4.0
"""Positives' worth of weight that is spread over all leaves by their standing, so that everything is tried."""
NOISE = 0.002
"""Probability of a dislike for an exposure that none of the user's rules matches."""
MEMORY_DAYS, DAMPING_DAYS = 7.0, 10.0
"""Time constants, in days: how long positives draw more of their kind, and dislikes damp theirs."""
FRESHNESS = 2.0
FRESH_DAYS = 4.0
POSITIVE_FOCUS, POSITIVE_LIKED, POSITIVE_OTHER = 0.5, 0.32, 0.06
"""Chance of a positive on an item shown: leaf in focus, liked leaf, any other."""
REMAINING_CHANCE = 0.2
"""What a matching rule leaves of that chance; likewise what having bought the item leaves."""
FLAGGED = 0.025
"""Chance that a flagged item (AI picture, bait price, counterfeit) is disliked for the flag."""
BOUGHT = 0.15
"""Chance that an item shown again after it was bought is disliked for that."""
CART, PURCHASE_FROM_CART, FAVORITE = 0.12, 0.3, 0.07
"""After a click: chance of a cart, of a purchase after the cart, of a favourite."""
UNSPECIFIED = 0.2
"""Share of the dislikes by a rule whose reason the user leaves out; half of the noise does."""

Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Users, items, and seconds of a day's exposures."""
LEAF_ROOTS = (ROOT_OF_LEAF[:, None] == np.arange(len(ROOTS))).astype(np.float64)


@dataclass
class State:
    """What the recommender knows of users at a midnight."""

    positives: np.ndarray
    """float [users, leaves], decayed counts."""
    dislikes: np.ndarray
    """float [users, leaves], decayed counts."""


@dataclass(frozen=True)
class Happened:
    """One day's log; one entry an exposure, `kind` says what came of it."""

    users: np.ndarray
    items: np.ndarray
    seconds: np.ndarray
    """float64: when in the day it was shown."""
    disliked: np.ndarray
    reasons: np.ndarray
    """object: the reason or None (where disliked)."""
    clicked: np.ndarray
    """bool: a positive; the following are subsets of it."""
    favorite: np.ndarray
    cart: np.ndarray
    purchase: np.ndarray


class Platform:
    """The recommender and its users; `run_day` draws, `shown_and_disliked` computes."""

    def __init__(self, config: SimulateConfig, catalogue: Catalogue, people: People, standing: np.ndarray) -> None:
        users, items = len(people), len(catalogue)
        self.config = config
        self.catalogue = catalogue
        self.people = people
        self.standing = standing / standing.sum()
        self.state = State(np.zeros((users, len(LEAVES))), np.zeros((users, len(LEAVES))))
        self.states: list[State] = []
        """The state at the midnight that begins each day (float32)."""
        self.disliked_on = np.full((users, items), NEVER)
        """int16 [users, items]: day of the dislike, or NEVER."""
        self.bought_on = np.full((users, items), NEVER)
        self.behind: Callable[[Shown], Shown] = lambda ranked: ranked
        """What stands behind the recommender: from what it ranked on a day to what is shown."""
        self._members = (catalogue.leaf[:, None] == np.arange(len(LEAVES))).astype(np.float32)
        self._order = np.argsort(catalogue.leaf, kind="stable")
        self._flagged = np.where(catalogue.flags.any(axis=1), FLAGGED, 0.0)

    def leaf_shares(self, state: State) -> np.ndarray:
        """float64 [users, leaves], rows sum to 1."""
        root = state.positives @ LEAF_ROOTS
        weight = state.positives + SPILL * root @ LEAF_ROOTS.T / 5 + PRIOR * self.standing
        weight = weight * self.config.damping**state.dislikes
        return weight / weight.sum(axis=1, keepdims=True)

    def item_shares(self, day: int) -> np.ndarray:
        """float64 [items]: share of an item in its leaf; 0 for what is not listed by the midnight of `day`."""
        age = day - self.catalogue.listed
        fresh = 1.0 + FRESHNESS * np.exp(-np.maximum(age, 0.0) / FRESH_DAYS)
        weight = self.catalogue.popularity * fresh * (age >= 0)
        total = np.bincount(self.catalogue.leaf, weights=weight, minlength=len(LEAVES))
        return weight / np.maximum(total, 1e-12)[self.catalogue.leaf]

    def dislike_chance(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """P(disliked for the user's interest or without any | shown); arguments broadcast."""
        rule = self.people.match[users, items]
        return np.where(rule >= 0, self.people.strength[users, rule], NOISE)

    def other_chance(self, users: np.ndarray, items: np.ndarray, day: int) -> np.ndarray:
        """P(disliked for a flag or for having been bought | shown, not disliked otherwise)."""
        return np.where(self.bought_on[users, items] < day, BOUGHT, self._flagged[items])

    def positive_chance(self, users: np.ndarray, items: np.ndarray, day: int, focus: np.ndarray) -> np.ndarray:
        """P(positive | shown, not disliked); `focus` is int [users, FOCUS] of the whole population."""
        leaf = self.catalogue.leaf[items]
        focused = (focus[users] == leaf[..., None]).any(axis=-1)
        liked = self.people.liked[users, leaf]
        chance = np.where(focused, POSITIVE_FOCUS, np.where(liked, POSITIVE_LIKED, POSITIVE_OTHER))
        chance = chance * self.people.taste[users, items]
        chance = np.where(self.people.match[users, items] >= 0, REMAINING_CHANCE * chance, chance)
        return np.where(self.bought_on[users, items] < day, REMAINING_CHANCE * chance, chance)

    def run_day(self, day: int, rng: np.random.Generator) -> Happened:
        """Draw a day and move the state to the next midnight."""
        self.states.append(State(self.state.positives.astype(np.float32), self.state.dislikes.astype(np.float32)))
        users, items, seconds = self._show(day, rng)
        focus = self.people.focus[day].astype(np.int64)

        matched = rng.random(len(users)) < self.dislike_chance(users, items)
        other = ~matched & (rng.random(len(users)) < self.other_chance(users, items, day))
        disliked = matched | other
        clicked = ~disliked & (rng.random(len(users)) < self.positive_chance(users, items, day, focus))
        favorite = clicked & (rng.random(len(users)) < FAVORITE)
        cart = clicked & (rng.random(len(users)) < CART)
        purchase = cart & (rng.random(len(users)) < PURCHASE_FROM_CART)
        reasons = np.full(len(users), None, dtype=object)
        reasons[matched] = self._interest_reasons(users[matched], items[matched], rng)
        reasons[other] = self._other_reasons(users[other], items[other], day, rng)

        self.disliked_on[users[disliked], items[disliked]] = day
        bought = users[purchase], items[purchase]
        self.bought_on[bought] = np.minimum(self.bought_on[bought], day)
        self._forget_a_day(self.state)
        leaf = self.catalogue.leaf[items]
        np.add.at(self.state.positives, (users[clicked], leaf[clicked]), 1.0)
        np.add.at(self.state.dislikes, (users[disliked], leaf[disliked]), 1.0)
        return Happened(users, items, seconds, disliked, reasons, clicked, favorite, cart, purchase)

    def _show(self, day: int, rng: np.random.Generator) -> Shown:
        """Users, items and seconds of the day's exposures; a pair occurs once at most."""
        people = self.people
        present = np.flatnonzero((people.joined <= day) & (rng.random(len(people)) < people.active))
        counts = rng.poisson(self.config.exposures_per_day * people.exposures[present])
        # Two steps by inverse cumulated shares: a leaf for each exposure, then an item of the leaf.
        users = np.repeat(present, counts)
        shares = np.cumsum(self.leaf_shares(State(self.state.positives[present], self.state.dislikes[present])), 1)
        cumulated = np.repeat(shares, counts, axis=0)
        leaf = (rng.random(len(users))[:, None] > cumulated[:, :-1]).sum(axis=1)
        q = self.item_shares(day)
        stacked = np.cumsum(q[self._order])
        empty = np.bincount(self.catalogue.leaf, weights=q, minlength=len(LEAVES)) == 0
        start = np.searchsorted(self.catalogue.leaf[self._order], np.arange(len(LEAVES)))
        offset = np.where(start > 0, stacked[start - 1], 0.0)
        place = np.searchsorted(stacked, offset[leaf] + rng.random(len(users)), side="right")
        items = self._order[np.minimum(place, len(q) - 1)]

        first = np.unique(users * len(q) + items, return_index=True)[1]
        allowed = (self.disliked_on[users[first], items[first]] == NEVER) & ~empty[leaf[first]]
        keep = first[allowed]
        # One visit a day, of half an hour at most, mostly in the evening; it ends before midnight.
        begin = 3600 * (8 + 15 * rng.beta(3.0, 2.0, len(people)))
        seconds = begin[users[keep]] + 1800 * rng.random(len(keep))
        return self.behind((users[keep], items[keep], seconds))

    def _interest_reasons(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Reasons by the matching rule; noise gives 'not this product' or none."""
        by_attribute = {"category": "not_this_category", "store": "not_this_store", "image": "image_uncomfortable"}
        matched = self.people.match[users, items]
        reasons = np.full(len(users), INTEREST_REASONS[0], dtype=object)
        for n in np.flatnonzero(matched >= 0):
            attribute = self.people.rules[users[n]][matched[n]][1]
            reasons[n] = by_attribute.get(attribute, INTEREST_REASONS[0])
        silent = rng.random(len(users)) < np.where(matched >= 0, UNSPECIFIED, 0.5)
        reasons[silent] = None
        return reasons

    def _other_reasons(self, users: np.ndarray, items: np.ndarray, day: int, rng: np.random.Generator) -> np.ndarray:
        """'Seen or bought' after a purchase, else one of the item's flags."""
        flags = self.catalogue.flags[items]
        pick = np.argmax(flags * (1.0 + rng.random(flags.shape)), axis=1)
        reasons = np.array(FLAGS, dtype=object)[pick]
        reasons[self.bought_on[users, items] < day] = "seen_or_bought"
        return reasons

    def _forget_a_day(self, state: State) -> None:
        state.positives *= np.exp(-1.0 / MEMORY_DAYS)
        state.dislikes *= np.exp(-1.0 / DAMPING_DAYS)

    def shown_and_disliked(self, users: np.ndarray, day: int, horizon_days: int) -> np.ndarray:
        """float64 [len(users), items]: P(shown and disliked for interest within the horizon | midnight of `day`).

        From the recommender's state at that midnight and the true rules; later states by their expectation,
        the user's focus as on `day`. The horizon ends with the log. 0 for what is not listed by then, was
        disliked, or was bought (no system may predict what the user already has).
        """
        people, config = self.people, self.config
        columns = np.arange(len(self.catalogue))[None, :]
        rows = users[:, None]
        state = State(
            self.states[day].positives[users].astype(np.float64), self.states[day].dislikes[users].astype(np.float64)
        )
        interest = self.dislike_chance(rows, columns)
        other = (1 - interest) * self.other_chance(rows, columns, day)
        positive = (1 - interest - other) * self.positive_chance(rows, columns, day, people.focus[day].astype(int))
        alive = (self.disliked_on[users] >= day).astype(np.float64)
        answer = np.zeros_like(alive)
        for later in range(day, min(day + horizon_days, config.days)):
            here = people.active[users] * (people.joined[users] <= later)
            appetite = config.exposures_per_day * people.exposures[users]
            mean = appetite[:, None] * self.leaf_shares(state)[:, self.catalogue.leaf] * self.item_shares(later)
            shown = here[:, None] * (1.0 - np.exp(-mean)) * alive
            answer += shown * interest
            alive -= shown * (interest + other)
            self._forget_a_day(state)
            state.positives += (shown * positive) @ self._members
            state.dislikes += self._damped((shown * (interest + other)) @ self._members)
        possible = (self.catalogue.listed < day) & (self.bought_on[users] >= day)
        return answer * possible

    def _damped(self, mean: np.ndarray) -> np.ndarray:
        """The dislikes that damp as much as a Poisson number of them does on average: E[d^N] = exp(-mean (1 - d))."""
        damping = self.config.damping
        return mean if damping == 1.0 else mean * (1.0 - damping) / -np.log(damping)
