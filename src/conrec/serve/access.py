"""Who may ask for what: a file of tokens, each with its role (`ranker 4rD8...`), any number of them valid at once.

Only digests of them are kept, and all of these are compared, each in constant time.
"""

import base64
import contextlib
import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from starlette.types import Scope

from conrec.errors import ConrecError
from conrec.serve.web import Refused

Role = Literal["anyone", "ranker", "operator"]
"""An operator may ask for all that a ranker may; `anyone` needs no token."""


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
