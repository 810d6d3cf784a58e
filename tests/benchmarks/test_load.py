"""The load generator against a service that misbehaves: what goes wrong is counted, and who had to wait is heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import load
from benchmarks.load import Load, Outcome, _http

GOOD = b'{"kept":[],"version":"20261122T021500Z-0001","fail_open":null}'
OPEN = b'{"kept":[],"version":null,"fail_open":"budget"}'


@contextmanager
def service(answer: Callable[[int], tuple[int, bytes] | None], patience: float | None = None) -> Iterator[int]:
    """Answers request number n with a status and a body, or hangs up; closes what is idle; its port."""
    count, counting = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = patience

        def do_POST(self) -> None:
            assert self.rfile.read(int(self.headers["content-length"])) == b"{}"
            with counting:
                count[0] += 1
                number = count[0]
            found = answer(number)
            if found is None:
                self.close_connection = True
                return
            status, body = found
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            self.wfile.write(head + body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def by_turns(number: int) -> tuple[int, bytes] | None:
    return [(200, GOOD), (500, b"{}"), (200, OPEN), None, (200, GOOD)][number % 5]


@pytest.mark.parametrize("way", ["open", "closed"])
def test_every_request_is_counted(way: str) -> None:
    with service(by_turns) as port:
        one, requests = Load(port), [_http("/", "{}")]
        outcome = one.open([(requests, 100)], 0.5)[0] if way == "open" else one.closed(requests, 3, 0.3)
    found = outcome.json()
    if way == "open":
        assert found["requests"] == 50
        assert found["failures"] == {"500": 10, "ConnectionError": 10}
        assert found["unfiltered"] == 10
    assert found["requests"] == len(outcome.seconds) + found["failed"]
    assert set(found["versions"]) <= {"20261122T021500Z-0001", ""}
    assert found["p99_ms"] is None or found["p50_ms"] <= found["p99_ms"] <= found["worst_ms"]


def test_an_open_loop_charges_a_stall_to_all_whom_it_kept_waiting() -> None:
    stalled = threading.Lock()

    def answer(number: int) -> tuple[int, bytes]:
        with stalled:
            time.sleep(0.4 if number == 10 else 0)
        return 200, GOOD

    with service(answer) as port:
        (outcome,) = Load(port).open([([_http("/", "{}")], 100)], 1.0)
    # Some forty were due during the stall and waited half of it on average; a closed loop would have seen one.
    assert sum(seconds > 0.1 for seconds in outcome.seconds) > 15
    assert len(outcome.seconds) == 100


def test_no_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PATIENCE", 0.3)
    done = threading.Event()

    def answer(number: int) -> tuple[int, bytes]:
        if number == 3:
            done.wait(5)
        return 200, GOOD

    with service(answer) as port:
        (outcome,) = Load(port).open([([_http("/", "{}")], 50)], 0.4)
        done.set()
    assert outcome.failed == {"no answer": 1}
    assert len(outcome.seconds) == 19


def test_streams_are_counted_apart() -> None:
    with service(lambda number: (200, GOOD)) as port:
        one, other = Load(port).open([([_http("/a", "{}")], 100), ([_http("/b", "{}")], 40)], 0.5)
    assert (len(one.seconds), len(other.seconds)) == (50, 20)


@pytest.mark.slow
def test_idle_connections_may_be_closed() -> None:
    with service(lambda number: (200, GOOD), patience=0.05) as port:
        (outcome,) = Load(port).open([([_http("/", "{}")], 10)], 2.0)
    # One may be closed in the very moment of sending; the others are replaced.
    assert len(outcome.seconds) >= 18


def test_nothing_at_all() -> None:
    assert Outcome(took=1.0).json()["p99_ms"] is None
