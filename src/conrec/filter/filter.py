"""The filter that stands behind a ranker: `CoNRecFilter.load(snapshots).filter(user, candidates)`.

It knows every user's predicted dislikes (a published snapshot, memory-mapped), scores the candidates against them
(`score.factors`) and drops those over the threshold, within the operator's guardrails. A new snapshot is taken over
without a pause, and whatever is unknown passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.errors import ConrecError
from conrec.files import read_json
from conrec.filter import snapshot as published
from conrec.filter.contributions import Why, explain
from conrec.filter.guardrails import Guardrails, furthest_over
from conrec.filter.id_index import IdIndex
from conrec.filter.npy import map_npy, resident
from conrec.filter.stores import UserStore, open_users
from conrec.filter.thresholds import Thresholds
from conrec.filter.undo import Undos, undo_dislike
from conrec.filter.user_store import StoredUser
from conrec.progress import say
from conrec.score.factors import ItemFactors, UserFactors, scores_alone, value_record


@dataclass(frozen=True)
class ItemView:
    """An item as a person reads it."""

    item_id: str
    title: str
    category: str | None
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PredictionView:
    """A predicted dislike, and the past dislike that it follows from most (None: from none of them)."""

    item: ItemView
    past_dislike: ItemView | None


@dataclass(frozen=True)
class UserView:
    """What the snapshot knows of a user."""

    user: str
    dislikes: list[ItemView]
    """Newest first, without those taken back."""
    undone: list[ItemView]
    liked: list[ItemView]
    predicted: list[PredictionView]
    """Best first, without what followed from a dislike taken back."""


@dataclass
class Decision:
    """Which of one user's candidates are kept, and why the others are not."""

    kept: list[str]
    """In the order given."""
    dropped: list[str]
    """In the order given; empty in a dry run."""
    would_drop: list[str]
    """What would go without a dry run; else the same as `dropped`."""
    scores: Sequence[float | None]
    """One a candidate, higher = rather disliked; None for an unknown item, an unknown user, an exempt user."""
    version: str
    """The snapshot that decided."""
    threshold: float | None = None
    """The one for all candidates; None where each category has its own, or nothing may go at all."""
    kept_by_limit: int = 0
    """Over the threshold, but kept by the guardrails (`min_keep`, `max_drop_share`)."""
    unknown_user: bool = False
    unknown_items: int = 0
    exempt: bool = False
    dry_run: bool = False
    explain: Callable[[], Iterator[tuple[int, Why]]] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def why(self) -> list[Why | None]:
        """One a candidate, None for those not over the threshold; worked out when it is asked for."""
        reasons: list[Why | None] = [None] * len(self.scores)
        for position, why in self.explain() if self.explain else ():
            reasons[position] = why
        return reasons


