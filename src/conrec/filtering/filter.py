"""The filter that stands behind a ranker: `CoNRecFilter.load(sets).filter(user, candidates)`.

It knows every user's predicted dislikes (a published set, memory-mapped), scores the candidates against them
(filtering.online) and drops those over the threshold, within the operator's manners. A new set is taken over without
a pause, and whatever is unknown passes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from conrec.errors import ConrecError
from conrec.filtering import sets as published
from conrec.filtering.ids import IdIndex
from conrec.filtering.manners import Manners, worst
from conrec.filtering.npy import map_npy
from conrec.filtering.online import ItemSide, UserSide, score, scores_alone
from conrec.filtering.retractions import Retractions, take_back
from conrec.filtering.store import Layout, MappedUsers, StoredUser


@dataclass(frozen=True)
class Why:
    """Why a candidate is over the threshold."""

    predicted_item: str
    """The predicted dislike that it is closest to."""
    predicted_title: str
    past_item: str | None
    """What the user disliked, from which that prediction follows most."""
    past_title: str | None
    prefix: tuple[int, ...]
    """The codes that the candidate's semantic ID begins with in common with the prediction's."""
    cosine: float


@dataclass(frozen=True)
class ItemView:
    """An item as a person reads it."""

    item_id: str
    title: str
    category: str | None
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PredictionView:
    """A predicted dislike, and the past dislike that it follows from most."""

    item: ItemView
    because: ItemView | None


@dataclass(frozen=True)
class UserView:
    """What the set knows of a user."""

    user: str
    dislikes: list[ItemView]
    """Newest first, without those taken back."""
    taken_back: list[ItemView]
    liked: list[ItemView]
    predicted: list[PredictionView]
    """Best first, without what followed from a dislike taken back."""


@dataclass
class Decision:
    """What becomes of one user's candidates."""

    kept: list[str]
    """In the order given."""
    dropped: list[str]
    """In the order given; empty in a dry run."""
    would_drop: list[str]
    """What goes but for a dry run; else the same as `dropped`."""
    scores: Sequence[float | None]
    """One a candidate, higher = rather disliked; None for an unknown item, user or an exempt user."""
    spared: int = 0
    """Over the threshold, but kept by the manners (`min_keep`, `max_drop_share`)."""
    unknown_user: bool = False
    unknown_items: int = 0
    exempt: bool = False
    dry_run: bool = False
    version: str = ""
    threshold: float | None = None
    """The one that applies to all candidates; None where each segment has its own, or there is none at all."""
    _explain: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def why(self) -> list[Why | None]:
        """One a candidate; None for those at or under the threshold. Worked out when it is asked for."""
        reasons: list[Why | None] = [None] * len(self.scores)
        if self._explain is not None:
            for position, why in self._explain():
                reasons[position] = why
        return reasons


class _OpenSet:
    """One version, opened."""

    def __init__(self, folder: Path) -> None:
        manifest = published.read_manifest(folder)
        published.check(folder, manifest)
        self.folder, self.manifest = folder, manifest
        self.cosine_weight = float(manifest.score["cosine_weight"])
        self.index = IdIndex(folder / "items")
        table = pq.read_table(folder / "items.parquet")
        self.titles, self.categories = (table[name].combine_chunks() for name in ("title", "category"))
        codes = table["codes"].combine_chunks()
        self.codes = codes.flatten().to_numpy().reshape(len(table), -1)
        self.side = ItemSide(
            map_npy(folder / "item_unit.npy", np.float32, 2),
            map_npy(folder / "item_vectors.npy", np.float32, 2),
            map_npy(folder / "item_biases.npy", np.float32, 1),
        )
        self.users = MappedUsers(folder / "users", Layout(**manifest.users["layout"]))
        self.threshold, self.item_thresholds = self._thresholds(folder / "calibration.json")

    def _thresholds(self, path: Path) -> tuple[float | None, np.ndarray | None]:
        """What was calibrated: one threshold for all, or one an item, float32 [n] (inf drops nothing)."""
        if not path.exists():
            return None, None
        calibration = json.loads(path.read_text(encoding="utf-8"))
        if calibration.get("segments") is None:
            return calibration["threshold"], None
        # A category without a threshold, or one that the calibration never met, was promised nothing: none goes.
        promised = {name: value for name, value in calibration["segments"]["thresholds"].items() if value is not None}
        of_item = [promised.get(category, np.inf) for category in self.categories.to_pylist()]
        return None, np.array(of_item, np.float32)

    def view(self, row: int) -> ItemView:
        return ItemView(
            self.index.id(row), self.titles[row].as_py(), self.categories[row].as_py(), tuple(self.codes[row].tolist())
        )


