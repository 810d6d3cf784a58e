"""Threads that work for the event loop, which waits for each piece of work only until a given moment.

What the standard library has for this (an executor, a future wrapped in another, a wait for it) wakes the loop three
times for each piece of work; here it is once.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

SLEPT = 0.005
"""Seconds by which a loop that is only busy is not late."""
T = TypeVar("T")
_Work = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Workers:
    """Some threads, and the work that waits for them."""

    def __init__(self, threads: int, name: str) -> None:
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = threads
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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T | None] = loop.create_future()
        late = loop.call_later(left, _over, answer, loop.time() + left, left)
        self._waiting.put((loop, answer, function))
        try:
            return await answer
        finally:
            late.cancel()

    def close(self) -> None:
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            loop, answer, function = work
            if answer.done():  # nobody waits for it any more
                continue
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_give, answer, result, error)
            del work, loop, answer, function, result, error  # or they would stay until the next comes


def _over(answer: asyncio.Future[Any], due: float, most: float) -> None:
    """The time is over, or begins anew where this comes late: no answer can be in time then, but one may be there."""
    loop = answer.get_loop()
    slept = loop.time() - due
    if slept > SLEPT:
        loop.call_later(min(slept, most), _give, answer, None, None)
    else:
        _give(answer, None, None)


def _give(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
