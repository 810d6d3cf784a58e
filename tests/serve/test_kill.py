"""A service that is killed while users press the button: what it answered is there, and in force, when it is back."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.serve.small import Client, command, is_ready, publish, serving, wait_for

AFTER = 150
"""Dislikes answered before the kill."""


@pytest.mark.slow
def test_no_dislike_that_was_answered_is_lost(tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    publish(snapshots)
    start, port = command(snapshots)
    process = subprocess.Popen(start, stderr=subprocess.DEVNULL)
    answered: list[tuple[str, str]] = []
    killed = threading.Event()

    def press(thread: int) -> None:
        client = Client(port)
        for n in range(10**6):
            user, item = f"user{thread}-{n % 7}", f"item{thread}-{n}"
            try:
                client.post(f"/v1/users/{user}/dislikes", {"item": item})
            except (OSError, http.client.HTTPException):
                assert killed.is_set()
                return
            answered.append((user, item))

    try:
        wait_for(lambda: is_ready(port), seconds=120)
        threads = [threading.Thread(target=press, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answered) >= AFTER, seconds=120)
        killed.set()
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    finally:
        process.kill()
        process.wait(30)
    with serving(snapshots) as client:
        for user in {user for user, _ in answered}:
            items = [item for one, item in answered if one == user]
            assert client.filter(user, [*items, "stays"])["never_again"] == items
