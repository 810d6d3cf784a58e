"""Clients that say nothing, stop half way, or never read: they are let go, and nobody else waits for them."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest

from conrec.serve import connections
from tests.serve.small import IDS, OVER, Client, publish, serving, wait_for

PARTS = [
    b"",
    b"POST /v1/fil",
    b"POST /v1/filter HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{",
    b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /heal",
]
"""What a client sends before it falls silent."""


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    publish(tmp_path / "snapshots")
    return tmp_path / "snapshots"


def connect(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(sent)
    return client


def is_closed(client: socket.socket) -> bool:
    """Whether the other side has gone, after it said whatever it had to say."""
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_who_sends_no_whole_request_is_let_go(snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with serving(snapshots) as client:
        silent = [connect(client.port, sent) for sent in PARTS * 10]
        trickling = connect(client.port)
        idle = Client(client.port)
        idle.get("/healthz")
        end = time.monotonic() + 0.6
        while time.monotonic() < end:  # a byte now and then does not help
            assert client.filter("ann", IDS)["dropped"] == OVER
            try:
                trickling.sendall(b"G")
            except OSError:
                break
            time.sleep(0.05)
        assert all(is_closed(one) for one in [*silent, trickling])
        time.sleep(0.4)
        assert idle.get("/healthz") == {"status": "ok", "version": None, "problem": None}  # that may be idle
        # Whoever hung up is no error of ours.
        found = client.metrics()
        assert found['conrec_requests_total{route="/v1/filter",status="499"}'] == 10
        assert not any('status="500"' in name for name in found)


def test_who_hangs_up_is_no_error(snapshots: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(snapshots) as client:
        for sent in PARTS:
            connect(client.port, sent).close()
        wait_for(lambda: client.metrics().get('conrec_requests_total{route="/v1/filter",status="499"}') == 1)
        assert not any('status="500"' in name for name in client.metrics())
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_who_does_not_take_the_answer_is_let_go(snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)
    lost: list[object] = []
    end = connections.Connection.connection_lost
    monkeypatch.setattr(connections.Connection, "connection_lost", lambda *told: (lost.append(told), end(*told)))
    with serving(snapshots) as client:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", client.port))
        slow.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)  # many answers, of which none is read
        wait_for(lambda: lost)
        assert client.get("/healthz")["status"] == "ok"
        slow.close()


def test_there_are_only_so_many(snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(snapshots, max_connections=5) as client:
        first = [Client(client.port) for _ in range(5)]
        for one in first:
            one.get("/healthz")
        assert is_closed(connect(client.port))
        assert all(one.get("/healthz")["status"] == "ok" for one in first)
        first[0]._connection.close()
        wait_for(lambda: Client(client.port).ask("GET", "/healthz")[0] == 200)

    for files, most, given in ((1024, 100, 100), (1024, 10_000, 1024 - 200), (-1, 10_000, 10_000), (50, 10_000, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, -1))
        assert connections.allowed(most) == given


def test_which_methods_there_are_is_told(snapshots: Path) -> None:
    with serving(snapshots) as client:
        for path, methods in (("/v1/filter", {"POST"}), ("/v1/events", {"POST"}), ("/readyz", {"GET", "HEAD"})):
            status, problem, headers = client.ask("DELETE", path)
            assert (status, set(headers["allow"].split(", "))) == (405, methods)
            assert "Method Not Allowed" in problem["error"]
