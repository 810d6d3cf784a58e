"""What long work says while it runs, always on stderr: stdout is for results.

On a terminal a bar; elsewhere (a log file, CI) a plain line now and then, and none for what is over soon. Of several
processes only the main one speaks.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from conrec.processes import is_main

T = TypeVar("T")


def say(text: str) -> None:
    """One line to stderr, at once."""
    if is_main():
        print(text, file=sys.stderr, flush=True)


def track(values: Iterable[T], description: str, total: int | None = None, every: float = 30.0) -> Iterator[T]:
    """Yield `values` and show how far they are.

    `total` is needed where `values` has no length and the share done is to be shown; `every` is the number of
    seconds between two lines where stderr is not a terminal.
    """
    if not is_main():
        yield from values
        return
    if total is None and isinstance(values, Sized):
        total = len(values)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(values, description, total=total, console=Console(stderr=True))
        return
    start = last = time.monotonic()
    for done, value in enumerate(values):
        now = time.monotonic()
        if now - last >= every:
            last = now
            say(_line(description, done, total, now - start))
        yield value


def _line(description: str, done: int, total: int | None, seconds: float) -> str:
    """For example `warm-up: 120 of 600 (20 %), 30 s, about 120 s left`."""
    if not total or not done:
        return f"{description}: {done}, {seconds:.0f} s"
    left = seconds / done * (total - done)
    return f"{description}: {done} of {total} ({100 * done / total:.0f} %), {seconds:.0f} s, about {left:.0f} s left"
