"""The filter that stands behind a ranker: `CoNRecFilter.load(snapshots).filter(user, candidates)`.

It knows every user's factors (a published snapshot, memory-mapped), scores the candidates (`score.factors`) and drops
those over the threshold, within the operator's guardrails.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from conrec.data.pseudonyms import pseudonyms_for
from conrec.errors import ConrecError
from conrec.files import read_json
from conrec.filter import snapshot as published
from conrec.filter.contributions import explain
from conrec.filter.decision import Decision
from conrec.filter.feedback import Entry, Feedback
from conrec.filter.guardrails import Guardrails, Limits, Mode
from conrec.filter.id_index import IdIndex, among
from conrec.filter.mutes import Mute, is_known, muted, suggested
from conrec.filter.npy import map_npy, resident
from conrec.filter.stores import UserStore, open_users
from conrec.filter.thresholds import Thresholds
from conrec.filter.user_now import NEWEST, UserNow, user_now
from conrec.filter.views import ItemView, PredictionView, UserView
from conrec.items.vectors import unit_rows
from conrec.progress import say
from conrec.score.factors import ItemFactors, UserFactors, served_scores, value_record
from conrec.score.probability import DislikeProbability, demoted, probability
from conrec.score.user_side import UserSide

NEAR = 0.98
"""Cosine of two items' embeddings from which on they are nearly the same."""


