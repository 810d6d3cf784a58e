"""What is known of given users at one moment: their histories, without any future (the daily job asks for these)."""

from __future__ import annotations

import numpy as np

from conrec.data.instances import Events, Instances, Items, Ragged
from conrec.data.schema import POSITIVE_KINDS


class Histories:
    """The part of a log that makes histories, before a cutoff, sorted by user."""

    def __init__(self, items: Items, events: Events, cutoff: np.datetime64) -> None:
        self.cutoff = cutoff
        telling = np.isin(events.kinds, ("dislike", *POSITIVE_KINDS)) | events.rated
        telling[np.searchsorted(events.times, cutoff) :] = False
        some = events.take(telling)
        by_id = np.empty(len(items), np.int64)
        by_id[np.argsort(np.array(items.ids, object))] = np.arange(len(items))
        self.users, owner = some.owners()
        order = np.lexsort((by_id[some.items], some.times, owner))
        self._events, owner = some.take(order), owner[order]
        self._bounds = np.searchsorted(owner, np.arange(len(self.users) + 1))
        self._items = len(items)

    def of(self, users: np.ndarray, max_dislikes: int, max_positives: int) -> Instances:
        """One instance a user (str [n], each once, known here or not), in their order; as `data.windows` makes them.

        Lists are oldest first, of the same moment by item id; of several positives on an item the first counts.
        `next` is -1, the future is empty.
        """
        place = np.searchsorted(self.users, users)
        known = place < len(self.users)
        known[known] = self.users[place[known]] == users[known]
        starts, stops = (np.where(known, self._bounds[np.minimum(place + n, len(self.users))], 0) for n in (0, 1))
        lengths = stops - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        events = self._events.take(np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1]))
        owner = np.repeat(np.arange(len(users)), lengths)
        pair = owner * self._items + events.items
        disliked = events.kinds == "dislike"
        positive = np.isin(events.kinds, POSITIVE_KINDS)
        judged = disliked | (events.kinds == "purchase") | events.rated

        def lists(mask: np.ndarray, newest: int | None) -> tuple[Ragged, Ragged, np.ndarray]:
            """Items and times under the mask, each item once and at most so many a user; and how many there were."""
            rows = np.flatnonzero(mask)
            rows = rows[np.sort(np.unique(pair[rows], return_index=True)[1])]
            counts = np.bincount(owner[rows], minlength=len(users))
            if newest is not None:
                rows = rows[np.cumsum(counts)[owner[rows]] - np.arange(len(rows)) <= newest]
            kept = np.bincount(owner[rows], minlength=len(users))
            offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
            return Ragged(events.items[rows], offsets), Ragged(events.times[rows], offsets), counts

        dislikes, dislike_times, n_dislikes = lists(disliked, max_dislikes)
        positives, positive_times, n_positives = lists(positive, max_positives)
        nothing = Ragged(np.zeros(0, np.int32), np.zeros(len(users) + 1, np.int64))
        return Instances(
            ids=np.arange(len(users)),
            split=np.full(len(users), "live"),
            users=users,
            cutoffs=np.full(len(users), self.cutoff, "datetime64[us]"),
            n_dislikes=n_dislikes,
            n_positives=n_positives,
            dislikes=dislikes,
            dislike_times=dislike_times,
            positives=positives,
            positive_times=positive_times,
            seen=lists(judged, None)[0],
            next=np.full(len(users), -1, np.int32),
            future=nothing,
            future_positives=nothing,
        )