class OpenSnapshot:
    """One version, opened; the service shows its items, too."""

    def __init__(self, folder: Path) -> None:
        """ConrecError where anything is missing, damaged or does not fit together."""
        self.manifest = published.read_manifest(folder)
        try:
            published.check(folder, self.manifest)
            self.cosine_weight = float(self.manifest.score["cosine_weight"])
            item_features, latent = self.manifest.score.get("widths", (0, 0))
            self.widths: tuple[int, int] = item_features, latent
            self.index = IdIndex(folder / "items", in_memory=True)
            # Not `read_table` and `to_numpy`: they import pandas, which takes longer than all the rest of opening.
            with pq.ParquetFile(folder / "items.parquet") as file:
                columns = file.read()
            self.titles, self.categories = columns["title"].combine_chunks(), columns["category"].combine_chunks()
            self.codes = np.from_dlpack(columns["codes"].combine_chunks().flatten()).reshape(len(columns), -1)
            self.calibration = read_json(folder / "calibration.json") or None
            self.thresholds = Thresholds(self.calibration, self.categories)
            self.users: UserStore = open_users(folder, self.manifest)
            self.value_names: list[str] = []
            embedding = self.users.layout.dimensions - sum(self.widths)
            self.values = np.zeros(len(columns), value_record(embedding, 0))
            if "values/names.parquet" in self.manifest.files:
                with pq.ParquetFile(folder / "values" / "names.parquet") as file:
                    self.value_names = file.read()["name"].to_pylist()
                self.values = map_npy(folder / "values" / "records.npy", value_record(embedding), 1)
        except (OSError, AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ConrecError(f"{folder}: not a snapshot ({' '.join(str(error).split())}); write it again") from error
        table = map_npy(folder / "item_factors.npy", np.float32, 2)
        if {len(self.index), len(columns), len(table), len(self.values)} != {self.manifest.items}:
            raise ConrecError(f"{folder}: its parts do not fit together; write it again")
        try:
            self.factors = ItemFactors.of_table(resident(table), self.users.layout.dimensions)
        except ValueError as error:
            raise ConrecError(f"{folder}: item_factors.npy does not fit its users ({error}); write it again") from None
        # So that the first request finds the look-up compiled.
        self.index.rows([""])
        self.index.row("")

    def view(self, row: int) -> ItemView:
        """An item as a person reads it."""
        category = self.categories[row].as_py()
        return ItemView(self.index.id(row), self.title(row), category, tuple(self.codes[row].tolist()))

    def title(self, row: int) -> str:
        """An item's title; empty where it has none."""
        return self.titles[row].as_py() or ""


@dataclass(frozen=True)
class AfterUndo:
    """A user as a snapshot knows them, less the dislikes taken back since."""

    stored: StoredUser
    factors: UserFactors
    """Without the predictions that followed from dislikes taken back."""
    stays: np.ndarray | None
    """bool, one a stored prediction: whether it still counts; None: all do."""
    undone: set[int]
    """Rows of dislikes."""

    @property
    def reason_index(self) -> np.ndarray:
        """int [p], aligned with `factors.predicted`: position in the user's dislikes of what it follows from, or -1."""
        return self.stored.reason_index if self.stays is None else self.stored.reason_index[self.stays]

    @property
    def dislikes(self) -> np.ndarray:
        """int [m], rows, newest first, without those taken back."""
        rows = self.stored.dislikes
        return rows[~np.isin(rows, list(self.undone))] if self.undone else rows


class CoNRecFilter:
    """A filter over a published snapshot. Safe to use from several threads."""

    def __init__(self, folder: Path, guardrails: Guardrails, threshold: float | None) -> None:
        """Use `load`."""
        self.guardrails, self.threshold = guardrails, threshold
        self._follows = not (folder / "manifest.json").is_file()
        self._snapshots = folder if self._follows else folder.parent
        self._undos = Undos(self._snapshots)
        self._reloading = threading.Lock()
        self.snapshot = self._open_current() if self._follows else OpenSnapshot(folder)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        guardrails: Guardrails = Guardrails(),  # noqa: B008 (it cannot be changed)
        threshold: float | None = None,
    ) -> CoNRecFilter:
        """The filter over a folder of snapshots (the one in use, which `reload` and `watch` follow) or over one.

        `threshold` overrides the snapshot's calibration. Users in Redis are looked for where CONREC_REDIS says.
        ConrecError where there is no whole snapshot.
        """
        return cls(Path(folder), guardrails, threshold)

    @property
    def version(self) -> str:
        """The version that answers now."""
        return self.snapshot.manifest.version

    def reload(self) -> bool:
        """Take over the version in use if it is another; whether it was. Requests under way end with the old one.

        ConrecError where the new one cannot be opened; the old one then goes on.
        """
        with self._reloading:
            if not self._follows or published.current(self._snapshots) == self.version:
                return False
            self.snapshot = self._open_current()
            return True

    def watch(self, seconds: float = 1.0) -> threading.Event:
        """Look for a new version this often, in a thread of its own, until the event that is returned is set."""
        stop = threading.Event()

        def look() -> None:
            failed = None
            while not stop.wait(seconds):
                try:
                    if self.reload():
                        say(f"snapshot {self.version} is in use")
                except Exception as error:  # whatever it is, the old snapshot goes on and the next look may succeed
                    if str(error) != failed:
                        say(f"snapshot {self.version} stays in use: {error}")
                    failed = str(error)

        threading.Thread(target=look, name="conrec-watch", daemon=True).start()
        return stop

    def filter(
        self, user: str, candidates: Sequence[str], threshold: float | None = None, dry_run: bool | None = None
    ) -> Decision:
        """Decide about a user's ranked candidates (item ids, best first).

        `threshold` and `dry_run` override, for this call, what the filter was loaded with. Unknown users and items
        pass. TypeError for an id that is no string, ConrecError where a store does not answer.
        """
        now = self.snapshot
        decision = Decision(list(candidates), [], [], [None] * len(candidates), now.manifest.version)
        decision.dry_run = self.guardrails.dry_run if dry_run is None else dry_run
        decision.exempt = user in self.guardrails.exempt
        if decision.exempt:
            return decision
        stored = now.users.get(user)
        rows = now.index.rows(candidates)
        known = rows >= 0
        decision.unknown_items = len(rows) - int(np.count_nonzero(known))
        decision.unknown_user = stored is None
        if stored is None:
            return decision
        user_now = self._after_undo(now, user, stored)
        if decision.unknown_items:
            scores = np.full(len(rows), np.nan, np.float32)
            scores[known] = scores_alone(now.factors, user_now.factors, rows[known], now.cosine_weight)
            decision.scores = [None if score != score else score for score in scores.tolist()]
        else:
            scores = scores_alone(now.factors, user_now.factors, rows, now.cosine_weight)
            decision.scores = scores.tolist()
        given = self.threshold if threshold is None else threshold
        limits = now.thresholds.of(stored.activity, rows) if given is None else float(given)
        decision.threshold = limits if isinstance(limits, float) and limits < np.inf else None
        # In double precision, so that a threshold is not rounded; nan, an unknown item, is over nothing.
        excess = scores.astype(np.float64) - limits
        over = (excess > 0).nonzero()[0]
        if len(over):
            self._drop(decision, over, excess[over])
            decision.explain = lambda: zip(over.tolist(), explain(now, user_now, rows[over]))
        return decision

    def _drop(self, decision: Decision, over: np.ndarray, excess: np.ndarray) -> None:
        """Let go what the guardrails allow of the candidates over the threshold."""
        goes = furthest_over(over, excess, self.guardrails.may_drop(len(decision.kept))).tolist()
        decision.kept_by_limit = len(over) - len(goes)
        decision.would_drop = [decision.kept[position] for position in goes]
        if not decision.dry_run:
            decision.dropped = decision.would_drop
            for position in reversed(goes):
                del decision.kept[position]

    def user(self, user: str) -> UserView | None:
        """What is known of a user, None where that is nothing."""
        now = self.snapshot
        stored = now.users.get(user)
        if stored is None:
            return None
        user_now = self._after_undo(now, user, stored)
        dislikes, undone = stored.dislikes.tolist(), user_now.undone
        past = [now.view(row) for row in dislikes]
        return UserView(
            user,
            [view for view, row in zip(past, dislikes) if row not in undone],
            [view for view, row in zip(past, dislikes) if row in undone],
            [now.view(row) for row in stored.liked.tolist()],
            [
                PredictionView(now.view(row), past[position] if position >= 0 else None)
                for row, position in zip(user_now.factors.predicted.tolist(), user_now.reason_index.tolist())
            ],
        )

    def undo_dislike(self, user: str, item: str) -> None:
        """Undo a dislike (ids): what is predicted because of it counts no more, from the next request on.

        The user's vector and bias of the score, and all else that was learned from it, follow with the next daily job.
        """
        undo_dislike(self._snapshots, user, item)

    def _open_current(self) -> OpenSnapshot:
        """The version in use; once more if it was replaced and deleted in the very moment of opening."""
        version = published.current(self._snapshots)
        if version is None:
            raise ConrecError(f"{self._snapshots}: no snapshot was published here yet; run conrec refresh")
        try:
            return OpenSnapshot(self._snapshots / version)
        except ConrecError:
            newer = published.current(self._snapshots)
            if newer is None or newer == version:
                raise
            return OpenSnapshot(self._snapshots / newer)

    def _after_undo(self, now: OpenSnapshot, user: str, stored: StoredUser) -> AfterUndo:
        """The user without the predictions that follow from a dislike taken back."""
        factors = stored.factors
        items = self._undos.of(user, now.manifest.undos)
        if not items:
            return AfterUndo(stored, factors, None, set())
        undone = set(now.index.rows(items).tolist())
        positions = [position for position, row in enumerate(stored.dislikes.tolist()) if row in undone]
        stays = ~np.isin(stored.reason_index, positions)
        return AfterUndo(stored, UserFactors(factors.predicted[stays], factors.vector, factors.bias), stays, undone)
