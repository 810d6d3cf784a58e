"""An S3 server on this machine for the tests: on a free port, in memory, gone with the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def s3_server() -> Iterator[str]:
    """Its URL, which s3fs finds in the environment; skips without moto and s3fs."""
    server = pytest.importorskip("moto.server", reason="the extra `dev` is not installed")
    pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}).items():
            patch.setenv(name, value)
        yield url
    running.stop()
