"""How much more a new snapshot would hide than the one in use: no night may change that unseen.

A ring of fake users who dislike one kind of thing hides that kind from others, and a wrong day of log may hide
anything. So the share of candidates over their threshold is compared, for users whom both snapshots know and items
shown lately: of all items, and of each category.
"""

from pathlib import Path

import numpy as np

from conrec.filter.filter import OpenSnapshot
from conrec.filter.thresholds import NO_CATEGORY, Thresholds
from conrec.score.factors import served_scores

SAMPLE = 1_000
"""Users, and items, that are looked at."""
DAYS = np.timedelta64(14, "D")
"""Items that nobody met in so many last days of the log are left out."""
LEAST = 0.01
"""Smaller shares count as this: twice next to nothing is next to nothing."""
FEWEST = 5
"""Items of a category at least."""


def hides_more(
    before: Path, most: float, same_scale: bool, after: Path, users: np.ndarray, items: np.ndarray
) -> str | None:
    """Where the snapshot `after` hides more than `most` times as much as `before`; None: nowhere.

    before, after: their folders; users, items: ids, str [n]. same_scale: both score alike, so that both are measured
    by the new calibration: a budget that was raised on purpose is no alarm.
    """
    old, new, rng = OpenSnapshot(before), OpenSnapshot(after), np.random.default_rng(0)
    users, items = (rng.permutation(ids)[:SAMPLE] for ids in (users, items))
    rows = np.stack([now.index.rows(items.tolist()) for now in (old, new)])
    rows = rows[:, (rows >= 0).all(0)]
    scales = [
        (Thresholds(after.calibration, old.categories) if same_scale else before, after)
        for surface, after in new.thresholds.items()
        for before in [old.thresholds.get(surface, old.thresholds[""])]
    ]
    over = []
    for user in users.tolist():
        known = [one for now in (old, new) if (one := now.users.get(user)) and one.has_record]
        if len(known) == 2:
            hidden = []  # which items score over their thresholds, whatever the limits of a list
            for n, (now, stored, at) in enumerate(zip((old, new), known, rows)):
                exact = served_scores(now.factors, stored.factors, at).astype(np.float64)
                hidden.append([exact > pair[n].of(stored.activity, at) for pair in scales])
            over.append(hidden)
    shares = np.mean(over, axis=0) if over else np.zeros((2, len(scales), rows.shape[1]))
    category = np.array([new.categories[row].as_py() or NO_CATEGORY for row in rows[1].tolist()], str)
    found = [(0.0, "")]
    for name in (None, *np.unique(category).tolist()):
        some = np.ones(len(category), bool) if name is None else category == name
        if some.sum() >= FEWEST:
            what = "all items" if name is None else f"the category {name!r}"
            for surface, hid, hides in zip(new.thresholds, *shares[:, :, some].mean(2).tolist()):
                on = surface and f" on {surface}"
                found.append((hides / max(hid, LEAST), f"of {what} it would hide {hides:.1%}{on}, not {hid:.1%}"))
    worst, told = max(found)
    return told if worst > most else None
