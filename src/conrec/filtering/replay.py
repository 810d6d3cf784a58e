"""The filter replay: what a filter would have done to what the platform really showed (protocol).

For each cut-off and each user with a dislike before it: the items shown within the horizon, labelled by what the
user then did. A filter scores them (higher = more surely disliked) and drops what exceeds a threshold. What counts
is how many dislikes that avoids and how many likes it costs.

Nothing of the window is used to choose the users: a user who disliked nothing in it is in the replay too, which is
why it needs predictions for more (user, cut-off) pairs than the hit metrics do (`Replay.instances`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conrec.config import SplitConfig
from conrec.data.by_user import ByUser
from conrec.data.instances import Events, Instances, Items, Ragged, read_events
from conrec.data.schema import POSITIVE_KINDS
from conrec.data.split import Split
from conrec.filtering.threshold import choose_threshold

DISLIKED, NEUTRAL, LIKED = 1, 0, -1
BUDGETS = (0.01, 0.02, 0.05, 0.10)
"""Shares of the likes that may be lost, at which the dislikes avoided are reported."""
HARD_HIT = 0.01
"""So large a share of the lists is asked for the least that they lose."""
HARDEST = 5
"""So many users are named."""


@dataclass(frozen=True)
class Replay:
    """What was shown after each cut-off, and what became of it."""

    instances: Instances
    """One per (user, cut-off); `next` is -1 where the user disliked nothing in the window."""
    shown: Ragged
    """Item rows in the order of showing, each item once."""
    labels: Ragged
    """int8, aligned with `shown`: DISLIKED, NEUTRAL or LIKED."""

    def __len__(self) -> int:
        return len(self.instances)


def read_replay(
    prepared: Path,
    items: Items,
    instances: Instances,
    split: str,
    config: SplitConfig,
    events: Events | None = None,
) -> Replay:
    """The replay of one held-out split of a `prepare` folder.

    Split by time: every user with a dislike before a weekly cut and something shown after it. Split by users: the
    (user, cut-off) pairs of the held-out instances, which is all there is. `events` saves reading the log again.
    """
    events = read_events(prepared, items) if events is None else events
    horizon = np.timedelta64(config.horizon_days, "D")
    if config.mode == "time" and config.cuts == "rolling":
        cuts = Split.read(prepared).cuts(split, horizon)
        pairs = [(user, cut) for cut in cuts for user in users_to_replay(events, cut, horizon)]
    else:
        held_out = instances.of_split(split)
        held_out = held_out.take(held_out.n_dislikes > 0)
        pairs = list(zip(held_out.users.tolist(), held_out.cuts))
    return replay_pairs(events, pairs, split, horizon, config.max_dislikes, config.max_positives)


def users_to_replay(events: Events, cut: np.datetime64, horizon: np.timedelta64) -> list[str]:
    """Users with a dislike before `cut` and any event from it to the horizon, sorted."""
    start, stop = np.searchsorted(events.times, [cut, cut + horizon])
    names, owner = events.owners()
    disliked = owner[:start][events.kinds[:start] == "dislike"]
    return names[np.intersect1d(disliked, owner[start:stop])].tolist()


def replay_pairs(
    events: Events,
    pairs: list[tuple[str, np.datetime64]],
    split: str,
    horizon: np.timedelta64,
    max_dislikes: int,
    max_positives: int,
) -> Replay:
    """History before, and showings after, each (user, cut-off); pairs with nothing shown are left out.

    Shown is what was exposed or reacted to; in a log without exposures only what drew a clear sign (protocol). An
    item that was both liked and disliked within the window counts as disliked.
    """
    log = ByUser(events)
    signs = np.where(events.kinds == "dislike", DISLIKED, NEUTRAL)
    signs[np.isin(events.kinds, POSITIVE_KINDS)] = LIKED
    judged = events.rated | (signs == DISLIKED) | (events.kinds == "purchase")
    with_exposures = events.has_exposures

    found: list[dict[str, Any]] = []
    for user, cut in pairs:
        past, window = log.around(user, cut, horizon)
        shown, labels = _labelled(events.items[window], signs[window], with_exposures)
        if not len(shown):
            continue
        disliked, liked = past[signs[past] == DISLIKED], past[signs[past] == LIKED]
        liked = liked[np.sort(np.unique(events.items[liked], return_index=True)[1])]
        future = events.items[window[signs[window] == DISLIKED]]
        found.append(
            {
                "users": user,
                "cuts": cut,
                "n_dislikes": len(disliked),
                "n_positives": len(liked),
                "dislikes": events.items[disliked[-max_dislikes:]],
                "dislike_times": events.times[disliked[-max_dislikes:]],
                "positives": events.items[liked[-max_positives:]],
                "positive_times": events.times[liked[-max_positives:]],
                "seen": np.unique(events.items[past[judged[past]]]),
                "next": future[0] if len(future) else -1,
                "future": future,
                "future_positives": events.items[window[signs[window] == LIKED]],
                "shown": shown,
                "labels": labels,
            }
        )

    def column(name: str, dtype: Any) -> np.ndarray:
        return np.array([one[name] for one in found], dtype)

    def lists(name: str, dtype: Any = np.int32) -> Ragged:
        return Ragged.of([one[name] for one in found], dtype)

    return Replay(
        Instances(
            ids=np.arange(len(found)),
            split=np.full(len(found), split),
            users=column("users", str),
            cuts=column("cuts", "datetime64[us]"),
            n_dislikes=column("n_dislikes", np.int64),
            n_positives=column("n_positives", np.int64),
            dislikes=lists("dislikes"),
            dislike_times=lists("dislike_times", "datetime64[us]"),
            positives=lists("positives"),
            positive_times=lists("positive_times", "datetime64[us]"),
            seen=lists("seen"),
            next=column("next", np.int32),
            future=lists("future"),
            future_positives=lists("future_positives"),
        ),
        shown=lists("shown"),
        labels=lists("labels", np.int8),
    )


def without_prediction(replay: Replay, instances: Instances) -> Instances:
    """Of the replay's instances those whose (user, cut-off) is not among `instances`: still to be predicted for."""
    there = set(zip(instances.users.tolist(), instances.cuts.tolist()))
    pairs = zip(replay.instances.users.tolist(), replay.instances.cuts.tolist())
    return replay.instances.take(np.array([pair not in there for pair in pairs], bool))


