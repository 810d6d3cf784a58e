"""Who may ask, how often, and for what: a file of tokens, each with its role (`ranker 4rD8...`). Any number of them are
valid at once.

Only digests of them are kept, and all of these are compared, each in constant time.
"""

import base64
import contextlib
import hmac
import re
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from starlette.types import Scope

from conrec.errors import ConrecError
from conrec.serve.web import Refused

Role = Literal["anyone", "ranker", "operator"]
"""An operator may ask for all that a ranker may; `anyone` needs no token."""
ADDRESSES = 10_000
"""Whose requests are counted at a time; those of the last second always are."""


class WatchedLines:
    """A text file of an operator, whose lines are taken over whenever it has changed."""

    def __init__(self, flag: str, path: Path | None, take: Callable[[list[str]], None]) -> None:
        self._flag, self._path, self._take, self._of = flag, path, take, 0
        self.read()

    def read(self) -> None:
        """Take its lines over if it has changed. ConrecError where they are of no use; what was before then stays."""
        try:
            if self._path is None or (of := self._path.stat().st_mtime_ns) == self._of:
                return
            self._take([line.strip() for line in self._path.read_text(encoding="utf-8").splitlines()])
        except (OSError, UnicodeDecodeError, ConrecError) as error:
            raise ConrecError(f"{self._flag} {self._path}: cannot be used: {error}") from None
        self._of = of


class Access:
    """The tokens in use; without a file everybody may ask for everything."""

    def __init__(self, path: Path | None) -> None:
        self._roles: list[tuple[bytes, str]] = []
        self.file = WatchedLines("--tokens", path, self._take)

    def _take(self, lines: list[str]) -> None:
        found = []
        for number, line in enumerate(lines, 1):
            if fits := re.fullmatch(r"(ranker|operator)\s+([\x21-\x7e]{16,})", line):
                found.append((sha256(fits[2].encode()).digest(), fits[1]))
            elif line and not line.startswith("#"):
                raise ConrecError(f"line {number}: give ranker or operator, then a token of 16 characters or more")
        if not found:
            raise ConrecError("it holds no token; give lines such as: ranker TOKEN")
        self._roles = found

    def check(self, scope: Scope, needed: Role) -> None:
        """Refused unless the request's token has the role."""
        if not self._roles or needed == "anyone":
            return
        scheme, _, token = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"basic":  # a browser sends it as the password of somebody
            with contextlib.suppress(ValueError):
                token = base64.b64decode(token).partition(b":")[2]
        given = sha256(token.strip()).digest()
        roles = [role for known, role in self._roles if hmac.compare_digest(known, given)]
        if not roles:
            raise Refused(401, "a token that is valid here is needed (authorization: Bearer TOKEN)")
        if needed not in roles and "operator" not in roles:
            raise Refused(403, "this needs a token of the role operator; a ranker may filter and send events")


class Rate:
    """So many requests a second may come from one address, and a second's worth of them at once (the generic cell rate
    algorithm)."""

    def __init__(self, most: float | None) -> None:
        """most: None for any number."""
        self._most, self._paid_until = most, dict[str, float]()

    def check(self, scope: Scope) -> None:
        """Refused where it is one too many, which does not count."""
        if self._most is None:
            return
        address, now = (scope.get("client") or ("",))[0], time.monotonic()
        if len(self._paid_until) >= ADDRESSES:
            self._paid_until = {one: until for one, until in self._paid_until.items() if until > now}
        until = max(now, self._paid_until.get(address, 0.0)) + 1 / self._most
        if until > now + max(1.0, 1 / self._most) + 1e-6:
            raise Refused(429, f"more than {self._most:g} requests a second from one address; wait a second")
        self._paid_until[address] = until
