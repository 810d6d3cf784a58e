"""The endpoints that a ranker and an operator call. The bodies are declared in `conrec.serve.schema`."""

from __future__ import annotations

import math

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from conrec.serve.openapi import Endpoint
from conrec.serve.schema import BatchAnswer, BatchRequest, FilterRequest, Health, UndoRequest
from conrec.serve.service import Service
from conrec.serve.web import Refused, decode, read_body, reply

_filter = msgspec.json.Decoder(FilterRequest)
_batch = msgspec.json.Decoder(BatchRequest)
_undo = msgspec.json.Decoder(UndoRequest)


def service_of(request: Request) -> Service:
    """The service that the app was made with."""
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
        asked = decode(_filter, await read_body(scope, receive, service.settings.max_body))
        _check(service, [asked])
        (answer,) = await service.decide([asked], scope["arrived"])
        await reply(answer)(scope, receive, send)


async def filter_batch(request: Request) -> Response:
    """Decide about several lists; they share the time budget of one request."""
    service = service_of(request)
    asked = decode(_batch, await read_body(request.scope, request.receive, service.settings.max_body)).requests
    if len(asked) > service.settings.max_batch:
        most = service.settings.max_batch
        raise Refused(422, f"{len(asked)} requests in a batch, at most {most} are taken; send several batches")
    _check(service, asked)
    return reply(BatchAnswer(await service.decide(asked, request.scope["arrived"])))


def _check(service: Service, asked: list[FilterRequest]) -> None:
    """What a type cannot say."""
    count, most = sum(len(one.candidates) for one in asked), service.settings.max_candidates
    if count > most:
        raise Refused(422, f"{count} candidates, at most {most} are taken; send the best of them")
    if any(one.threshold is not None and not math.isfinite(one.threshold) for one in asked):
        raise Refused(422, "threshold is not a finite number")


async def user_view(request: Request) -> Response:
    """What is known of a user: past dislikes, likes, predicted dislikes and what each follows from."""
    view = await service_of(request).user(request.path_params["user"])
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    return reply(view)


async def undo(request: Request) -> Response:
    """Undo a dislike: what is predicted because of it no longer counts, at once and after a restart."""
    # A form of another site can send text to this address, but not JSON: the browser would have to ask first.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "send JSON (content-type: application/json)")
    service, user = service_of(request), request.path_params["user"]
    item = decode(_undo, await read_body(request.scope, request.receive, service.settings.max_body)).item
    view = await service.user(user)
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    if item not in {one.item_id for one in (*view.dislikes, *view.undone)}:
        raise Refused(404, "this user has no dislike of that item among those remembered")
    if item in {one.item_id for one in view.dislikes}:
        await service.undo_dislike(user, item)
    return reply(await service.user(user))


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
    bodies, users = (400, 413, 422), "/v1/users/{user:path}"
    return [
        Endpoint("POST", "/v1/filter", FilterCandidates(service), "FilterAnswer", "FilterRequest", bodies),
        Endpoint("POST", "/v1/filter/batch", filter_batch, "BatchAnswer", "BatchRequest", bodies),
        Endpoint("GET", users, user_view, "UserView", refusals=(404,)),
        Endpoint("POST", f"{users}/undo", undo, "UserView", "UndoRequest", (404, 415)),
        Endpoint("GET", "/healthz", healthz, "Health"),
        Endpoint("GET", "/readyz", readyz, "Health"),
        Endpoint("GET", "/metrics", metrics, media="text/plain"),
    ]
