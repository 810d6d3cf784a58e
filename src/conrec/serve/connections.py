"""Connections that are there for a request and its answer: who sends none, or does not take it, is let go in time."""

import asyncio
import functools
import resource
import ssl
import weakref
from typing import Any

from uvicorn.loops.auto import auto_loop_factory
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HANDSHAKE_SECONDS = 10.0
"""From the opening of a connection to the end of its handshake, where there is TLS."""
REQUEST_SECONDS = 10.0
"""From the opening of a connection, or from the first byte of a request, to the request's last one."""
ANSWER_SECONDS = 120.0
"""From there until the client has taken the answer."""
OTHER_FILES = 200
"""Descriptors that are kept for all that is no connection."""


class Places:
    """As many as there may be open connections; one over them has to go again."""

    def __init__(self, most: int) -> None:
        self.most, self._taken = most, set[object]()
        self.free = self._taken.discard

    def take(self, one: object) -> bool:
        """Whether there was a place; it is to be freed in any case."""
        self._taken.add(one)
        return len(self._taken) <= self.most


class Connection(HttpToolsProtocol):
    """A connection of uvicorn, which itself has a limit only for those that are idle after a request."""

    def __init__(self, *arguments: Any, places: Places, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._places, self._receiving = places, True
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._within(REQUEST_SECONDS)
        if not self._places.take(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        self._places.free(self)
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


class Handshake(ssl.SSLObject):
    """TLS of one connection; `sslobject_class` of a context that has the attribute `places`.

    A `Connection` hears of it only when the handshake is over. Until then this has the place.
    """

    _free: weakref.finalize | None = None

    def do_handshake(self) -> None:
        """Called by the event loop when the connection is opened, and whenever more of the handshake has come."""
        if self._free is None:
            places, place = self.context.places, object()  # type: ignore[attr-defined]
            # Who hangs up is known by the end of this object; with asyncio's own loop that may wait for a collection.
            self._free = weakref.finalize(self, places.free, place)
            asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._free)
            if not places.take(place):
                self._free()
                raise ssl.SSLError("too many connections")
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
                self._free()
            raise
        self._free()


def tls_event_loop() -> asyncio.AbstractEventLoop:
    """The one that uvicorn takes by itself, but a handshake has HANDSHAKE_SECONDS; uvicorn leaves it a minute."""
    loop = auto_loop_factory()()
    create = functools.partial(loop.create_server, ssl_handshake_timeout=HANDSHAKE_SECONDS)
    loop.create_server = create  # type: ignore[method-assign]
    return loop


def allowed(most: int) -> int:
    """So many of `most` connections as this process may have descriptors for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else max(1, min(most, files - OTHER_FILES))