class OpenSnapshot:
    """One version, opened; the service shows its items, too."""

    def __init__(self, folder: Path) -> None:
        """ConrecError where anything is missing, damaged or does not fit together."""
        self.manifest = published.read_manifest(folder)
        try:
            published.check(folder, self.manifest.files)
            item_features, latent = self.manifest.score["widths"]
            self.widths: tuple[int, int] = item_features, latent
            chances = self.manifest.score["probability"]
            self.probability = DislikeProbability(**chances) if chances else None
            self.index = IdIndex(folder / "items", in_memory=True)
            # Not `read_table` and `to_numpy`: they import pandas, which takes longer than all the rest of opening.
            with pq.ParquetFile(folder / "items.parquet") as file:
                columns = file.read()
            self.titles, self.categories = columns["title"].combine_chunks(), columns["category"].combine_chunks()
            self.codes = np.from_dlpack(columns["codes"].combine_chunks().flatten()).reshape(len(columns), -1)
            self.calibration = read_json(folder / "calibration.json") or None
            calibrations = {"": self.calibration, **(self.calibration or {}).get("surfaces", {})}
            # By surface; the empty name stands for all that have none of their own.
            self.thresholds = {name: Thresholds(one, self.categories) for name, one in calibrations.items()}
            self.users: UserStore = open_users(folder, self.manifest)
            self.value_names: list[str] = []
            embedding = self.users.layout.dimensions - sum(self.widths)
            self.values = np.zeros(len(columns), value_record(embedding, 0))
            if "values/names.parquet" in self.manifest.files:
                with pq.ParquetFile(folder / "values" / "names.parquet") as file:
                    self.value_names = file.read()["name"].to_pylist()
                self.values = map_npy(folder / "values" / "records.npy", value_record(embedding), 1)
            self.factors = ItemFactors(resident(map_npy(folder / "item_factors.npy", np.float32, 2)))
            lengths = {len(self.index), len(columns), len(self.factors.table), len(self.values)}
            width = self.factors.table.shape[1]
            if lengths != {self.manifest.items} or width != self.users.layout.dimensions + 1:
                raise ConrecError(f"{folder}: its parts do not fit together; write it again")
            self.user_side: UserSide | None = None
            if "user_side.safetensors" in self.manifest.files:
                self.user_side = UserSide(load_file(folder / "user_side.safetensors"), self.factors, self.widths)
        except (OSError, AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ConrecError(f"{folder}: not a snapshot ({' '.join(str(error).split())}); write it again") from error
        self.value_numbers = {name: number for number, name in enumerate(self.value_names)}
        self.updated: dict[str, tuple[int, UserNow]] = {}
        """Users with feedback since, each with its last position (`filter.user_now`)."""
        # So that the first request finds all of it compiled.
        among(rows := self.index.rows([""]), rows.astype(np.int32))
        served_scores(self.factors, UserFactors(np.zeros(width - 1), 0.0), rows)

    def view(self, row: int) -> ItemView:
        category = self.categories[row].as_py()
        return ItemView(self.index.id(row), self.title(row), category, tuple(self.codes[row].tolist()))

    def title(self, row: int) -> str:
        return self.titles[row].as_py() or ""

    def cosines(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """float32 [c, o]: of the embeddings of some items (int [c], rows) and some others (int [o])."""
        start = sum(self.widths)
        own, their = (unit_rows(self.factors.table.take(one, axis=0)[:, start:-1]) for one in (rows, others))
        return own @ their.T

    def most_alike(self, rows: np.ndarray, past: np.ndarray) -> list[int | None]:
        """Which past item (int [p], rows) each of some items (int [c], rows) is most like; None where there is none."""
        found: list[int | None] = past[self.cosines(rows, past).argmax(axis=1)].tolist() if len(past) else []
        return found or [None] * len(rows)


class CoNRecFilter:
    """A filter over a published snapshot. Safe to use from several threads."""

    def __init__(
        self, folder: Path, guardrails: Guardrails, threshold: float | None, salt_file: Path | str | None
    ) -> None:
        self.guardrails, self.threshold, self._salt_file = guardrails, threshold, salt_file
        self._follows = not (folder / "manifest.json").is_file()
        self._snapshots = folder if self._follows else folder.parent
        self._feedback = Feedback(self._snapshots)
        self._reloading = threading.Lock()
        self.snapshot = self._open_current() if self._follows else self._opened(folder)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        guardrails: Guardrails = Guardrails(),  # noqa: B008 (it cannot be changed)
        threshold: float | None = None,
        salt_file: Path | str | None = None,
    ) -> CoNRecFilter:
        """The filter over a folder of snapshots (the one in use, which `reload` and `watch` follow) or over one.

        `threshold` overrides the snapshot's calibration. `salt_file`: that of the recipe, where users have pseudonyms;
        they are named by their ids all the same. Users in Redis are looked for where CONREC_REDIS says. ConrecError
        where there is no whole snapshot, or one of another salt.
        """
        return cls(Path(folder), guardrails, threshold, salt_file)

    @property
    def version(self) -> str:
        return self.snapshot.manifest.version

    @property
    def surfaces(self) -> list[str]:
        """The names that were calibrated or have limits."""
        return sorted({*self.snapshot.thresholds, *self.guardrails.surfaces} - {""})

    def reload(self) -> bool:
        """Take over the version in use if it is another; whether it was. Requests under way end with the old one.

        ConrecError where the new one cannot be opened; the old one then goes on.
        """
        with self._reloading:
            if not self._follows or published.current(self._snapshots) == self.version:
                return False
            self.snapshot = self._open_current()
            return True

    def check(self) -> None:
        """ConrecError where files of the snapshot in use are gone or cut short, or its store lost users."""
        folder, manifest = self._snapshots / self.version, self.snapshot.manifest
        published.check(folder, manifest.files, "none")
        open_users(folder, manifest, whole=True).close()

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
        self,
        user: str,
        candidates: Sequence[str],
        threshold: float | None = None,
        dry_run: bool | None = None,
        want: int | None = None,
        replace: bool = False,
        mode: Mode | None = None,
        relevance: Sequence[float] | None = None,
        surface: str | None = None,
    ) -> Decision:
        """Decide about a user's ranked candidates (item ids, best first).

        `threshold` and `dry_run` override, for this call, what the filter was loaded with. Unknown users and items
        pass. `want`: the first so many of what is kept; `replace`: where there are fewer, the list is filled with what
        the user liked before and would pass, and then with what was dropped for its score, the least disliked first.
        `mode="demote"`: nothing goes for its score, the order changes by the probability of a dislike
        (`score.probability.demoted`); `relevance`: what the ranker gave each candidate, in the unit of log-odds.
        `surface`: one of `surfaces`, with its own calibrated threshold and limits; what it lacks is as without.
        TypeError for an id that is no string, ValueError for another `mode`, an unknown `surface`, or a `relevance`
        that does not fit, ConrecError where a store does not answer.
        """
        now, rules = self.snapshot, self.guardrails.surfaces.get(surface or "", self.guardrails)
        if surface is not None and surface not in self.surfaces:
            raise ValueError(f"surface {surface!r}: there are {', '.join(self.surfaces) or 'none'}")
        if mode is not None or dry_run is not None:
            dry_run = rules.dry_run if dry_run is None else dry_run
            rules = dataclasses.replace(rules, mode=rules.mode if mode is None else mode, dry_run=dry_run)
        if relevance is not None and not (len(relevance) == len(candidates) and np.isfinite(relevance).all()):
            raise ValueError("relevance: give one finite number for each candidate")
        calibrated = now.thresholds.get(surface or "", now.thresholds[""])
        given = self.threshold if threshold is None and surface not in now.thresholds else threshold
        thresholds = calibrated if given is None else Thresholds({"threshold": given})
        names = user, self.known_as(user)
        decision, fill = self._decide(now, names, candidates, rules, thresholds, relevance)
        if want is not None:
            missing = want - len(decision.kept)
            if replace and fill and missing > 0 and not decision.dry_run:
                decision.filled = fill(missing)
                decision.kept += decision.filled
            del decision.kept[want:]
            decision.short = want - len(decision.kept)
            factor = calibrated.calibration.get("send")
            decision.send = None if factor is None else math.ceil(want * factor)
        return decision

    def _decide(
        self,
        now: OpenSnapshot,
        names: tuple[str, str],
        candidates: Sequence[str],
        rules: Limits,
        thresholds: Thresholds,
        relevance: Sequence[float] | None,
    ) -> tuple[Decision, Callable[[int], list[str]] | None]:
        decision = Decision(list(candidates), [], [None] * len(candidates), now.manifest.version)
        decision.candidates, decision.dry_run = candidates, rules.dry_run
        decision.exempt = not self.guardrails.exempt.isdisjoint(names)
        if decision.exempt:
            return decision, None
        known_user, mutes = user_now(now, self._feedback, names[1])
        rows = now.index.rows(candidates)
        decision.unknown_items = int(np.count_nonzero(rows < 0))
        decision.unknown_user = known_user.factors is None
        over = excess = goes = np.zeros(0, np.int64)
        if known_user.factors is not None:
            scores = served_scores(now.factors, known_user.factors, rows)
            decision.scores = scores
            limits = thresholds.of(known_user.activity, rows)
            decision.threshold = limits if isinstance(limits, float) and limits < np.inf else None
            # In double precision, so that a threshold is not rounded; nan, an unknown item, is over nothing.
            over = (scores > np.float64(limits)).nonzero()[0]
            excess = scores[over].astype(np.float64) - (limits if isinstance(limits, float) else limits[over])
        rejected = _rejected(now, rules, known_user, candidates, rows)
        by_mute = muted(now, mutes, rows) if mutes else {}
        if len(over) or rejected or by_mute:
            some = slice(None if rules.mode == "drop" else 0)
            goes = rules.drop(decision, over[some], excess[some], rejected, by_mute)
            decision.explain = lambda: explain(now, known_user, rows, over, rejected, by_mute)
        if rules.mode == "demote" and known_user.factors is not None and now.probability is not None:
            log_odds = now.probability.of(scores)
            chances = probability(log_odds).tolist()
            decision.probabilities = [None if score is None else p for p, score in zip(chances, decision.scores)]
            if not decision.dry_run:
                order = demoted(log_odds, None if relevance is None else np.asarray(relevance, np.float64))
                decision.kept = [candidates[n] for n in order[~np.isin(order, goes)].tolist()]

        def fill(missing: int) -> list[str]:
            if known_user.factors is None:
                return []
            liked = np.setdiff1d(known_user.history.told(-1), np.append(rows, known_user.history.rejected["item"]))
            ids, scores = list(map(now.index.id, liked.tolist())), served_scores(now.factors, known_user.factors, liked)
            passes = scores <= thresholds.of(known_user.activity, liked)
            passes[[*muted(now, mutes, liked), *_rejected(now, rules, known_user, ids, liked.astype(np.int64))]] = False
            gone = set(decision.dropped) - {*decision.never_again, *decision.muted}
            dropped = sorted((score or 0.0, item) for item, score in zip(candidates, decision.scores) if item in gone)
            again = [ids[n] for n in np.argsort(scores, kind="stable").tolist() if passes[n]]
            return [*again, *(item for _, item in dropped)][:missing]

        return decision, fill

    def user(self, user: str) -> UserView | None:
        now, user = self.snapshot, self.known_as(user)
        known, mutes = user_now(now, self._feedback, user)
        said = sorted(self._feedback.of(user), key=lambda one: (one.time, one.kind == "undo"))  # as `in_force` has it
        last = {entry.item: entry for entry in said}
        if not (known.factors or known.strangers or len(known.history.rejected) or last or mutes):
            return None
        rejected = list(dict.fromkeys(known.history.rejected["item"][::-1].tolist()))
        told = {one.item for one in said if one.kind == "dislike"}
        gone = [one.item for one in said if one.kind == "undo" and last[one.item] is one]
        pairs = [(item, row) for item, row in zip(gone, now.index.rows(gone).tolist()) if row not in rejected]
        undone = [(item, row) for item, row in pairs if row >= 0 or item in told]
        because = now.most_alike(known.predicted, known.dislikes)
        return UserView(
            user,
            [*(ItemView(item, "", None, ()) for item in [*known.strangers][::-1]), *map(now.view, rejected)],
            [ItemView(item, "", None, ()) if row < 0 else now.view(row) for item, row in undone],
            [now.view(row) for row in known.history.told(-1)[::-1][:NEWEST].tolist()],
            [
                PredictionView(now.view(row), None if past is None else now.view(past))
                for row, past in zip(known.predicted.tolist(), because)
            ],
            mutes,
            suggested(now, known, mutes),
        )

    def mute(self, user: str, mute: Mute) -> None:
        """Mute a category, a value, or a word: from the next request on, in every process, what it says is out.

        ValueError for one that the snapshot in use does not know.
        """
        if not is_known(self.snapshot, mute):
            raise ValueError(f"no item has the {mute.kind} {mute.name[:80]!r}")
        self._feedback.mute(self.known_as(user), mute)

    def unmute(self, user: str, mute: Mute) -> bool:
        return self._feedback.unmute(self.known_as(user), mute)

    def dislike(self, user: str, item: str, reason: str | None = None, time: int | None = None) -> None:
        """Note a dislike (ids; one of `data.schema.REASONS`; microseconds since 1970, None: now).

        From the next request on, in every process, the item is out, and the history score of all others is that of a
        user who dislikes it. What everybody's log says of the items follows with the next daily job.
        """
        self.record([Entry(user, item, "dislike", time, reason)])

    def undo_dislike(self, user: str, item: str, time: int | None = None) -> None:
        """Undo a dislike (ids), however old, at once as in `dislike`; to dislike the item again undoes that."""
        self.record([Entry(user, item, "undo", time)])

    def record(self, entries: Sequence[Entry]) -> int:
        """Note any number of dislikes and undos, all or none, in any order; how many of them are new (by their ids)."""
        return self.record_each([entries])[0]

    def record_each(self, batches: Sequence[Sequence[Entry]]) -> list[int]:
        """As `record`, several batches in one go; how many entries of each are new."""
        named = [[entry._replace(user=self.known_as(entry.user)) for entry in one] for one in batches]
        return self._feedback.add_each(named, self.snapshot.manifest.made_from.get("end", -1) + 1)

    def _open_current(self) -> OpenSnapshot:
        """The version in use; once more if it was replaced and deleted in the very moment of opening."""
        version = published.current(self._snapshots)
        if version is None:
            raise ConrecError(f"{self._snapshots}: no snapshot was published here yet; run conrec refresh")
        try:
            return self._opened(self._snapshots / version)
        except ConrecError:
            newer = published.current(self._snapshots)
            if newer is None or newer == version:
                raise
            return self._opened(self._snapshots / newer)

    def _opened(self, folder: Path) -> OpenSnapshot:
        """A snapshot; `known_as` is what stands for a user's id in it."""
        opened = OpenSnapshot(folder)
        pseudonyms = pseudonyms_for(self._salt_file, opened.manifest.made_from.get("pseudonyms"), folder)
        self.known_as: Callable[[str], str] = pseudonyms or (lambda user: user)
        return opened


