"""The endpoints that a ranker and an operator call. The bodies are declared in `conrec.serve.schema`."""

from datetime import UTC, datetime, timedelta

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from conrec.data.schema import MAX_ID_BYTES, REASONS
from conrec.filter.feedback import Entry, Kind
from conrec.filter.mutes import Mute
from conrec.filter.views import UserView
from conrec.serve.openapi import Endpoint
from conrec.serve.schema import (
    BatchAnswer,
    BatchRequest,
    DislikeRequest,
    FeedbackAnswer,
    FeedbackRequest,
    FilterAnswer,
    FilterRequest,
    Health,
    Muted,
    UndoRequest,
    encode,
)
from conrec.serve.service import Service
from conrec.serve.web import Refused, T, decode, read_body, reply

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""A clock may be so far ahead of ours."""


def service_of(request: Request) -> Service:
    return request.app.state.service


class FilterCandidates:
    """`POST /v1/filter`: decide about one user's candidates. Whatever fails inside, all candidates pass.

    Plain ASGI: what the framework does for an endpoint (parameters, dependencies, a request and a response object) is
    more work than the decision.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        asked = decode(FilterRequest, await read_body(scope, receive, service.settings.max_body))
        check(service, [asked])
        (answer,) = await service.decide([asked], scope["arrived"])
        await reply(answer)(scope, receive, send)


async def filter_batch(request: Request) -> Response:
    """Decide about several lists; they share the time budget of one request."""
    service = service_of(request)
    asked = decode(BatchRequest, await read_body(request.scope, request.receive, service.settings.max_body)).requests
    if len(asked) > (most := service.settings.max_batch):
        raise Refused(422, f"{len(asked)} requests in a batch, at most {most} are taken; send several batches")
    check(service, asked)
    return reply(BatchAnswer(await service.decide(asked, request.scope["arrived"])))


def check(service: Service, asked: list[FilterRequest]) -> None:
    """What a type cannot say."""
    count, most = sum(len(one.candidates) for one in asked), service.settings.max_candidates
    if count > most:
        raise Refused(422, f"{count} candidates, at most {most} are taken; send the best of them")
    for one in asked:
        if one.surface is not None and (now := service.filter) and one.surface not in now.surfaces:
            raise Refused(400, f"surface {one.surface[:80]!r}: there are {', '.join(now.surfaces) or 'none'}")
        if one.relevance is not None and len(one.relevance) != len(one.candidates):
            raise Refused(422, f"{len(one.relevance)} values of relevance for {len(one.candidates)} candidates")


async def user_view(request: Request) -> Response:
    """What is known of a user: past dislikes, likes, predicted dislikes and what each follows from."""
    view = await service_of(request).user(request.path_params["user"])
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    return reply(view)


async def dislike(request: Request) -> Response:
    """Note a dislike: the item is out, and all others are judged anew, from the next request on and for good."""
    service, user = service_of(request), request.path_params["user"]
    asked = await _sent(request, DislikeRequest)
    return reply(FeedbackAnswer(await service.record([_entry(user, asked, "dislike", asked.reason)]), 0))


async def undo(request: Request) -> Response:
    """Undo a dislike, however old, at once and for good; to dislike the item again undoes that."""
    service, user = service_of(request), request.path_params["user"]
    asked = await _sent(request, UndoRequest)
    view = await service.user(user)
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    if asked.item not in {one.item_id for one in (*view.dislikes, *view.undone)}:
        raise Refused(404, "this user has no dislike of that item")
    counts = asked.item in {one.item_id for one in view.dislikes}
    return reply(FeedbackAnswer(await service.record([_entry(user, asked, "undo")]) if counts else 0, int(not counts)))


async def mutes(request: Request) -> Response:
    """What the user muted, and what they may want to as far as the score has learned it."""
    view = await service_of(request).user(request.path_params["user"])
    return reply(Muted(view.mutes, view.suggestions) if view else Muted([], []))


