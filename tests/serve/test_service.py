"""Dislikes that come at the same time are written in one go, each with a fate of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conrec.errors import ConrecError
from conrec.filter.feedback import Entry, Feedback
from conrec.serve import service as module
from conrec.serve.metrics import Metrics
from conrec.serve.service import Service
from conrec.serve.settings import Settings
from conrec.serve.web import Refused
from tests.serve.small import publish


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    publish(tmp_path)
    service = Service(Settings(snapshots=tmp_path), Metrics())
    assert service.look_for_snapshot()
    yield service
    service.close()


class Disk:
    """Lets the first write wait until all are there, and notes how many batches each write had."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes: list[int] = []
        self.all_there = threading.Event()
        record_each = service.in_use().record_each

        def slow(batches: Sequence[Sequence[Entry]]) -> list[int]:
            self.writes.append(len(batches))
            assert self.all_there.wait(20)
            return record_each(batches)

        monkeypatch.setattr(service.in_use(), "record_each", slow)

    async def at_once(self, service: Service, batches: list[list[Entry]]) -> list[Any]:
        tasks = [asyncio.create_task(service.record(one)) for one in batches]
        while not self.writes or len(service._unwritten) + sum(self.writes) < len(batches):
            await asyncio.sleep(0.001)
        self.all_there.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


def batches(count: int) -> list[list[Entry]]:
    return [[Entry(f"u{n}", f"i{n}", "dislike", id=f"e{n // 2}")] for n in range(count)]


def test_what_waits_is_written_together(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(service, monkeypatch)
    asked = [*batches(40), [Entry("v", "a", "dislike"), Entry("v", "b", "dislike"), Entry("v", "a", "undo")]]
    news = asyncio.run(disk.at_once(service, asked))
    assert news == [1, 0] * 20 + [3]
    assert sum(disk.writes) == 41
    assert len(disk.writes) <= 3  # those that had come by then, and the rest
    assert len(Feedback(tmp_path).until(99)) == 23
    assert 'conrec_feedback_total{kind="dislike"} 42.0' in service.metrics.text().decode()
    assert 'conrec_feedback_total{kind="undo"} 1.0' in service.metrics.text().decode()


def test_one_that_cannot_be_written_hurts_no_other(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = batches(9)
    asked[5] = [Entry("bad", "there", "dislike"), Entry("bad", None, "dislike")]  # type: ignore[arg-type]
    news = asyncio.run(Disk(service, monkeypatch).at_once(service, asked))
    assert isinstance(news[5], ConrecError)
    assert [new for n, new in enumerate(news) if n != 5] == [1, 0, 1, 0, 1, 1, 0, 1]
    there = Feedback(tmp_path)
    assert sorted(entry.user for entry in there.until(99)) == ["u0", "u2", "u4", "u6", "u8"]
    assert there.of("bad") == []


def test_a_disk_that_is_too_slow_is_told(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.05)
    disk = Disk(service, monkeypatch)

    async def ask() -> None:
        with pytest.raises(Refused, match="send it again") as caught:
            await service.record(batches(1)[0])
        assert caught.value.status == 503
        disk.all_there.set()
        monkeypatch.setattr(module, "WRITE_SECONDS", 20.0)
        assert await service.record([Entry("v", "a", "dislike")]) == 1

    asyncio.run(ask())
    assert Feedback(tmp_path).of("v")
