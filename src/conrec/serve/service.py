"""The filter, answering whatever happens: within a time budget, over the change of snapshots, and open when it fails.

What is asked is worked out on a worker thread, so that an answer can be given when the time is over (a cold disk, a
store far away, a queue that has grown): then, and on any inner error, all candidates pass. That is the ranker's own
list, the worst that can happen to a user who would have seen it anyway.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.decision import Decided
from conrec.filter.feedback import Entry
from conrec.filter.filter import CoNRecFilter
from conrec.filter.views import UserView
from conrec.serve.access import Access, Rate, WatchedLines
from conrec.serve.metrics import Metrics
from conrec.serve.schema import FilterAnswer, FilterRequest
from conrec.serve.settings import Settings
from conrec.serve.web import Refused, where
from conrec.serve.workers import Workers

THREADS = 4
AT_ONCE = 0.002
"""Seconds for which all else stands still for a list, where no other one is under way."""
TRY_AGAIN = 30.0
"""Seconds until a snapshot that was refused is looked at again, if it is still the one named."""

CHECK_SECONDS = 5.0
"""How often to look whether the files of the snapshot in use, its users, and the list of exempt users are there."""
WRITE_SECONDS = 30.0
"""So long a dislike waits until it is written down."""
LOG_SECONDS = 10.0
"""So long after an inner error was logged others are counted alone."""

DECIDED = [field.name for field in fields(Decided)]
"""What of a decision goes over the wire as it is."""

log = logging.getLogger("conrec.serve")


class Service:
    """The filter in use, and what happens around it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self._budget = settings.budget_ms / 1000
        self.filter: CoNRecFilter | None = None
        self.problem: str | None = "no snapshot was looked for yet"
        """Why the version that is named last is not in use, or what is wrong with the one that is; None: nothing."""
        metrics.problem.set_function(lambda: self.problem is not None)
        self._guardrails = settings.guardrails()
        self._check_at, self._log_at = 0.0, 0.0
        self.access, self.rate = Access(settings.tokens), Rate(settings.max_rate)
        self._exempt = WatchedLines("--exempt", settings.exempt, self._take_exempt)
        self._refused: tuple[str | None, float] | None = None
        self._workers = Workers(THREADS, "conrec-filter", AT_ONCE)
        # What waits for the disk: entries and, once they are written, how many of them are new.
        self._writer, self._unwritten = Workers(1, "conrec-feedback"), deque[list[Any]]()

    async def decide(self, requests: list[FilterRequest], arrived: float) -> list[FilterAnswer]:
        """One answer a request, at the latest `budget_ms` after `arrived` (a `time.perf_counter()`); never raises."""
        answers = await self._workers.until(arrived + self._budget, lambda: list(map(self._one, requests)))
        if answers is None:
            answers = [_pass(request, "budget") for request in requests]
        for request, answer in zip(requests, answers):
            self._count(request, answer)
        return answers

    def _one(self, request: FilterRequest) -> FilterAnswer:
        now = self.filter
        if now is None:
            return _pass(request, "no_snapshot")
        try:
            return decided(now, request)
        except Exception as error:
            if time.monotonic() >= self._log_at:  # where a store is dead, every request fails
                self._log_at = time.monotonic() + LOG_SECONDS
                log.error("lists pass unfiltered; the next such errors are only counted: %s", where(error))
            return _pass(request, "error")

    def _count(self, request: FilterRequest, answer: FilterAnswer) -> None:
        count, surface, now = self.metrics.count, request.surface or "", self.filter
        surface = surface if now is not None and surface in now.surfaces else ""
        count(surface, decisions=1, candidates=len(request.candidates))
        if answer.fail_open is not None:
            self.metrics.fail_open.labels(answer.fail_open).inc()
            return
        again, muted = len(answer.never_again), len(answer.muted)
        dropped = len(answer.dropped) - (0 if answer.dry_run else again + muted)
        count(surface, dropped=dropped, never_again=again, muted=muted, dry_run=len(answer.would_drop))
        count(surface, kept_by_limit=answer.kept_by_limit, short=answer.short, unknown_items=answer.unknown_items)
        count(surface, exempt_users=answer.exempt, unknown_users=answer.unknown_user)

    async def user(self, user: str) -> UserView | None:
        """What the snapshot knows of a user; None for an unknown one or without a snapshot."""
        now = self.filter
        return None if now is None else await asyncio.to_thread(now.user, user)

    async def record(self, entries: list[Entry]) -> int:
        """Note dislikes and undos, in force at once and for good; how many are new. Refused without a snapshot."""
        now, own = self.in_use(), [entries]
        self._unwritten.append(own)
        new = await self._writer.until(time.perf_counter() + WRITE_SECONDS, lambda: self._written(now, own))
        if new is None:
            raise Refused(503, f"not written down within {WRITE_SECONDS:g} s, as the disk is slow; send it again")
        for entry in entries:
            self.metrics.feedback.labels(entry.kind).inc()
        return new

    def _written(self, now: CoNRecFilter, own: list[Any]) -> int:
        """How many of some entries are new: on the writer's thread, which writes all that wait in one go."""
        if len(own) == 1:
            together = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
            with contextlib.suppress(Exception):  # the fault of one is not that of all: then each is written alone
                for one, new in zip(together, now.record_each([one[0] for one in together])):
                    one.append(new)
        return int(own[1]) if len(own) > 1 else now.record(own[0])

    def in_use(self) -> CoNRecFilter:
        """The filter in use; Refused while there is no snapshot."""
        if self.filter is None:
            raise Refused(503, self.problem or "no snapshot is in use yet")
        return self.filter

    def look_for_snapshot(self) -> bool:
        """Take over the snapshot that SNAPSHOTS/current names if it is another one; whether it was.

        One that cannot be opened is refused: the old one goes on, and `problem` says why.
        """
        named = None
        with contextlib.suppress(ConrecError):  # `_amiss` says it
            self.access.file.read()
        try:
            named = published.current(self.settings.snapshots)
            if self.filter is not None and named == self.filter.version:
                if self._refused is not None or time.monotonic() >= self._check_at:
                    self._refused, self._check_at = None, time.monotonic() + CHECK_SECONDS
                    self.problem = self._amiss(self.filter)
                return False
            if self._refused is not None and self._refused[0] == named and time.monotonic() < self._refused[1]:
                return False
            if self.filter is None:
                given = self.settings
                self.filter = CoNRecFilter.load(given.snapshots, self._guardrails, given.threshold, given.salt_file)
            else:
                self.filter.reload()
        except Exception as error:
            again = self._refused is not None and self._refused[0] == named
            self._refused = (named, time.monotonic() + TRY_AGAIN)
            self.problem = str(error) if isinstance(error, ConrecError) else f"{type(error).__name__}: {error}"
            if not again:
                self.metrics.swaps.labels("refused").inc()
                log.error("snapshot %s is not taken into use: %s", named, self.problem)
            return False
        self.problem = self._refused = None
        self.metrics.swaps.labels("taken").inc()
        self.metrics.snapshot_in_use(self.filter.version, published_at(self.filter.version).timestamp())
        log.info("snapshot %s is in use", self.filter.version)
        return True

    def _amiss(self, now: CoNRecFilter) -> str | None:
        """What is wrong with what is in use. A list of exempt users that has changed is taken over by the way."""
        try:
            self.access.file.read()
            self._exempt.read()
            now.guardrails = self._guardrails
            now.check()
        except ConrecError as error:
            return str(error)
        held = published.held(self.settings.snapshots)
        return held and f"snapshot {held[0]} is held, not in use: {held[1]}"

    def _take_exempt(self, lines: list[str]) -> None:
        self._guardrails = replace(self._guardrails, exempt=frozenset(filter(None, lines)))

    def close(self) -> None:
        self._workers.close()
        self._writer.close()


def decided(now: CoNRecFilter, request: FilterRequest) -> FilterAnswer:
    """What the filter answers."""
    decision = now.filter(**{name: getattr(request, name) for name in FilterRequest.__struct_fields__})
    # Pair by pair: a list with a place for every candidate is more than the reasons themselves.
    why = {request.candidates[position]: reason for position, reason in decision.explain()} if decision.explain else {}
    parts = {name: getattr(decision, name) for name in DECIDED}
    parts["would_drop"] = decision.would_drop if decision.dry_run else []
    return FilterAnswer(**parts, why=why)


def _pass(request: FilterRequest, cause: str) -> FilterAnswer:
    kept = request.candidates[: request.want]
    short = 0 if request.want is None else request.want - len(kept)
    return FilterAnswer(kept, [], [None] * len(request.candidates), short=short, fail_open=cause)


def published_at(version: str) -> datetime:
    """When a version was made, from its name (20261122T021500Z-0001)."""
    return datetime.strptime(version.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
