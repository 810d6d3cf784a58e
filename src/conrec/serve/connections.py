"""Connections that are there for a request and its answer: who sends none, or does not take it, is let go in time."""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 10.0
"""From the opening of a connection, or from the first byte of a request, to the request's last one."""
ANSWER_SECONDS = 120.0
"""From there until the client has taken the answer."""
OTHER_FILES = 200
"""Descriptors that are kept for all that is no connection."""


class Connection(HttpToolsProtocol):
    """A connection of uvicorn, which itself has a limit only for those that are idle after a request."""

    def __init__(self, *arguments: Any, most: int, **more: Any) -> None:
        """most: so many are open at once; further ones are closed."""
        super().__init__(*arguments, **more)
        self._most, self._receiving = most, True
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._within(REQUEST_SECONDS)
        if len(self.connections) > self._most:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._receiving = True
        self._within(REQUEST_SECONDS)
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._receiving = False
        self._within(ANSWER_SECONDS)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self._receiving:
            self._within(ANSWER_SECONDS if self.pipeline else None)
        super().on_response_complete()

    def _within(self, seconds: float | None) -> None:
        """What is to come next has to come by then, or the connection ends."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def allowed(most: int) -> int:
    """So many of `most` connections as this process may have descriptors for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else max(1, min(most, files - OTHER_FILES))
