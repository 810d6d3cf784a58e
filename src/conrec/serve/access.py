"""Who may ask for what: the tokens in a file, each with its role.

A line is a role and a token (`ranker 4rD8...`). Any number are valid at once, so that a new token is in use before the
old one goes. Only digests of them are kept, and all of these are compared, each in constant time.
"""

import base64
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
        self._flag, self.path, self._take, self._of = flag, path, take, 0
        self.read()

    def read(self) -> None:
        """Take its lines over, unless they are those of the last time. ConrecError where it cannot be read, or `take`
        raises one: what was taken before stays, and the next call tries again."""
        if self.path is None:
            return
        try:
            if (of := self.path.stat().st_mtime_ns) == self._of:
                return
            self._take([line.strip() for line in self.path.read_text(encoding="utf-8").splitlines()])
        except (OSError, UnicodeDecodeError) as error:
            raise ConrecError(f"{self._flag} {self.path}: not a readable text file ({error})") from None
        except ConrecError as error:
            raise ConrecError(f"{self._flag} {self.path}: {error}") from None
        self._of = of


class Access:
    """The tokens in use; without a file everybody may ask for everything."""

    def __init__(self, path: Path | None) -> None:
        """ConrecError that names the line where the file cannot be used."""
        self._roles: list[tuple[bytes, str]] = []
        self.file = WatchedLines("--tokens", path, self._take)

    def _take(self, lines: list[str]) -> None:
        found = []
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                fits = re.fullmatch(r"(ranker|operator)\s+([\x21-\x7e]{16,})", line)
                if fits is None:
                    raise ConrecError(f"line {number}: ranker or operator, then one token of 16 letters or more")
                found.append((sha256(fits[2].encode()).digest(), fits[1]))
        if not found:
            raise ConrecError("holds no token; give lines such as: ranker TOKEN")
        self._roles = found

    def check(self, scope: Scope, needed: Role) -> None:
        """Refused unless the request's token has the role: `Bearer TOKEN`, or as a browser sends a password."""
        if not self._roles or needed == "anyone":
            return
        scheme, _, token = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"basic":
            try:
                token = base64.b64decode(token).partition(b":")[2]
            except ValueError:
                token = b""
        given = sha256(token.strip()).digest()
        roles = [role for known, role in self._roles if hmac.compare_digest(known, given)]
        if not roles:
            raise Refused(401, "a token that is valid here is needed (authorization: Bearer TOKEN)")
        if needed == "operator" and needed not in roles:
            raise Refused(403, "this needs a token of the role operator; a ranker may filter and send events")
