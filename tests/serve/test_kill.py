"""A service that is killed while users press the button: what it answered is there, and in force, when it is back."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.serve.small import IDS, OVER, Client, command, is_ready, publish, serving, wait_for

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


@pytest.mark.slow
def test_who_is_told_to_stop_answers_what_was_begun(tmp_path: Path) -> None:
    publish(tmp_path / "snapshots")
    start, port = command(tmp_path / "snapshots")
    wide = {"CONREC_MAX_CANDIDATES": "1000000", "CONREC_MAX_BODY": "100000000"}
    process = subprocess.Popen(start, stderr=subprocess.DEVNULL, env=os.environ | wide)
    answers: list[tuple[int, dict, float]] = []

    def ask() -> None:
        status, answer, _ = Client(port).ask("POST", "/v1/filter/batch", {"requests": [long] * 10})
        answers.append((status, answer, time.monotonic()))

    long = {"user": "ann", "candidates": IDS * 500}
    try:
        wait_for(lambda: is_ready(port), seconds=120)
        ask()  # how long it takes
        begin = time.monotonic()
        ask()
        took = answers.pop()[2] - begin
        asked = threading.Thread(target=ask)
        asked.start()
        time.sleep(took / 2)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        asked.join()
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait(30)
    status, answer, end = answers[-1]
    assert end > told
    assert (status, [one["fail_open"] for one in answer["answers"]]) == (200, [None] * 10)
    assert set(answer["answers"][0]["dropped"]) == set(OVER)
    with pytest.raises(OSError):
        Client(port).get("/healthz")
