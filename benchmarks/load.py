"""A load for the service, from a process of its own: closed loop, or open loop with Poisson arrivals.

Open loop: when a request is due does not depend on the answers before it, and its latency counts from when it was
due, not from when it could be sent. A service that stalls is thus charged for everybody whom it kept waiting (what
closed-loop figures leave out; Schroeder, Wierman and Harchol-Balter, NSDI 2006).

One thread, plain sockets and busy waiting on a core of its own: a client library and a sleeping clock would add more
than the service takes. Reads a JSON object on stdin, writes one on stdout; see `main`.
"""

from __future__ import annotations

import gc
import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

PATIENCE = 5.0
"""Seconds without an answer after which a request has failed."""


@dataclass
class Outcome:
    """Outcome of the requests."""

    seconds: list[float] = field(default_factory=list)
    """Latencies of those that were answered with 200."""
    failed: Counter[str] = field(default_factory=Counter)
    """Status, or what happened to the connection -> how often."""
    unfiltered: int = 0
    """Answered, but `fail_open`: the candidates passed."""
    versions: Counter[str] = field(default_factory=Counter)
    """Snapshot that answered -> how often."""
    took: float = 0.0

    def json(self) -> dict:
        """Counts, and latencies in milliseconds."""
        there = len(self.seconds) > 0
        p50, p99, worst = (np.quantile(self.seconds, [0.5, 0.99, 1.0]) * 1e3).tolist() if there else [None] * 3
        return {
            "requests": len(self.seconds) + self.failed.total(),
            "failed": self.failed.total(),
            "failures": dict(self.failed),
            "unfiltered": self.unfiltered,
            "per_second": len(self.seconds) / self.took,
            "p50_ms": p50,
            "p99_ms": p99,
            "worst_ms": worst,
            "versions": dict(self.versions),
        }


class Connection:
    """One HTTP/1.1 connection that is kept open, with at most one request under way."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selector
        selector.register(self.socket, selectors.EVENT_READ, self)
        self._got = bytearray()
        self.due = 0.0

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self._got.clear()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body when the answer is whole; ConnectionError where the connection has ended before."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("closed")
        self._got += part
        head, found, body = bytes(self._got).partition(b"\r\n\r\n")
        if not found:
            return None
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return (int(head[9:12]), body) if len(body) >= length else None

    def close(self) -> None:
        self._selector.unregister(self.socket)
        self.socket.close()


class Load:
    """Sends prepared requests in turns and notes what comes back."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._address, self._requests = ("127.0.0.1", port), requests
        self._sent = 0
        self._selector = selectors.DefaultSelector()
        self._under_way: set[Connection] = set()
        self._idle: deque[Connection] = deque()

    def closed(self, connections: int, seconds: float) -> Outcome:
        """So many connections, each sending its next request as soon as the one before is answered."""
        outcome = Outcome()
        begin = time.perf_counter()
        for _ in range(connections):
            self._send(Connection(self._address, self._selector), time.perf_counter(), outcome)

        def again(connection: Connection) -> None:
            now = time.perf_counter()
            if now < begin + seconds:
                self._send(connection, now, outcome)
            else:
                connection.close()

        while self._under_way:
            self._collect(outcome, again)
        outcome.took = time.perf_counter() - begin
        return outcome

    def open(self, rate: float, seconds: float, seed: int = 0) -> Outcome:
        """Poisson arrivals of `rate` a second; a request that finds no idle connection opens one."""
        gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
        outcome = Outcome()
        self._idle.extend(Connection(self._address, self._selector) for _ in range(8))
        begin = time.perf_counter() + 0.05
        for due in (begin + np.cumsum(gaps)).tolist():
            while time.perf_counter() < due:
                self._collect(outcome, self._idle.append)
            # The one that was idle longest, so that none is idle so long that the service closes it.
            connection = self._idle.popleft() if self._idle else Connection(self._address, self._selector)
            self._send(connection, due, outcome)
        while self._under_way:
            self._collect(outcome, self._idle.append)
        outcome.took = time.perf_counter() - begin
        while self._idle:
            self._idle.pop().close()
        return outcome

    def _send(self, connection: Connection, due: float, outcome: Outcome) -> None:
        self._under_way.add(connection)
        request = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        try:
            connection.send(request, due)
        except OSError as error:
            self._fail(connection, outcome, type(error).__name__)

    def _collect(self, outcome: Outcome, done: Callable[[Connection], None]) -> None:
        """Take what has come in, without waiting."""
        for key, _ in self._selector.select(0):
            connection = key.data
            try:
                answer = connection.receive()
            except OSError as error:
                self._fail(connection, outcome, type(error).__name__)
                continue
            if answer is None:
                continue
            self._under_way.remove(connection)
            status, body = answer
            if status == 200:
                outcome.seconds.append(time.perf_counter() - connection.due)
                outcome.unfiltered += b'"fail_open":null' not in body
                outcome.versions[body.partition(b'"version":"')[2][:21].decode()] += 1
            else:
                outcome.failed[str(status)] += 1
            done(connection)
        now = time.perf_counter()
        for connection in [c for c in self._under_way if now - c.due > PATIENCE]:
            self._fail(connection, outcome, "no answer")

    def _fail(self, connection: Connection, outcome: Outcome, why: str) -> None:
        """Count it, unless the service only closed a connection that nobody waited for."""
        if connection in self._under_way:
            self._under_way.remove(connection)
            outcome.failed[why] += 1
        else:
            self._idle.remove(connection)
        connection.close()


def main() -> None:
    """stdin: {port, requests: [JSON], mode: closed or open, connections or rate, seconds}; stdout: the outcome."""
    task = json.load(sys.stdin)
    load = Load(task["port"], [_http(body) for body in task["requests"]])
    gc.disable()
    if task["mode"] == "closed":
        outcome = load.closed(task["connections"], task["seconds"])
    else:
        outcome = load.open(task["rate"], task["seconds"])
    json.dump(outcome.json(), sys.stdout)


def _http(body: str) -> bytes:
    content = body.encode()
    return (
        b"POST /v1/filter HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
    )


if __name__ == "__main__":
    main()
