"""The service as an ASGI application, and as a process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from conrec import __version__
from conrec.serve import api, page_api, schema
from conrec.serve.explore import Explorers
from conrec.serve.metrics import Metrics
from conrec.serve.schema import Problem
from conrec.serve.service import Service
from conrec.serve.settings import Settings
from conrec.serve.web import Observed, Refused, refused, reply

SCHEMAS = (
    schema.FilterRequest,
    schema.FilterAnswer,
    schema.BatchRequest,
    schema.BatchAnswer,
    schema.UndoRequest,
    schema.Problem,
    schema.Health,
    schema.About,
    schema.UserIds,
    schema.ShownList,
    schema.Items,
    schema.Branch,
    schema.Known,
)

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than balancers and pools keep theirs (60 is usual), so that no
request meets one that is just being closed."""

ASIDE = 10
"""By how much less than a request the opening of a snapshot is urgent (as `nice` counts)."""

log = logging.getLogger("conrec.serve")


def make_app(settings: Settings) -> FastAPI:
    """The application; a snapshot is looked for when it starts, and from then on again and again."""
    metrics = Metrics()
    service = Service(settings, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.look_for_snapshot)
        with ThreadPoolExecutor(1, "conrec-snapshots", _step_back) as aside:
            app.state.explorers = Explorers(settings.snapshots, settings.run, aside)
            watch = asyncio.create_task(_watch(service, aside))
            yield
            watch.cancel()
            service.close()

    app = FastAPI(
        title="CoNRec",
        version=__version__,
        description="Keeps what a user is likely to reject out of what a recommender shows.",
        lifespan=lifespan,
        docs_url=None,  # they load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.router.routes.insert(0, (filtering := api.FilterCandidates(service)).route())
    app.include_router(api.router)
    if settings.page:
        app.include_router(page_api.router)
    app.add_middleware(Observed, metrics=metrics)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    _declare(app, filtering)
    return app


def serve(settings: Settings) -> None:
    """Run until stopped; requests under way are answered first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # While a new snapshot is opened, a request must not wait 5 ms (Python's default) for every turn that it needs.
    sys.setswitchinterval(0.0005)
    config = configured(settings)
    config.app.state.service.look_for_snapshot()  # type: ignore[union-attr]
    # What is there now is there to stay: a collection that looks through all of it would stop every request for half
    # a second.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run()


def configured(settings: Settings) -> uvicorn.Config:
    """The server that the application runs in."""
    return uvicorn.Config(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )


def _step_back() -> None:
    """Requests go before this thread. Linux; elsewhere a priority is that of all threads."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + ASIDE))


async def _watch(service: Service, aside: Executor) -> None:
    """Take over new snapshots, for as long as the service runs."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(service.settings.poll_seconds)
        await loop.run_in_executor(aside, service.look_for_snapshot)


async def _http_error(request: Request, error: Exception) -> Response:
    """No such address, or no such method there."""
    assert isinstance(error, HTTPException)
    return reply(Problem(f"{request.method} {request.url.path}: {error.detail}"), error.status_code)


async def _invalid(request: Request, error: Exception) -> Response:
    """A parameter that is missing or of the wrong type."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return reply(Problem(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"), 422)


def _declare(app: FastAPI, filtering: api.FilterCandidates) -> None:
    """Add the bodies that msgspec reads and writes, and the one endpoint that is no route of FastAPI's, to OpenAPI."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"] = {filtering.path: filtering.described(), **document["paths"]}
        document.setdefault("components", {}).setdefault("schemas", {}).update(schema.components(SCHEMAS))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