def _rejected(
    now: OpenSnapshot, rules: Limits, user: UserNow, candidates: Sequence[str], rows: np.ndarray
) -> dict[int, str]:
    """Positions of the candidates that are never to be shown again, ascending, each with the rejected item."""
    rule, days = rules.never_again, rules.never_again_days
    if rule == "off":
        return {}
    events, strangers = user.history.events, user.strangers
    counts = events["sign"] > 0
    if days is not None:
        since = int((time.time() - days * 86400) * 1e6)
        counts &= (events["time"] >= since) | (events["time"] == 0)  # of that one no time is known
        strangers = {item: when for item, when in strangers.items() if when >= since}
    found, items = {}, events["item"][counts]
    if len(items):
        found = {n: candidates[n] for n in among(rows, items).nonzero()[0].tolist()}
        if rule == "near":
            known = (rows >= 0).nonzero()[0]
            cosines = now.cosines(rows[known], items)
            nearest = items[cosines.argmax(axis=1)].tolist()
            for n in (cosines.max(axis=1) >= NEAR).nonzero()[0].tolist():
                found.setdefault(int(known[n]), now.index.id(nearest[n]))
    found |= {n: item for n, item in enumerate(candidates) if item in strangers} if strangers else {}
    return dict(sorted(found.items()))