def measure(scores: np.ndarray, labels: np.ndarray, threshold: float | None = None) -> dict[str, Any]:
    """What a filter with these scores does to these showings.

    scores: float [n], higher = rather drop; labels: int [n]. Returns, ready for JSON:

    - `events`, `dislikes`, `likes`, `rate_before` (negative-feedback rate: dislikes / everything shown),
    - `auc`: dislikes against likes, a tie counts half,
    - `at`: for each share of likes lost the share of dislikes avoided, threshold set on these very events,
    - `curve`: lists `threshold`, `dislikes_avoided`, `likes_lost`, `dropped` (share of everything), `rate_after`,
    - `chosen`: the same at a threshold that was chosen beforehand, with `rate_before`.

    Without any dislike or any like there is nothing to trade: `auc`, `curve` and `chosen` are None and `at` is empty.
    """
    scores = np.asarray(scores, np.float64)
    disliked, liked = np.sort(scores[labels == DISLIKED]), np.sort(scores[labels == LIKED])
    everything = np.sort(scores)
    result: dict[str, Any] = {
        "events": len(everything),
        "dislikes": len(disliked),
        "likes": len(liked),
        "rate_before": len(disliked) / len(everything) if len(everything) else None,
        "auc": None,
        "at": {},
        "curve": None,
        "chosen": None,
    }
    if not len(disliked) or not len(liked):
        return result

    def at(value: float) -> dict[str, float | None]:
        gone = [len(x) - int(np.searchsorted(x, value, side="right")) for x in (disliked, liked, everything)]
        left = len(everything) - gone[2]
        return {
            "threshold": float(value),
            "dislikes_avoided": gone[0] / len(disliked),
            "likes_lost": gone[1] / len(liked),
            "dropped": gone[2] / len(everything),
            "rate_after": (len(disliked) - gone[0]) / left if left else None,
        }

    # The whole range evenly, the first tenth of the likes finely: that is where a filter is used.
    shares = np.concatenate([np.linspace(0, 1, 61), np.linspace(0.9, 1, 51)])
    sweep = np.concatenate([np.quantile(liked, shares), np.quantile(everything, shares), [everything[0] - 1]])
    curve = [at(value) for value in np.unique(sweep)]
    from sklearn.metrics import roc_auc_score  # it takes a second to import, and the service reads replays, too

    signed = labels != NEUTRAL
    result["auc"] = float(roc_auc_score(labels[signed] == DISLIKED, scores[signed]))
    result["at"] = {f"{share:g}": at(choose_threshold(liked, share))["dislikes_avoided"] for share in BUDGETS}
    result["curve"] = {key: [point[key] for point in curve] for key in curve[0]}
    if threshold is not None:
        result["chosen"] = {"rate_before": result["rate_before"], **at(threshold)}
    return result


def suppression(scores: np.ndarray, replay: Replay, threshold: float | None) -> dict[str, Any] | None:
    """Who loses most: a filter that is cheap on average may empty a few people's lists.

    scores: float [n], of everything shown. Of the lists (a user's showings after one cut): how many lose anything,
    more than half, and everything; the largest share of `HARD_HIT` of the lists; and the `HARDEST` users, whose lists
    together lose the largest share. None without a threshold or without showings.
    """
    if threshold is None or not len(scores):
        return None
    gone = scores > threshold
    owner = replay.shown.owners
    lengths, lost = replay.shown.lengths, np.bincount(owner, gone, len(replay))
    share = lost / np.maximum(lengths, 1)
    names, user = np.unique(replay.instances.users, return_inverse=True)
    liked = replay.labels.values == LIKED
    counts = {
        "shown": np.bincount(user, lengths),
        "dropped": np.bincount(user, lost),
        "likes": np.bincount(user[owner], liked, len(names)),
        "likes_lost": np.bincount(user[owner], liked & gone, len(names)),
    }
    of_user = counts["dropped"] / np.maximum(counts["shown"], 1)
    hardest = np.lexsort((names, -counts["dropped"], -of_user))[:HARDEST]
    return {
        "lists": len(replay),
        "lists_touched": int((lost > 0).sum()),
        "lists_halved": int((share > 0.5).sum()),
        "lists_emptied": int((lost == lengths).sum()),
        "hard_hit": HARD_HIT,
        "hard_hit_lose": float(np.quantile(share, 1 - HARD_HIT)),
        "users": [
            {
                "user": str(names[n]),
                "share": float(of_user[n]),
                **{name: int(column[n]) for name, column in counts.items()},
            }
            for n in hardest
            if counts["dropped"][n]
        ],
    }


def _labelled(items: np.ndarray, signs: np.ndarray, with_exposures: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each item once, in order of its first event, with the sign that wins: dislike over like over nothing."""
    rows, first, group = np.unique(items, return_index=True, return_inverse=True)
    label = np.full(len(rows), NEUTRAL)
    label[group[signs == LIKED]] = LIKED
    label[group[signs == DISLIKED]] = DISLIKED
    order = np.argsort(first)
    rows, label = rows[order], label[order]
    return (rows, label) if with_exposures else (rows[label != NEUTRAL], label[label != NEUTRAL])
