"""A feed generator as third parties run them for Bluesky, with CoNRec behind its ranker. README.md tells more."""

import argparse
from pathlib import Path

import msgspec
import uvicorn
from feed import Feed, Interaction
from service_token import Refused, claimed_user
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

XRPC = "/xrpc/app.bsky.feed."


class Sent(msgspec.Struct):
    """The body of `app.bsky.feed.sendInteractions`."""

    interactions: list[Interaction]


def make_app(folder: Path, hostname: str, publisher: str) -> Starlette:
    """The four endpoints. publisher: the DID of the account that declares the feed."""
    feed, service, uri = Feed(folder), f"did:web:{hostname}", f"at://{publisher}/app.bsky.feed.generator/newest"
    endpoint = {"id": "#bsky_fg", "type": "BskyFeedGenerator", "serviceEndpoint": f"https://{hostname}"}
    document = {"@context": ["https://www.w3.org/ns/did/v1"], "id": service, "service": [endpoint]}

    def asking(request: Request) -> str | None:
        return claimed_user(request.headers.get("authorization", ""), service, request.url.path.removeprefix("/xrpc/"))

    def did(request: Request) -> Response:
        return JSONResponse(document)

    def describe(request: Request) -> Response:
        return JSONResponse({"did": service, "feeds": [{"uri": uri}]})

    def skeleton(request: Request) -> Response:
        user, asked = asking(request), request.query_params
        if asked.get("feed") != uri:
            raise Refused(400, "UnknownFeed", f"here is {uri} alone")
        if (limit := asked.get("limit", "50")) not in map(str, range(1, 101)):
            raise Refused(400, "InvalidRequest", "limit must be 1 to 100")
        return JSONResponse(feed.page(user, int(limit), asked.get("cursor")))

    async def interactions(request: Request) -> Response:
        if (user := asking(request)) is None:
            raise Refused(401, "MissingJwt", "interactions need a token")
        try:
            sent = msgspec.json.decode(await request.body(), type=Sent)
        except msgspec.MsgspecError as error:
            raise Refused(400, "InvalidRequest", str(error)) from None
        await run_in_threadpool(feed.take, user, sent.interactions)
        return JSONResponse({})

    async def refused(request: Request, error: Exception) -> Response:
        status, name, message = error.args
        return JSONResponse({"error": name, "message": message}, status)

    routes = [
        Route("/.well-known/did.json", did),
        Route(f"{XRPC}describeFeedGenerator", describe),
        Route(f"{XRPC}getFeedSkeleton", skeleton),
        Route(f"{XRPC}sendInteractions", interactions, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: refused})


if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("folder", type=Path, help="holds run/ (of conrec fit) and posts.jsonl; log/ is made there")
    flags.add_argument("--hostname", required=True, help="where this server is on the net, such as feeds.example.org")
    flags.add_argument("--publisher", required=True, help="the DID of the account that declares the feed")
    flags.add_argument("--port", type=int, default=3000)
    given = flags.parse_args()
    uvicorn.run(make_app(given.folder, given.hostname, given.publisher), host="127.0.0.1", port=given.port)
