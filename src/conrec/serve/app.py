"""The service as an ASGI application, and as a process."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conrec.serve import api, openapi, page_api
from conrec.serve.connections import Connection, Handshake, Places, allowed
from conrec.serve.explore import Explorers
from conrec.serve.metrics import Metrics
from conrec.serve.schema import Problem
from conrec.serve.service import Service
from conrec.serve.settings import Settings
from conrec.serve.web import Observed, Refused, refused, reply

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than balancers and pools keep theirs (60 is usual), so that no
request meets one that is just being closed."""

ASIDE = 10
"""By how much less than a request the opening of a snapshot is urgent (as `nice` counts)."""

log = logging.getLogger("conrec.serve")


def make_app(settings: Settings) -> Starlette:
    """The application; a snapshot is looked for when it starts, and from then on again and again."""
    metrics = Metrics()
    service = Service(settings, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(service.look_for_snapshot)
        with ThreadPoolExecutor(1, "conrec-snapshots", _step_back) as aside:
            app.state.explorers = Explorers(settings.snapshots, settings.run, aside)
            watch = asyncio.create_task(_watch(service, aside))
            yield
            watch.cancel()
            service.close()

    endpoints = [one for one in api.endpoints(service) if settings.api or one.role != "ranker"]
    endpoints += page_api.ENDPOINTS if settings.page else []
    described = openapi.document(endpoints)

    async def description(request: Request) -> Response:
        return reply(described)

    files = page_api.FILE_ROUTES if settings.page else []
    app = Starlette(
        routes=[*endpoints, *files, Route("/openapi.json", description)],
        middleware=[Middleware(Observed, metrics=metrics)],
        exception_handlers={Refused: refused, HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.state.service = service
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
    places = Places(allowed(settings.max_connections))
    config = uvicorn.Config(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        http=functools.partial(Connection, places=places),  # type: ignore[arg-type]
        loop="auto" if settings.tls_certificate is None else "conrec.serve.connections:tls_event_loop",
        ws="none",  # or uvicorn would take its place over, where a library for it is installed, and never free it
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.sslobject_class, config.ssl.places = Handshake, places  # type: ignore[attr-defined]
    return config


def _step_back() -> None:
    """Requests go before this thread. Linux; elsewhere a priority is that of all threads."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + ASIDE))


async def _watch(service: Service, aside: Executor) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(service.settings.poll_seconds)
        await loop.run_in_executor(aside, service.look_for_snapshot)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = reply(Problem(f"{request.method} {request.url.path}: {error.detail}"), error.status_code)
    answer.headers.update(error.headers or {})  # which methods there are
    return answer