class CoNRecFilter:
    """A filter over a published set. Safe to use from several threads."""

    def __init__(self, sets: Path, version: str | None, manners: Manners, threshold: float | None) -> None:
        """Use `load`."""
        self.manners, self.threshold = manners, threshold
        self._sets, self._follows = sets, version is None
        self._retractions = Retractions(sets)
        self._reloading = threading.Lock()
        self._open = _OpenSet(sets / (version or self._named()))

    @classmethod
    def load(cls, folder: Path, manners: Manners | None = None, threshold: float | None = None) -> CoNRecFilter:
        """Of a folder of sets (the version in use, which `reload` follows) or of one version.

        `threshold` overrides the set's calibration. ConrecError where there is no whole set.
        """
        folder = Path(folder)
        if (folder / "manifest.json").is_file():
            return cls(folder.parent, folder.name, manners or Manners(), threshold)
        return cls(folder, None, manners or Manners(), threshold)

    @property
    def version(self) -> str:
        """The version that answers now."""
        return self._open.manifest.version

    def reload(self) -> bool:
        """Take over the version in use if it is another; whether it was. Requests under way end with the old one."""
        with self._reloading:
            if not self._follows or self._named() == self.version:
                return False
            self._open = _OpenSet(self._sets / self._named())
            return True

    def filter(
        self, user: str, candidates: Sequence[str], threshold: float | None = None, dry_run: bool | None = None
    ) -> Decision:
        """Decide about a user's ranked candidates (item ids, best first).

        `threshold` and `dry_run` override, for this call, what the filter was loaded with. Unknown users and items
        pass. TypeError for an id that is no string.
        """
        now = self._open
        dry = self.manners.dry_run if dry_run is None else dry_run
        passed = Decision(list(candidates), [], [], [None] * len(candidates), dry_run=dry, version=now.manifest.version)
        if user in self.manners.exempt:
            passed.exempt = True
            return passed
        stored = now.users.get(user)
        rows = now.index.rows(candidates)
        known = rows >= 0
        passed.unknown_items = len(rows) - int(np.count_nonzero(known))
        if stored is None:
            passed.unknown_user = True
            return passed
        side, because = self._side(now, user, stored)
        if passed.unknown_items:
            scores = np.full(len(rows), np.nan, np.float32)
            scores[known] = scores_alone(now.side, side, rows[known], now.cosine_weight)
            passed.scores = [None if value != value else value for value in scores.tolist()]
        else:
            scores = scores_alone(now.side, side, rows, now.cosine_weight)
            passed.scores = scores.tolist()
        limits: float | np.ndarray
        given = self.threshold if threshold is None else threshold
        if given is None and now.item_thresholds is not None:
            limits = now.item_thresholds[rows]
        else:
            passed.threshold = now.threshold if given is None else given
            if passed.threshold is None:
                return passed
            limits = np.float64(passed.threshold)
        excess = scores - limits
        over = np.flatnonzero(excess > 0)  # nan, an unknown item, is not
        if not len(over):
            return passed
        goes = worst(over, excess[over], self.manners.may_drop(len(rows)))
        passed.spared = len(over) - len(goes)
        leaves = np.zeros(len(rows), bool)
        leaves[goes] = True
        would_drop = list(compress(candidates, leaves.tolist()))
        passed.would_drop = would_drop
        if not dry:
            passed.kept = list(compress(candidates, (~leaves).tolist()))
            passed.dropped = would_drop
        passed._explain = lambda: _explain(now, stored, side, because, rows, over)
        return passed

    def filter_many(
        self,
        requests: Sequence[tuple[str, Sequence[str]]],
        threshold: float | None = None,
        dry_run: bool | None = None,
    ) -> list[Decision]:
        """Decide about several users' candidates, all by the same version."""
        return [self.filter(user, candidates, threshold, dry_run) for user, candidates in requests]

    def user(self, user: str) -> UserView | None:
        """What is known of a user, None where that is nothing."""
        now = self._open
        stored = now.users.get(user)
        if stored is None:
            return None
        gone = self._taken_back(now, user, stored)
        side, because = self._side(now, user, stored)
        dislikes = stored.dislikes
        return UserView(
            user,
            [now.view(row) for row in dislikes.tolist() if row not in gone],
            [now.view(row) for row in dislikes.tolist() if row in gone],
            [now.view(row) for row in stored.liked.tolist()],
            [
                PredictionView(now.view(row), now.view(int(dislikes[past])) if past >= 0 else None)
                for row, past in zip(side.predicted.tolist(), because.tolist())
            ],
        )

    def take_back(self, user: str, item: str) -> None:
        """Take back a dislike (ids): what is predicted because of it counts no more, from the next request on.

        The user's vector and bias of the score, and all else that was learned from it, follow with the next daily job.
        """
        take_back(self._sets, user, item)

    def _side(self, now: _OpenSet, user: str, stored: StoredUser) -> tuple[UserSide, np.ndarray]:
        """The user's side without what followed from dislikes taken back, and `because` of what is left."""
        side, because = stored.side, stored.because
        gone = self._taken_back(now, user, stored)
        if gone:
            positions = [n for n, row in enumerate(stored.dislikes.tolist()) if row in gone]
            stays = ~np.isin(because, positions)
            side, because = UserSide(side.predicted[stays], side.vector, side.bias), because[stays]
        return side, because

    def _taken_back(self, now: _OpenSet, user: str, stored: StoredUser) -> set[int]:
        """Rows of the dislikes taken back since the set was made."""
        items = self._retractions.of(user, now.manifest.retractions)
        return set(now.index.rows(items).tolist()) - {-1} if items else set()

    def _named(self) -> str:
        version = published.current(self._sets)
        if version is None:
            raise ConrecError(f"{self._sets}: no set was published here yet; run conrec refresh")
        return version


def _explain(
    now: _OpenSet, stored: StoredUser, side: UserSide, because: np.ndarray, rows: np.ndarray, over: np.ndarray
) -> list[tuple[int, Why]]:
    """Why each of the candidates at positions `over` is over its threshold; nothing without predictions."""
    if not len(side.predicted):
        return []
    scored = score(now.side, side, rows[over], now.cosine_weight)
    past_of = dict(zip(side.predicted.tolist(), because.tolist()))
    common = np.cumprod(now.codes[rows[over]] == now.codes[scored.nearest], axis=1).sum(1)
    found = []
    for position, near, cosine, length in zip(
        over.tolist(), scored.nearest.tolist(), scored.cosines.tolist(), common.tolist()
    ):
        past = past_of[near]
        past_row = int(stored.dislikes[past]) if past >= 0 else -1
        found.append(
            (
                position,
                Why(
                    now.index.id(near),
                    now.titles[near].as_py(),
                    now.index.id(past_row) if past_row >= 0 else None,
                    now.titles[past_row].as_py() if past_row >= 0 else None,
                    tuple(now.codes[near][:length].tolist()),
                    cosine,
                ),
            )
        )
    return found
