"""A user as a snapshot knows them, with what they disliked and took back since: at once, and as the next daily job.

The user's side of the score is computed anew from the user's whole history (`score.user_side`), once an entry: what was
found is kept until the next one. The predicted dislikes wait for the next job, less those that follow from a dislike
taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from conrec.data.schema import OTHER_REASONS, REASONS
from conrec.filter.feedback import Entry, Feedback, in_force
from conrec.filter.id_index import among
from conrec.filter.mutes import Mute
from conrec.filter.user_store import StoredUser
from conrec.score.factors import UserFactors
from conrec.score.user_history import EVENT, MARKED, SHOWN, History, of_lists

if TYPE_CHECKING:
    from conrec.filter.filter import OpenSnapshot

REMEMBERED = 5_000
"""Users whose update is kept in memory, some 4 kB each."""
BYTES = np.dtype((np.void, EVENT.itemsize))
"""Of an event as a whole: np.concatenate would compare field by field, which takes longer than all the rest."""
NEWEST = 20
"""Dislikes that are cited as reasons."""


class UserNow(NamedTuple):
    """What is known of a user."""

    history: History
    factors: UserFactors | None
    """None where there is nothing to score by: of the user's log no dislike is left."""
    activity: int
    predicted: np.ndarray
    """int [p], rows of the predicted dislikes, best first, without those that follow from a dislike taken back."""
    strangers: dict[str, int]
    """Rejected items that the snapshot does not know, each with its time."""

    @property
    def dislikes(self) -> np.ndarray:
        """int [m], rows of the newest dislikes, oldest first."""
        return self.history.told(1)[-NEWEST:]


def user_now(now: OpenSnapshot, feedback: Feedback, user: str) -> tuple[UserNow, list[Mute]]:
    """What is known of a user, of somebody who never said anything nothing, and the mutes."""
    last, mutes = feedback.news(user, now.manifest.feedback)
    if last is None:
        return _as_stored(now.users.get(user)), mutes
    if (kept := now.updated.get(user)) is None or kept[0] != last:
        if len(now.updated) >= REMEMBERED:
            now.updated.clear()
        kept = now.updated[user] = last, updated(now, now.users.get(user), feedback.of(user))
    return kept[1], mutes


def _as_stored(stored: StoredUser | None) -> UserNow:
    if stored is None or not stored.has_record:
        history = of_lists([], []) if stored is None else stored.history
        return UserNow(history, None, len(history.told(-1)), np.zeros(0, np.int32), {})
    return UserNow(stored.history, stored.factors, stored.activity, stored.predicted, {})


def updated(now: OpenSnapshot, stored: StoredUser | None, entries: list[Entry]) -> UserNow:
    """With all entries of the user; only items with one that is not worked in yet are looked at."""
    before = _as_stored(stored)
    new = {entry.item for entry in entries if entry.position > now.manifest.feedback}
    entries = [entry for entry in entries if entry.item in new]
    place = {item: n for n, item in enumerate(new)}
    rows = now.index.rows(list(place))
    events = before.history.events
    concerned = np.flatnonzero((events["sign"] > 0) & among(events["item"].astype(np.int64), rows.astype(np.int32)))
    place_of_row = {row: n for n, row in enumerate(rows.tolist()) if row >= 0}
    said = np.zeros(len(entries), EVENT)
    said["item"] = [rows[place[entry.item]] for entry in entries]
    said["time"], said["value"] = [entry.time for entry in entries], np.nan
    said["sign"] = [MARKED if entry.reason in OTHER_REASONS else 1 for entry in entries]
    said["reason"] = [-1 if entry.reason is None else REASONS.index(entry.reason) for entry in entries]
    own = np.concatenate([events[concerned].view(BYTES), said.view(BYTES)]).view(EVENT)
    counts = in_force(
        np.array([place_of_row[row] for row in events["item"][concerned].tolist()] + [place[e.item] for e in entries]),
        own["sign"] == MARKED,
        np.array([False] * len(concerned) + [entry.kind == "undo" for entry in entries]),
        own["time"],
    )
    is_new = np.arange(len(own)) >= len(concerned)
    gone, come = own[~is_new & ~counts], own[is_new & counts & (own["item"] >= 0)]
    kept = np.delete(events.view(BYTES), concerned[~counts[: len(concerned)]])
    left = np.concatenate([kept, come.view(BYTES)]).view(EVENT)
    history = History(
        left[np.argsort(left["time"], kind="stable")],
        _shown(before.history.shown, come["item"][come["sign"] == 1], gone["item"][gone["sign"] == 1]),
    )
    told = zip(entries, said["item"], counts[is_new])
    strangers = {entry.item: int(entry.time or 0) for entry, row, on in told if on and row < 0}
    changed = sum(np.count_nonzero(h.events["sign"] == 1) * w for h, w in ((history, 1), (before.history, -1)))
    taken_back = {*gone["item"][gone["sign"] == 1].tolist()} - {*history.told(1).tolist()}
    predicted, factors = before.predicted, before.factors
    if taken_back:
        follows = now.most_alike(predicted, before.dislikes)
        predicted = predicted[np.array([past not in taken_back for past in follows], bool)]
    if now.user_side is not None:  # without a dislike the daily job would not serve this user either
        factors = UserFactors(*now.user_side.factors(history)) if len(history.told(1)) else None
    return UserNow(history, factors, before.activity + int(changed), predicted, strangers)


def _shown(shown: np.ndarray, come: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """SHOWN with dislikes that came and went: each tells that its item was shown, where no exposure does."""
    rows, new, shown = [*come.tolist(), *gone.tolist()], dict[int, int](), shown.copy()
    for n, (row, at) in enumerate(zip(rows, np.searchsorted(shown["item"], rows).tolist())):
        change = -1 if n < len(come) else 1
        if at < len(shown) and shown["item"][at] == row:
            shown["count"][at] += change if shown["count"][at] <= 0 else 0
        elif change < 0 or row in new:
            new[row] = new.get(row, 0) + change
    added = np.array(sorted(new.items()), SHOWN)
    return np.insert(shown, np.searchsorted(shown["item"], added["item"]), added)
