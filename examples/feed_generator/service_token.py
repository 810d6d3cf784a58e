"""Who asks: the DID in the service token of a request. Its signature is NOT checked here (see README.md)."""

import base64
import time
from typing import Annotated

import msgspec


class Refused(Exception):
    """An answer of an error: the status, and the name and the message of the AT Protocol."""


class Claims(msgspec.Struct):
    """What the token says, as far as it is looked at."""

    iss: Annotated[str, msgspec.Meta(pattern=r"^did:[a-z]+:[\w.:%-]{1,400}$")]
    aud: str
    exp: float
    lxm: str = ""


def claimed_user(authorization: str, service: str, method: str) -> str | None:
    """The DID that the bearer token names as its issuer; None without a token.

    Refused for a token that has another form, has expired, or is for another service or method. WHOEVER CAN REACH THIS
    SERVER CAN STILL WRITE A TOKEN IN ANYBODY'S NAME: before it is public, check the token's signature here.
    """
    if not authorization.startswith("Bearer "):
        return None
    try:
        _, payload, _ = authorization.removeprefix("Bearer ").split(".")
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=="), type=Claims)
    except (ValueError, msgspec.MsgspecError):
        raise Refused(401, "BadJwt", "poorly formatted jwt") from None
    if claims.exp < time.time():
        raise Refused(401, "JwtExpired", "jwt expired")
    if claims.aud.partition("#")[0] != service:
        raise Refused(401, "BadJwtAudience", f"the audience (aud) is not {service}")
    if claims.lxm != method:
        raise Refused(401, "BadJwtLexiconMethod", f"the lexicon method (lxm) is not {method}")
    return claims.iss
