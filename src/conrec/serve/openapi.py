"""Endpoints and what OpenAPI is told of them: msgspec reads and writes the bodies, so they are described here."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from conrec import __version__
from conrec.serve.access import Role
from conrec.serve.schema import Problem


class AnyId(PathConvertor):
    """`{user:id}` in a path: whatever the id holds, such as a slash or a line break."""

    regex = "(?s:.+)"


register_url_convertor("id", AnyId())


class Endpoint(Route):
    """A route that says which schemas it reads and writes; requests are counted under its path."""

    def __init__(
        self,
        method: str,
        path: str,
        function: Callable[..., Any],
        answer: type | None = None,
        asked: type | None = None,
        refusals: Sequence[int] = (),
        query: Sequence[str] = (),
        media: str = "application/json",
        role: Role = "operator",
    ) -> None:
        """answer, asked: of `schema` (no answer: the content is of type `media`); refusals: statuses of a Problem;
        query: names of parameters, those with a `?` may be left out; role: who may ask.
        """
        super().__init__(path, function, methods=[method])
        self.bodies = [body for body in (answer, asked) if body is not None]
        self._answer, self._asked, self._query, self._media, self.role = answer, asked, query, media, role
        self._refusals = refusals if role == "anyone" else (401, 403, *refusals, 429)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        service = scope["app"].state.service
        if self.role != "anyone":
            service.rate.check(scope)
        service.access.check(scope, self.role)
        await super().handle(scope, receive, send)

    def described(self) -> dict[str, Any]:
        answer = _json(self._answer) if self._answer else {"content": {self._media: {}}}
        responses = {"200": {"description": "OK", **answer}}
        responses |= {str(status): {"description": "Refused", **_json(Problem)} for status in self._refusals}
        parameters = [(name, "path", True) for name in self.param_convertors]
        parameters += [(name.removesuffix("?"), "query", not name.endswith("?")) for name in self._query]
        told: dict[str, Any] = {
            "summary": inspect.cleandoc(self.endpoint.__doc__ or "").split("\n")[0],
            "operationId": self.name,
            "parameters": [
                {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
                for name, place, required in parameters
            ],
            "responses": responses,
            "security": [{}] if self.role == "anyone" else [{"token": []}],
        }
        if self._asked:
            told["requestBody"] = {"required": True, **_json(self._asked)}
        return {min((self.methods or set()) - {"HEAD"}).lower(): told}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    bodies = dict.fromkeys(body for endpoint in endpoints for body in (*endpoint.bodies, Problem))
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path_format, {}).update(endpoint.described())
    about = "Keeps what a user is likely to reject out of what a recommender shows."
    return {
        "openapi": "3.1.0",
        "info": {"title": "CoNRec", "version": __version__, "description": about},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _json(body: type) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}}
