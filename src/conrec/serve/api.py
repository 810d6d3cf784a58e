"""The endpoints that a ranker and an operator call. The bodies are declared in `conrec.serve.schema`."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from conrec.serve.schema import BatchAnswer, BatchRequest, FilterRequest, Health, UndoRequest, body
from conrec.serve.service import Service
from conrec.serve.web import Refused, decode, read_body, reply

router = APIRouter()
_filter = msgspec.json.Decoder(FilterRequest)
_batch = msgspec.json.Decoder(BatchRequest)
_undo = msgspec.json.Decoder(UndoRequest)


def documented(answer: str, asked: str | None = None, *problems: int) -> dict[str, Any]:
    """What OpenAPI is told of an endpoint that reads and writes its bodies itself."""
    refusals = {status: {"description": "Refused", **body("Problem")} for status in problems}
    extra = {"requestBody": {"required": True, **body(asked)}} if asked else {}
    return {"responses": {200: {"description": "OK", **body(answer)}, **refusals}, "openapi_extra": extra}


def service_of(request: Request) -> Service:
    """The service that the app was made with."""
    return request.app.state.service


class FilterCandidates:
    """`POST /v1/filter`: decide about one user's candidates. Whatever fails inside, all candidates pass.

    Plain ASGI: what the framework does for an endpoint (parameters, dependencies, a request and a response object) is
    more work than the decision.
    """

    path = "/v1/filter"

    def __init__(self, service: Service) -> None:
        self._service = service

    def route(self) -> Route:
        """To be found before all others."""
        return Route(self.path, self, methods=["POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        service = self._service
        asked = decode(_filter, await read_body(scope, receive, service.settings.max_body))
        _check(service, [asked])
        (answer,) = await service.decide([asked], scope["arrived"])
        await reply(answer)(scope, receive, send)

    def described(self) -> dict[str, Any]:
        """What OpenAPI is told."""
        told = documented("FilterAnswer", "FilterRequest", 400, 413, 422)
        return {
            "post": {
                "tags": ["filter"],
                "summary": "Filter Candidates",
                "description": "Decide about one user's candidates. Whatever fails inside, all candidates pass and "
                "the answer is 200.",
                "operationId": "filter_candidates_v1_filter_post",
                "responses": {str(status): response for status, response in told["responses"].items()},
                **told["openapi_extra"],
            }
        }


@router.post("/v1/filter/batch", tags=["filter"], **documented("BatchAnswer", "BatchRequest", 400, 413, 422))
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


@router.get("/v1/users/{user:path}", tags=["users"], **documented("UserView", None, 404))
async def user_view(user: str, request: Request) -> Response:
    """What is known of a user: past dislikes, likes, predicted dislikes and what each follows from."""
    view = await service_of(request).user(user)
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    return reply(view)


@router.post("/v1/users/{user:path}/undo", tags=["users"], **documented("UserView", "UndoRequest", 404, 415))
async def undo(user: str, request: Request) -> Response:
    """Take back a dislike: what is predicted because of it no longer counts, at once and after a restart."""
    # A form of another site can send text to this address, but not JSON: the browser would have to ask first.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "send JSON (content-type: application/json)")
    service = service_of(request)
    item = decode(_undo, await read_body(request.scope, request.receive, service.settings.max_body)).item
    view = await service.user(user)
    if view is None:
        raise Refused(404, "this user is not known to the snapshot in use")
    if item not in {one.item_id for one in (*view.dislikes, *view.undone)}:
        raise Refused(404, "this user has no dislike of that item among those remembered")
    if item in {one.item_id for one in view.dislikes}:
        await service.undo_dislike(user, item)
    return reply(await service.user(user))


@router.get("/healthz", tags=["operation"], **documented("Health"))
async def healthz() -> Response:
    """The process is there. Restart it where this does not answer."""
    return reply(Health("ok"))


@router.get("/readyz", tags=["operation"], **documented("Health", None, 503))
async def readyz(request: Request) -> Response:
    """A snapshot is in use. Without one (503) every list passes unfiltered."""
    service = service_of(request)
    if service.filter is None:
        return reply(Health("not ready", None, service.problem), 503)
    return reply(Health("ready", service.filter.version, service.problem))


@router.get("/metrics", tags=["operation"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
