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
from itertools import cycle, repeat
from operator import itemgetter

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
        self.outcome = Outcome()
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selector
        selector.register(self.socket, selectors.EVENT_READ, self)
        self._got = bytearray()
        self.due = 0.0

    def send(self, request: bytes, due: float, outcome: Outcome) -> None:
        self.due, self.outcome = due, outcome
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

    def __init__(self, port: int) -> None:
        self._address = "127.0.0.1", port
        self._selector = selectors.DefaultSelector()
        self._under_way: set[Connection] = set()
        self._idle: deque[Connection] = deque()

    def closed(self, requests: list[bytes], connections: int, seconds: float) -> Outcome:
        """So many connections, each sending its next request as soon as the one before is answered."""
        outcome, following = Outcome(), cycle(requests)
        begin = time.perf_counter()
        for _ in range(connections):
            self._send(Connection(self._address, self._selector), next(following), time.perf_counter(), outcome)

        def again(connection: Connection) -> None:
            now = time.perf_counter()
            if now < begin + seconds:
                self._send(connection, next(following), now, outcome)
            else:
                connection.close()

        while self._under_way:
            self._collect(again)
        outcome.took = time.perf_counter() - begin
        return outcome

    def open(self, streams: list[tuple[list[bytes], float]], seconds: float, seed: int = 0) -> list[Outcome]:
        """Requests of several streams, each in Poisson arrivals of its rate a second; one outcome a stream.

        A request that finds no idle connection opens one.
        """
        rng, arrivals, outcomes = np.random.default_rng(seed), [], []
        for requests, rate in streams:
            times = np.cumsum(rng.exponential(1 / rate, round(rate * seconds)))
            outcomes.append(Outcome())
            arrivals += zip(times.tolist(), cycle(requests), repeat(outcomes[-1]))
        arrivals.sort(key=itemgetter(0))
        self._idle.extend(Connection(self._address, self._selector) for _ in range(8))
        begin = time.perf_counter() + 0.05
        for after, request, outcome in arrivals:
            while time.perf_counter() < begin + after:
                self._collect(self._idle.append)
            try:
                # The one that was idle longest, so that none is idle so long that the service closes it.
                connection = self._idle.popleft() if self._idle else Connection(self._address, self._selector)
            except OSError as error:
                outcome.failed[type(error).__name__] += 1
                continue
            self._send(connection, request, begin + after, outcome)
        while self._under_way:
            self._collect(self._idle.append)
        for outcome in outcomes:
            outcome.took = time.perf_counter() - begin
        while self._idle:
            self._idle.pop().close()
        return outcomes

    def _send(self, connection: Connection, request: bytes, due: float, outcome: Outcome) -> None:
        self._under_way.add(connection)
        try:
            connection.send(request, due, outcome)
        except OSError as error:
            self._fail(connection, type(error).__name__)

    def _collect(self, done: Callable[[Connection], None]) -> None:
        """Take what has come in, without waiting."""
        for key, _ in self._selector.select(0):
            connection = key.data
            try:
                answer = connection.receive()
            except OSError as error:
                self._fail(connection, type(error).__name__)
                continue
            if answer is None:
                continue
            self._under_way.remove(connection)
            (status, body), outcome = answer, connection.outcome
            if status == 200:
                outcome.seconds.append(time.perf_counter() - connection.due)
                outcome.unfiltered += b'"fail_open":"' in body
                outcome.versions[body.partition(b'"version":"')[2][:21].decode()] += 1
            else:
                outcome.failed[str(status)] += 1
            done(connection)
        now = time.perf_counter()
        for connection in [c for c in self._under_way if now - c.due > PATIENCE]:
            self._fail(connection, "no answer")

    def _fail(self, connection: Connection, why: str) -> None:
        """Count it, unless the service only closed a connection that nobody waited for."""
        if connection in self._under_way:
            self._under_way.remove(connection)
            connection.outcome.failed[why] += 1
        else:
            self._idle.remove(connection)
        connection.close()


def main() -> None:
    """stdin: {port, seconds, streams: [{requests: [[path, JSON or null]], rate}]}, or for a closed loop {connections}
    and one stream without a rate; stdout: the outcomes, one a stream."""
    task = json.load(sys.stdin)
    load = Load(task["port"])
    streams = [([_http(*request) for request in one["requests"]], one.get("rate")) for one in task["streams"]]
    gc.disable()
    if "connections" in task:
        outcomes = [load.closed(streams[0][0], task["connections"], task["seconds"])]
    else:
        outcomes = load.open(streams, task["seconds"])
    json.dump([outcome.json() for outcome in outcomes], sys.stdout)


def _http(path: str, body: str | None) -> bytes:
    """A request: POST with this JSON, or GET without any."""
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    content = body.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


if __name__ == "__main__":
    main()
