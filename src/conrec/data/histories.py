"""Instances of any user at any cutoff: the history before it, and what came within the horizon after it."""

import numpy as np

from conrec.data.instances import Events, Instances, Ragged
from conrec.data.user_log import UserLog

NO_HORIZON = np.timedelta64(0, "us")


class Histories:
    """A log, indexed for instances."""

    def __init__(self, events: Events) -> None:
        """events: the cleaned log (no user dislikes an item twice), sorted by time, user and item id."""
        positives, consumed = events.take(events.is_positive), events.take(events.is_consumed)
        self._dislikes, self._positives = UserLog(events.take(events.is_dislike)), UserLog(positives)
        self._first_positives = UserLog(positives.take(positives.first_of_item()))
        self._consumed = UserLog(consumed.take(consumed.first_of_item()))

    def users(self, cutoff: np.datetime64) -> np.ndarray:
        """str [u], ascending: the users with a dislike before the cutoff."""
        dislikes = self._dislikes.events
        return dislikes.names[np.unique(dislikes.numbers[dislikes.until(cutoff)])]

    def counts(self, users: np.ndarray, cutoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64 [b] each: how many items each user disliked, and liked, before the cutoff."""
        numbers = self._dislikes.number(users)
        dislikes, likes = (
            log.position(numbers, cutoffs) - log.bounds[numbers] for log in (self._dislikes, self._first_positives)
        )
        return dislikes, likes

    def instances(
        self,
        users: np.ndarray,
        cutoffs: np.ndarray,
        max_dislikes: int,
        max_positives: int,
        *,
        horizon: np.timedelta64 = NO_HORIZON,
        split: str | np.ndarray = "live",
    ) -> Instances:
        """One instance for each user, str [b], and cutoff, datetime64[us] [b], in their order; strangers have none.

        Lists are oldest first, of the same moment by item id; of several positives on an item the first counts. The
        future is what came from the cutoff on, up to the horizon; `next` is the first dislike of it, or -1.
        """
        numbers = self._dislikes.number(users)

        def history(log: UserLog, newest: int | None = None) -> tuple[Ragged, Ragged, np.ndarray]:
            """Items and times before the cutoff, at most so many, and how many there were."""
            first, stop = log.bounds[numbers], log.position(numbers, cutoffs)
            kept = first if newest is None else np.maximum(first, stop - newest)
            places = log.lists(kept, stop)
            items, times = log.events.items[places.values], log.events.times[places.values]
            return places.of_values(items), places.of_values(times), stop - first

        def future(log: UserLog) -> Ragged:
            places = log.lists(log.position(numbers, cutoffs), log.position(numbers, cutoffs + horizon))
            return places.of_values(log.events.items[places.values])

        dislikes, dislike_times, n_dislikes = history(self._dislikes, max_dislikes)
        positives, positive_times, n_positives = history(self._first_positives, max_positives)
        disliked = future(self._dislikes)
        following = np.full(len(users), -1, np.int32)
        some = np.flatnonzero(disliked.lengths)
        following[some] = disliked.values[disliked.offsets[some]]
        return Instances(
            ids=np.arange(len(users)),
            split=np.full(len(users), split) if isinstance(split, str) else split,
            users=users,
            cutoffs=cutoffs,
            n_dislikes=n_dislikes,
            n_positives=n_positives,
            dislikes=dislikes,
            dislike_times=dislike_times,
            positives=positives,
            positive_times=positive_times,
            seen=history(self._consumed)[0],
            next=following,
            future=disliked,
            future_positives=without_repeats(future(self._positives)),
        )


def without_repeats(lists: Ragged) -> Ragged:
    """Lists of item rows with each item only where it comes first."""
    keys = lists.owners * (1 + int(lists.values.max(initial=0))) + lists.values
    keep = np.zeros(len(keys), bool)
    keep[np.unique(keys, return_index=True)[1]] = True
    return lists.where(keep)
