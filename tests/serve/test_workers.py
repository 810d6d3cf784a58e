"""Work on threads that is waited for only until a moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from conrec.serve.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1, "test")
    yield workers
    workers.close()


def soon() -> float:
    return time.perf_counter() + 20


def test_what_is_done_in_time_is_given(workers: Workers) -> None:
    async def many() -> list[int | None]:
        return await asyncio.gather(*(workers.until(soon(), lambda n=n: n * n) for n in range(50)))

    assert asyncio.run(many()) == [n * n for n in range(50)]


def test_an_error_is_raised_and_the_thread_goes_on(workers: Workers) -> None:
    def fail() -> None:
        raise KeyError("broken")

    async def both() -> int | None:
        with pytest.raises(KeyError, match="broken"):
            await workers.until(soon(), fail)
        return await workers.until(soon(), lambda: 3)

    assert asyncio.run(both()) == 3


def test_what_takes_too_long_is_not_waited_for_and_what_has_not_begun_never_does(workers: Workers) -> None:
    go_on, begun = threading.Event(), []

    async def ask() -> tuple[int | None, int | None, int | None, float]:
        begin = time.perf_counter()
        slow = asyncio.create_task(workers.until(begin + 0.05, lambda: begun.append("slow") or int(go_on.wait(20))))
        await asyncio.sleep(0.01)
        behind = await workers.until(begin + 0.05, lambda: begun.append("behind") or 1)
        took = time.perf_counter() - begin
        late = await slow
        go_on.set()
        return late, behind, await workers.until(soon(), lambda: 2), took

    late, behind, after, took = asyncio.run(ask())
    assert (late, behind, after) == (None, None, 2)
    assert begun == ["slow"]
    assert 0.04 < took < 10


def test_a_moment_that_is_over(workers: Workers) -> None:
    assert asyncio.run(workers.until(time.perf_counter() - 1, lambda: 1)) is None


def test_a_loop_that_is_gone_hurts_nobody(workers: Workers) -> None:
    go_on = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(workers.until(soon(), lambda: go_on.wait(20)), 0.05)

    asyncio.run(give_up())
    go_on.set()
    assert asyncio.run(workers.until(soon(), lambda: 4)) == 4


def test_time_in_which_the_loop_slept_is_not_held_against_the_work(workers: Workers) -> None:
    """As where a machine stands still: the moment is over when it goes on, and the answer comes a little later."""
    go_on = threading.Event()

    async def ask(slept: float) -> tuple[str | None, float]:
        begin = time.perf_counter()
        asked = asyncio.create_task(workers.until(begin + 0.3, lambda: go_on.wait(20) and "found"))
        await asyncio.sleep(0)
        time.sleep(slept)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        return await asked, time.perf_counter() - begin

    assert asyncio.run(ask(0.6))[0] == "found"
    go_on.clear()
    assert asyncio.run(ask(0.0))[0] == "found"

    async def never() -> tuple[int | None, float]:
        begin = time.perf_counter()
        asked = asyncio.create_task(workers.until(begin + 0.1, lambda: int(go_on.wait(20))))
        await asyncio.sleep(0)
        time.sleep(0.3)
        return await asked, time.perf_counter() - begin

    go_on.clear()
    found, took = asyncio.run(never())
    go_on.set()
    assert found is None
    assert 0.4 <= took < 10


@pytest.fixture
def patient() -> Iterator[Workers]:
    workers = Workers(2, "test", patience=0.5)
    yield workers
    workers.close()


def test_the_loop_stands_still_for_short_work_that_is_alone(patient: Workers) -> None:
    async def ask() -> tuple[int | None, list[str]]:
        seen: list[str] = []
        asyncio.get_running_loop().call_soon(seen.append, "the loop went on")
        found = await patient.until(soon(), lambda: 3)
        return found, list(seen)

    assert asyncio.run(ask()) == (3, [])


def test_what_takes_longer_or_comes_meanwhile_is_waited_for_beside_all_else(patient: Workers) -> None:
    go_on = threading.Event()

    async def ask() -> tuple[int | None, int | None, float, list[int | None]]:
        begin = time.perf_counter()
        slow = asyncio.create_task(patient.until(soon(), lambda: 1 if go_on.wait(20) else 0))
        await asyncio.sleep(0)
        stood = time.perf_counter() - begin
        other = await patient.until(soon(), lambda: 2)  # its thread is another one, and the loop does not stand still
        never = await patient.until(time.perf_counter() + 0.05, lambda: int(go_on.wait(20)))
        go_on.set()
        return await slow, other, stood, [never]

    slow, other, stood, never = asyncio.run(ask())
    assert (slow, other, never) == (1, 2, [None])
    assert 0.4 < stood < 10


def test_an_error_within_the_first_moments_is_raised_a_timeout_of_its_own_too(patient: Workers) -> None:
    def fail(error: Exception) -> None:
        raise error

    async def ask() -> None:
        for error in (KeyError("broken"), TimeoutError("of the store")):
            with pytest.raises(type(error), match=str(error.args[0])):
                await patient.until(soon(), lambda error=error: fail(error))

    asyncio.run(ask())