async def mute(request: Request) -> Response:
    """Mute a category, a value or a word: what it says is out from the next request on and for good."""
    asked = await _sent(request, Mute)
    if len(asked.name) > MAX_ID_BYTES:
        raise Refused(422, f"name is longer than {MAX_ID_BYTES} characters")
    try:
        await run_in_threadpool(service_of(request).in_use().mute, request.path_params["user"], asked)
    except ValueError as error:
        raise Refused(422, str(error)) from None
    return await mutes(request)


async def unmute(request: Request) -> Response:
    """Undo a mute, at once."""
    asked = decode(Mute, encode(dict(request.query_params)))
    if not await run_in_threadpool(service_of(request).in_use().unmute, request.path_params["user"], asked):
        raise Refused(404, "this user has not muted that")
    return await mutes(request)


async def feedback(request: Request) -> Response:
    """Note many dislikes and undos at once, in any order of arrival, each once by its id."""
    asked = (await _sent(request, FeedbackRequest)).events
    new = await service_of(request).record([_entry(one.user, one, one.kind, one.reason, one.id) for one in asked])
    return reply(FeedbackAnswer(new, len(asked) - new))


async def _sent(request: Request, kind: type[T]) -> T:
    """The body of what changes something. A form of another site can send text to this address, but not JSON: the
    browser would have to ask first."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "send JSON (content-type: application/json)")
    return decode(kind, await read_body(request.scope, request.receive, service_of(request).settings.max_body))


def _entry(user: str, asked: UndoRequest, kind: Kind, reason: str | None = None, event: str | None = None) -> Entry:
    """What was asked as it is written; Refused for what a type cannot say."""
    for name, text in (("user", user), ("item", asked.item), ("id", event or "")):
        if len(text.encode("utf-8", "replace")) > MAX_ID_BYTES:
            raise Refused(422, f"{name} is longer than {MAX_ID_BYTES} bytes")
    if reason is not None and (kind == "undo" or reason not in REASONS):
        raise Refused(422, f"reason {reason[:80]!r}: a dislike may have one of {', '.join(REASONS)}")
    moment = asked.time
    if moment is None:
        return Entry(user, asked.item, kind, None, reason, event)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EPOCH <= moment <= datetime.now(UTC) + AHEAD:
        raise Refused(422, f"time {moment.isoformat()} is in the future, or before 1970; leave it out for now")
    return Entry(user, asked.item, kind, (moment - EPOCH) // timedelta(microseconds=1), reason, event)


async def healthz(request: Request) -> Response:
    """The process is there. Restart it where this does not answer."""
    return reply(Health("ok"))


async def readyz(request: Request) -> Response:
    """A snapshot is in use. Without one (503) every list passes unfiltered."""
    service = service_of(request)
    if service.filter is None:
        return reply(Health("not ready", None, service.problem), 503)
    return reply(Health("ready", service.filter.version, service.problem))


async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def endpoints(service: Service) -> list[Endpoint]:
    """The endpoints, the one that every list of candidates goes through first."""
    bodies, users = (400, 413, 422), "/v1/users/{user:id}"
    return [
        Endpoint("POST", "/v1/filter", FilterCandidates(service), FilterAnswer, FilterRequest, bodies, role="ranker"),
        Endpoint("POST", "/v1/filter/batch", filter_batch, BatchAnswer, BatchRequest, bodies, role="ranker"),
        Endpoint("POST", f"{users}/dislikes", dislike, FeedbackAnswer, DislikeRequest, (*bodies, 415)),
        Endpoint("GET", f"{users}/mutes", mutes, Muted),
        Endpoint("POST", f"{users}/mutes", mute, Muted, Mute, (*bodies, 415)),
        Endpoint("DELETE", f"{users}/mutes", unmute, Muted, None, (404, 422), ("kind", "name")),
        Endpoint("GET", users, user_view, UserView, refusals=(404,)),
        Endpoint("POST", f"{users}/undo", undo, FeedbackAnswer, UndoRequest, (*bodies, 404, 415)),
        Endpoint("POST", "/v1/events", feedback, FeedbackAnswer, FeedbackRequest, (*bodies, 415), role="ranker"),
        Endpoint("GET", "/healthz", healthz, Health, role="anyone"),
        Endpoint("GET", "/readyz", readyz, Health, role="anyone"),
        Endpoint("GET", "/metrics", metrics, media="text/plain", role="anyone"),
    ]
