"""Figure 2a: how well does a ground truth cover what a user really dislikes?

Three ground truths for an instance: the next dislike, all of the next seven days, and these with their Swing
neighbours. Covered is a user's strongest interest, or one of the four strongest, when an item of the ground truth
belongs to it. On the simulator the interests are the user's true rules, strongest first. On real data they are, as in
the paper, categories, by how many of the user's dislikes outside the window they hold.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from conrec.data.instances import Instances, read_events, read_items
from conrec.items.fields import SEPARATOR, fields_of
from conrec.simulate.catalogue import matches
from conrec.studies.cells import Cell, Measured
from conrec.studies.models import Models, Variant, inputs
from conrec.studies.study import StudyContext
from conrec.train.rewards import ground_truth

NEXT, WEEK, SWING = "next dislike", "7 days", "7 days + Swing"
TOPS = {"top-1": 1, "top-4": 4}


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """One a ground truth; nothing is trained, so seeds only matter where they bring other users."""
    found = []
    for truth in (NEXT, WEEK, SWING):
        depends = inputs("compress", own) | {"truth": truth, "neighbours": own.recipe.utilize.swing_neighbours}
        run = partial(_measured, context.models, own, truth)
        found.append(Cell(own.dataset.name, truth, own.fold, depends, run, own.fold))
    return found


def _measured(models: Models, own: Variant, truth: str) -> Measured:
    log = models.log(own)
    prepared, test = log.prepared, log.instances.of_split("test")
    sets = truths(test, log.neighbours[:, : own.recipe.utilize.swing_neighbours])[truth]
    if (prepared / "truth_interests.parquet").exists():
        rules = true_interests(prepared)
        interests = [rules.get(user, []) for user in test.users.tolist()]
    else:
        interests = category_interests(prepared, test, own.recipe.split.horizon_days)
    return Measured(test.ids, test.users, coverage(sets, interests))


def truths(test: Instances, neighbours: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Item rows of each instance's three ground truths; neighbours int [items, n], -1 for none."""
    with_neighbours = ground_truth(test.future, neighbours)
    return {
        NEXT: [np.array([row]) for row in test.next],
        WEEK: [test.future[n] for n in range(len(test))],
        SWING: [with_neighbours[n] for n in range(len(test))],
    }


def coverage(sets: Sequence[np.ndarray], interests: Sequence[Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """`top-1`, `top-4` -> float32 [B]: 1 where an item of the set belongs to one of the strongest interests.

    NaN where a user has no interest that is known.
    """
    found = {name: np.full(len(sets), np.nan, np.float32) for name in TOPS}
    for n, (rows, own) in enumerate(zip(sets, interests)):
        for name, top in TOPS.items():
            if len(own):
                found[name][n] = any(bool(matching[rows].any()) for matching in own[:top])
    return found


def true_interests(prepared: Path) -> dict[str, list[np.ndarray]]:
    """The simulator's rules (scope, attribute, value), and which items each matches."""
    fields = fields_of(pq.read_table(prepared / "truth_items.parquet"))
    cache: dict[tuple[str, str, str], np.ndarray] = {}
    found: dict[str, list[np.ndarray]] = {}
    for row in pq.read_table(prepared / "truth_interests.parquet").to_pylist():
        rule = row["scope"], row["attribute"], row["value"]
        if rule not in cache:
            cache[rule] = np.array([matches(item, *rule) for item in fields], bool)
        found.setdefault(row["user_id"], []).append(cache[rule])
    return found


def category_interests(prepared: Path, test: Instances, horizon_days: int) -> list[list[np.ndarray]]:
    """Categories of each instance's user by dislikes outside the window, most frequent first.

    An item of several categories (`Comedy|Drama`) belongs to each. Equal counts are ordered by name.
    """
    items = read_items(prepared)
    parts = [sorted({p for p in SEPARATOR.split(category or "") if p}) for category in items.categories]
    members = {name: np.array([name in own for own in parts]) for name in sorted({p for own in parts for p in own})}
    events = read_events(prepared, items)
    disliked = events.take(events.is_dislike)
    order = np.argsort(disliked.users, kind="stable")
    users = disliked.users[order]
    horizon = np.timedelta64(horizon_days, "D")
    found = []
    for user, cutoff in zip(test.users, test.cutoffs):
        own = order[np.searchsorted(users, user) : np.searchsorted(users, user, side="right")]
        outside = own[(disliked.times[own] < cutoff) | (disliked.times[own] >= cutoff + horizon)]
        counts = Counter(name for row in disliked.items[outside] for name in parts[row])
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        found.append([members[name] for name in ranked[: max(TOPS.values())]])
    return found
