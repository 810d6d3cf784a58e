"""What an operator can set: by flags of `conrec serve`, or in the environment as CONREC_<NAME>; a flag wins."""

import math
import os
import ssl
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from conrec.errors import ConrecError
from conrec.filter.guardrails import Guardrails, Limits, Mode, NeverAgain
from conrec.toml import read_table, typed


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The service's settings; `cli.deploy.Serve` says what those of them are that are flags, docs/service.md all."""

    snapshots: Path
    run: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    threshold: float | None = None
    min_keep: Annotated[int, Meta(ge=0)] = 1
    max_drop_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    surfaces: Path | None = None
    exempt: Path | None = None
    dry_run: bool = False
    never_again: NeverAgain = "item"
    never_again_days: Annotated[float, Meta(gt=0)] | None = None
    mode: Mode = "drop"
    budget_ms: Annotated[float, Meta(gt=0)] = 25.0
    max_candidates: Annotated[int, Meta(ge=1)] = 2000
    """In one request, or in all requests of a batch together."""
    max_batch: Annotated[int, Meta(ge=1)] = 64
    """Requests in one batch."""
    max_body: Annotated[int, Meta(ge=1024)] = 1 << 20
    """Bytes of a request."""
    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """Open at once; fewer where the process may not have so many descriptors."""
    max_rate: Annotated[float, Meta(gt=0)] | None = None
    """Requests a second from one address; what asks whether the service is well is not counted."""
    poll_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """How often to look for a newly published snapshot."""
    page: bool = True
    """Serve the page and what it asks for (user histories among it)."""
    api: bool = True
    """Serve what a ranker asks for."""
    tokens: Path | None = None
    salt_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def guardrails(self) -> Guardrails:
        """The limits; those of a surface are what its part of the file says and, for the rest, these."""
        given, own = {one.name: getattr(self, one.name) for one in fields(Limits)}, {}
        for name, table in read_table(self.surfaces).items() if self.surfaces else ():
            if not isinstance(table, dict):
                raise ConrecError(f"{self.surfaces}: {name} is of no surface; begin with its name, as in [home]")
            own[name] = typed(f"{self.surfaces}: [{name}]", given | table, Limits)
        return Guardrails(**given, surfaces=own)


_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""What an environment may say for true and false, beside these and 1 and 0."""


def read_settings(**flags: Any) -> Settings:
    """Settings from flags (those that are not None), then the environment, then the defaults.

    Raises ConrecError that names the flag or the variable of the first value that is of no use.
    """
    values = {}
    for field in msgspec.structs.fields(Settings):
        where, value = "--" + field.name.replace("_", "-"), flags.get(field.name)
        if value is None:
            where, value = f"CONREC_{field.name.upper()}", os.environ.get(f"CONREC_{field.name.upper()}")
            value = _WORDS.get(value.lower(), value) if value is not None and field.type is bool else value
        if value is None:
            continue
        try:
            values[field.name] = msgspec.convert(value, field.type, strict=False, dec_hook=lambda _, path: Path(path))
        except msgspec.ValidationError as error:
            raise ConrecError(f"{where} {value!r}: {error}") from None
        if isinstance(values[field.name], float) and not math.isfinite(values[field.name]):
            raise ConrecError(f"{where} {value!r}: not a finite number")
    if "snapshots" not in values:
        raise ConrecError("CONREC_SNAPSHOTS is not set; name the folder of published snapshots")
    settings = Settings(**values)
    if not settings.snapshots.is_dir():
        raise ConrecError(f"{settings.snapshots}: there is no such folder of snapshots; `conrec refresh` makes one")
    if settings.run is not None and not (settings.run / "prepare" / "items.parquet").is_file():
        raise ConrecError(f"--run {settings.run}: no run folder (no prepare/items.parquet); give one or none")
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate or key:
        try:  # without a password, or the server would stop and ask for it
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate or "", key, "")
        except OSError as error:
            raise ConrecError(f"--tls-certificate {certificate}, --tls-key {key}: not usable ({error})") from None
    return settings
