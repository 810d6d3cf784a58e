"""A real Redis server for a test: on a socket in a temporary folder, gone with the test."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a server that runs until the generator is closed; skips where there is none to start."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server here; on Debian: apt-get install redis-server")
    redis = pytest.importorskip("redis", reason="the extra `redis` is not installed")
    socket = folder / "redis.sock"
    # No TCP port at all, so that no other test or server can be met.
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url = f"unix://{socket}"
    try:
        for _ in range(200):
            try:
                redis.Redis.from_url(url).ping()
                break
            except redis.ConnectionError:
                assert process.poll() is None, process.communicate()[0].decode()
                time.sleep(0.05)
        else:
            raise AssertionError("redis-server did not answer within 10 s")
        yield url
    finally:
        process.terminate()
        process.wait(10)
