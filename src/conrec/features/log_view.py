"""The log as scores and features read it: with the catalogue, and with the explicit feedback by user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from conrec.data.instances import Events, Instances, Items
from conrec.data.trust import counted_from
from conrec.data.user_log import UserLog, slices
from conrec.features.attribute_rates import AttributeRates
from conrec.parallel import declared
from conrec.sid.catalog import Catalog


@dataclass(frozen=True)
class LogView:
    """The whole log and the catalogue. A score asks for a cutoff and uses nothing from there on.

    In `users` mode (strong generalisation) what is known of the items is the whole log of the training users, and of
    a user to score the own events before the own cutoff (protocol).
    """

    items: Items
    events: Events
    """Sorted by time."""
    catalog: Catalog
    content: np.ndarray
    """float32 [n_items, D]: content embeddings before quantisation, rows of length 1."""
    fields: list[dict[str, str]]
    """Category and attributes of every item (`items.fields.fields_of`), and its traits (`items.traits`)."""
    train_users: np.ndarray | None = None
    """str [n] in `users` mode; None: everybody's log before the cutoff is known."""

    __getstate__ = declared

    @cached_property
    def attribute_rates(self) -> AttributeRates:
        return AttributeRates(self.fields, self.events, self.train_users)

    @cached_property
    def told(self) -> ExplicitFeedback:
        return ExplicitFeedback.of(self.events)


@dataclass(frozen=True)
class ExplicitFeedback:
    """Dislikes, positives (a user's first on each item) and neutral ratings, by user and then by time."""

    log: UserLog
    """These events in the order of time; places in the arrays below are its positions."""
    names: np.ndarray
    """str [users], sorted."""
    bounds: np.ndarray
    """int64 [users + 1]: user n's events are bounds[n] .. bounds[n + 1]."""
    users: np.ndarray
    """int64 [m], numbers of `names`."""
    items: np.ndarray
    """int32 [m]."""
    times: np.ndarray
    """datetime64[us] [m]."""
    signs: np.ndarray
    """int8 [m]: 1 disliked, -1 liked, 0 neither."""
    values: np.ndarray
    """float64 [m]: ratings, nan where there is none."""
    counted: np.ndarray
    """datetime64[us] [m]: from when on each counts for others (`data.trust`)."""

    @classmethod
    def of(cls, events: Events) -> ExplicitFeedback:
        """The explicit feedback of a log sorted by time."""
        positives = np.flatnonzero(events.is_positive)
        others = np.flatnonzero((events.is_dislike | events.rated) & ~events.is_positive)
        some = np.sort(np.append(others, positives[events.take(positives).first_of_item()]))
        kept = events.take(some)
        names, numbers = kept.owners()
        log = UserLog(replace(kept, names=names, numbers=numbers))
        own = log.events.take(log.order)
        signs = own.is_dislike.astype(np.int8) - own.is_positive.astype(np.int8)
        counted = counted_from(events)[some][log.order]
        return cls(log, names, log.bounds[:-1], own.numbers, own.items, own.times, signs, own.values, counted)

    def known(self, cutoff: np.datetime64, train_users: np.ndarray | None) -> np.ndarray:
        """int64: places of everybody's events that count before the cutoff, or of all events of `train_users`."""
        known = self.counted < cutoff if train_users is None else np.isin(self.names, train_users)[self.users]
        return np.flatnonzero(known)

    def histories(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """Places of the events of each instance's user before its cutoff, and whose instance it is; int64 [h] both."""
        numbers = self.log.number(instances.users)
        places = slices(self.log.bounds[numbers], self.log.position(numbers, instances.cutoffs))
        return places.values, places.owners
