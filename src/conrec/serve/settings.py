"""What an operator can set: by flags of `conrec serve`, or in the environment as CONREC_<NAME>; a flag wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from conrec.errors import ConrecError


class Settings(BaseSettings):
    """The service's settings; what they mean for an operator is told in docs/service.md."""

    model_config = SettingsConfigDict(env_prefix="CONREC_", frozen=True)

    snapshots: Path
    """The folder of published snapshots."""
    run: Path | None = None
    """A run folder: the page's pictures, candidates, trade-off curve and report."""
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    threshold: float | None = Field(None, allow_inf_nan=False)
    """Drop what scores above this; None: what the snapshot's calibration says."""
    min_keep: int = Field(1, ge=0)
    """A list is never cut to fewer candidates than this."""
    max_drop_share: float = Field(0.5, ge=0, le=1)
    """At most this share of a list is dropped; the worst go first."""
    exempt: Path | None = None
    """A text file of user ids, one a line, whose candidates all pass."""
    dry_run: bool = False
    """Score and count, but drop nothing."""
    budget_ms: float = Field(25.0, gt=0)
    """Time for one answer; when it is over all candidates pass."""
    max_candidates: int = Field(2000, ge=1)
    """In one request, or in all requests of a batch together."""
    max_batch: int = Field(64, ge=1)
    """Requests in one batch."""
    max_body: int = Field(1 << 20, ge=1024)
    """Bytes of a request."""
    poll_seconds: float = Field(1.0, gt=0)
    """How often to look for a newly published snapshot."""
    page: bool = True
    """Serve the page and what it asks for (user histories among it)."""


def read_settings(**flags: Any) -> Settings:
    """Settings from flags (those that are not None), then the environment, then the defaults.

    Raises ConrecError that names the flag and the variable of the first value that is of no use.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        where = "--" + name.replace("_", "-") if name in given else "CONREC_" + name.upper()
        raise ConrecError(f"{where} {first.get('input')!r}: {first['msg']}") from None
    if not settings.snapshots.is_dir():
        raise ConrecError(f"{settings.snapshots}: there is no such folder of snapshots; `conrec refresh` makes one")
    if settings.run is not None and not (settings.run / "prepare" / "items.parquet").is_file():
        raise ConrecError(f"--run {settings.run}: no run folder (no prepare/items.parquet); give one or none")
    return settings
