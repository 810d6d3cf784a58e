"""Pseudonyms in place of the ids of users: keyed hashes, made where a log or a request comes in (docs/data.md).

A pseudonym is 128 bits of HMAC-SHA-256 of the id, and 32 bits of the HMAC of these, in base32. By the second part it is
known as one and stays as it is, wherever an id may come in: the page names users by it, and a merged log holds it.
"""

import base64
import hmac
import re
from pathlib import Path

from conrec.errors import ConrecError

LEAST = 16
"""Bytes of a salt at least, and those of a pseudonym that are of the id."""
FORM = re.compile("[A-Z2-7]{32}")


class Pseudonyms:
    """Those of one salt."""

    def __init__(self, salt_file: Path) -> None:
        """ConrecError where the file cannot be read or is too short."""
        try:
            self._salt = salt_file.read_bytes().strip()
        except OSError as error:
            raise ConrecError(f"{salt_file}: the salt cannot be read ({error.strerror})") from None
        if len(self._salt) < LEAST:
            raise ConrecError(f"{salt_file}: a salt has {LEAST} bytes or more; openssl rand -hex 32 > FILE makes one")
        self.fingerprint = self("")
        """What tells this salt from others, and nothing of it: the pseudonym of nobody."""

    def __call__(self, user: str) -> str:
        """The pseudonym of a user, by id or by pseudonym."""
        if FORM.fullmatch(user) and self._sealed(base64.b32decode(user)[:LEAST]) == user:
            return user
        return self._sealed(self._hash(user.encode("utf-8", "surrogatepass"))[:LEAST])

    def _sealed(self, own: bytes) -> str:
        return base64.b32encode(own + self._hash(own)[:4]).decode()

    def _hash(self, text: bytes) -> bytes:
        return hmac.digest(self._salt, text, "sha256")


def pseudonyms_for(salt_file: Path | str | None, fingerprint: str | None, where: Path) -> Pseudonyms | None:
    """The pseudonyms of what was made with a salt of this fingerprint; None where ids stand as they are. ConrecError
    for another salt, and for one too many or too few."""
    found = Pseudonyms(Path(salt_file)) if salt_file else None
    if (found and found.fingerprint) != fingerprint:
        made, given = "another" if fingerprint else "no", salt_file or "not given"
        raise ConrecError(f"{where}: its users have pseudonyms of {made} salt; salt_file is {given}")
    return found
