"""The page and what it asks for. Nothing here is counted as traffic of a ranker."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from conrec.serve.api import check, service_of
from conrec.serve.explore import Explorer
from conrec.serve.openapi import Endpoint
from conrec.serve.schema import About, Branch, FilterAnswer, FilterRequest, Known, ShownList, UserIds
from conrec.serve.service import decided, published_at
from conrec.serve.web import REPORT_POLICY, Refused, decode, read_body, reply

FILES = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


async def explorer_of(request: Request) -> Explorer:
    """What the page looks into; Refused while there is no snapshot, or none that it could show."""
    explorer: Explorer | None = await request.app.state.explorers.of(service_of(request).in_use().snapshot)
    if explorer is None:
        raise Refused(503, "the page cannot show the snapshot in use; the service's log says why")
    return explorer


async def file(request: Request) -> Response:
    """The page, or one of the files in its folder."""
    name = request.path_params.get("name", "index.html")
    known = {path.name: path for path in FILES.iterdir()}
    if name not in known:
        raise Refused(404, "there is no such file")
    return FileResponse(known[name], media_type=TYPES[known[name].suffix], headers={"cache-control": "no-cache"})


async def about(request: Request) -> Response:
    """The snapshot in use, its threshold and calibration, and the trade-off that the run measured."""
    service = service_of(request)
    try:
        explorer = await explorer_of(request)
    except Refused as why:
        return reply(About(None, why.error))
    settings, calibration, now = service.settings, explorer.calibration or {}, service.in_use()
    return reply(
        About(
            version=explorer.manifest.version,
            problem=service.problem,
            published=published_at(explorer.manifest.version).isoformat(),
            users=explorer.manifest.users["count"],
            items=explorer.manifest.items,
            levels=explorer.tree.levels,
            threshold=calibration.get("threshold") if settings.threshold is None else settings.threshold,
            calibration=explorer.calibration if settings.threshold is None else None,
            trade_off=explorer.trade_off,
            min_keep=settings.min_keep,
            max_drop_share=settings.max_drop_share,
            dry_run=settings.dry_run,
            modes={name: now.guardrails.surfaces.get(name, now.guardrails).mode for name in ("", *now.surfaces)},
            pictures=explorer.pictures is not None,
            report=settings.run is not None and (settings.run / "report.html").is_file(),
        )
    )


async def users(request: Request) -> Response:
    """Users whose id begins with `q`; without it some to begin with."""
    text = _query(request, "q", "").strip()
    explorer, known_as = await explorer_of(request), service_of(request).in_use().known_as
    return reply(UserIds(await run_in_threadpool(explorer.users, text and known_as(text))))


async def user(request: Request) -> Response:
    """As /v1/users/{id}, but a user who is not known is no error."""
    return reply(Known(await service_of(request).user(_query(request, "user"))))


async def candidates(request: Request) -> Response:
    """What to try the filter on: what the user was really shown, else a random sample."""
    user = service_of(request).in_use().known_as(_query(request, "user"))
    return reply(await run_in_threadpool((await explorer_of(request)).candidates, user))


async def decide(request: Request) -> Response:
    """As /v1/filter, but uncounted, without a budget, and never as a dry run: for somebody who moves a slider."""
    service = service_of(request)
    asked = decode(FilterRequest, await read_body(request.scope, request.receive, service.settings.max_body))
    check(service, [asked])
    asked.dry_run = False
    return reply(await run_in_threadpool(decided, service.in_use(), asked))


async def items(request: Request) -> Response:
    """Items whose title holds all words of `q`."""
    text = _query(request, "q")
    return reply(Branch([], await run_in_threadpool((await explorer_of(request)).search, text)))


async def catalogue(request: Request) -> Response:
    """What is under a prefix of semantic IDs, given as codes with dots between them (`10.6`)."""
    prefix = _query(request, "prefix", "")
    codes = prefix.split(".") if prefix else []
    if not all(code.isdecimal() and len(code) < 10 for code in codes):
        raise Refused(422, "a prefix is codes with dots between them, such as 10.6")
    return reply(await run_in_threadpool((await explorer_of(request)).branch, [int(code) for code in codes]))


async def picture(request: Request) -> Response:
    """The picture of an item, or a drawing that says that there is none."""
    item = _query(request, "item")
    pictures = (await explorer_of(request)).pictures
    jpeg = None if pictures is None else await run_in_threadpool(pictures.jpeg, item)
    headers = {"cache-control": "private, max-age=3600"}
    if jpeg is None:
        return FileResponse(FILES / "no-picture.svg", media_type="image/svg+xml", headers=headers)
    return Response(jpeg, media_type="image/jpeg", headers=headers)


async def report(request: Request) -> Response:
    """The report of the run."""
    run = service_of(request).settings.run
    path = run / "report.html" if run is not None else None
    if path is None or not path.is_file():
        raise Refused(404, "there is no report; start the service with --run and a run that is through")
    return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})


def _query(request: Request, name: str, default: str | None = None) -> str:
    """A parameter of the address; Refused where it is missing and has no default."""
    value = request.query_params.get(name, default)
    if value is None:
        raise Refused(422, f"{name}: this parameter is missing in the address")
    return value


FILE_ROUTES = [Endpoint("GET", "/", file, media="text/html"), Endpoint("GET", "/page/{name}", file, media="*/*")]
ENDPOINTS = [
    Endpoint("GET", "/ui/about", about, About),
    Endpoint("GET", "/ui/users", users, UserIds, refusals=(503,), query=("q?",)),
    Endpoint("GET", "/ui/user", user, Known, refusals=(422,), query=("user",)),
    Endpoint("GET", "/ui/candidates", candidates, ShownList, refusals=(422, 503), query=("user",)),
    Endpoint("POST", "/ui/decide", decide, FilterAnswer, FilterRequest, (400, 413, 422, 503)),
    Endpoint("GET", "/ui/items", items, Branch, refusals=(422, 503), query=("q",)),
    Endpoint("GET", "/ui/catalogue", catalogue, Branch, refusals=(422, 503), query=("prefix?",)),
    Endpoint("GET", "/ui/picture", picture, refusals=(422, 503), query=("item",), media="image/*"),
    Endpoint("GET", "/report", report, refusals=(404,), media="text/html"),
]
