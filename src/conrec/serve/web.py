"""What every request meets: a measured way in, headers that keep the browser strict, bodies of bounded size."""

import logging
import time
import traceback
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conrec.errors import ConrecError
from conrec.serve.metrics import Metrics
from conrec.serve.schema import Problem, encode

T = TypeVar("T")

log = logging.getLogger("conrec.serve")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The report is one file with its styles and pictures in it, and is shown in a frame of the page."""
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
GONE = 499
"""Status under which a request is counted whose client went away before it was there as a whole (as nginx does)."""


class Refused(Exception):
    """A request that cannot be answered: a status and one line for its sender."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class Observed:
    """ASGI middleware: counts and times every request under the pattern of its route, and adds the headers.

    What went wrong inside is logged and answered without a word of it, on a connection that stays open. Plain ASGI,
    as the framework's own base class for middleware costs a task and two queues a request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["arrived"] = arrived = time.perf_counter()
        status = 0

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].extend(ALWAYS)
                if not any(name == b"content-security-policy" for name, _ in message["headers"]):
                    message["headers"].append((b"content-security-policy", PAGE_POLICY.encode()))
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except ClientDisconnect:
            status = GONE
        except Exception as error:
            log.error("%s %s: %s", scope["method"], getattr(scope.get("route"), "path", "other"), where(error))
            if status:  # half an answer is out: the connection must end here
                raise RuntimeError("an answer broke off") from None
            code = 503 if isinstance(error, ConrecError) else 500  # a disk or a store that may come back
            await reply(Problem("an inner error; the service's log says which"), code)(scope, receive, observe)
        finally:
            # Only patterns that we declared become labels: a stranger's path must not.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, time.perf_counter() - arrived)


def where(error: Exception) -> str:
    """What failed, and where, for the log. The words of an error that is not ours may hold an id or a title."""
    said = str(error) if isinstance(error, ConrecError) else type(error).__name__
    return "".join([said, "\n", *traceback.format_tb(error.__traceback__)])


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body; Refused for one that is longer than `most` bytes, told or not."""
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if told.isdigit() and int(told) > most:
        raise Refused(413, f"the request has {int(told):,} bytes, at most {most:,} are read; send fewer candidates")
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect()
        part = message.get("body", b"")
        if len(body) + len(part) > most:
            raise Refused(413, f"the request has more than {most:,} bytes; send fewer candidates")
        body = body + part if body else part
        if not message.get("more_body", False):
            return body


def decode(kind: type[T], text: bytes) -> T:
    """The body as the type asked for; Refused with the place of the first mistake."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"not JSON: {error}") from None


def reply(value: Any, status: int = 200) -> Response:
    """A value as JSON. Never cached: it is about people, and of today."""
    return Response(encode(value), status, {"cache-control": "no-store"}, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    answer = reply(Problem(error.error), error.status)
    for scheme in ("Bearer", 'Basic realm="CoNRec"') if error.status == 401 else ():  # a browser asks for the second
        answer.headers.append("www-authenticate", scheme)
    if error.status == 429:
        answer.headers["retry-after"] = "1"
    return answer
