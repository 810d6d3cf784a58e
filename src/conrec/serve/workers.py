"""Threads that work for the event loop, which waits for each piece of work only until a given moment.

The loop stands still for the first moments of a piece of work that is alone: most lists are decided then, where else
loop and thread would take turns. What takes longer, or comes meanwhile, is waited for beside all else. (An executor's
futures, wrapped in others, would wake the loop three times for each piece; here it is once.)
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

SLEPT = 0.005
"""Seconds by which a loop that is only busy is not late."""
T = TypeVar("T")


class Workers:
    """Some threads, and the work that waits for them."""

    def __init__(self, threads: int, name: str, patience: float = 0.0) -> None:
        """patience: seconds for which the loop stands still at most."""
        self._waiting = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]()
        self._threads, self._patience, self._under_way = threads, patience, set[Future[Any]]()
        for n in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True).start()

    async def until(self, moment: float, function: Callable[[], T]) -> T | None:
        """What `function` returns, or None if it has not returned by then (a `time.perf_counter()`).

        What has not begun by then never does; what has begun runs to its end, and nobody hears of it. Where the loop
        slept over the moment (the machine stood still), it waits for as long again, twice the time at most.
        """
        left = moment - time.perf_counter()
        if left <= 0:
            return None
        work, alone = Future[T](), not self._under_way
        self._under_way.add(work)
        self._waiting.put((work, function))
        if alone and self._patience:
            with contextlib.suppress(TimeoutError):
                work.exception(min(self._patience, left))
        if not work.done():
            loop = asyncio.get_running_loop()
            over = loop.create_future()
            late = loop.call_later(left, _late, over, loop.time() + left, left)
            work.add_done_callback(lambda _: _wake(over))
            try:
                await over
            finally:
                late.cancel()
                work.cancel()
        return work.result() if work.done() and not work.cancelled() else None

    def close(self) -> None:
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            work, function = waiting
            if work.set_running_or_notify_cancel():
                try:
                    work.set_result(function())
                except BaseException as error:
                    work.set_exception(error)
            self._under_way.discard(work)
            del waiting, work, function  # or they would stay until the next comes


def _wake(over: "asyncio.Future[None]") -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        over.get_loop().call_soon_threadsafe(_end, over)


def _late(over: "asyncio.Future[None]", due: float, most: float) -> None:
    """The time is over, or begins anew where this comes late: no answer can be in time then, but one may be there."""
    loop = over.get_loop()
    slept = loop.time() - due
    loop.call_later(min(slept, most) if slept > SLEPT else 0, _end, over)


def _end(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)
