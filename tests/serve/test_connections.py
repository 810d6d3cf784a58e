"""Clients that say nothing, stop half way, or never read: they are let go, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from uvicorn.protocols.websockets import auto

from conrec.serve import connections
from tests.serve.small import IDS, OVER, Client, publish, serving, wait_for
from tests.serve.test_access import ask_over_tls, certificate  # noqa: F401 (a fixture)

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


def is_closed_now(client: socket.socket) -> bool:
    """The same, as far as it has been heard."""
    client.settimeout(0)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def succeeds(attempt: Callable[[], bool]) -> bool:
    try:
        return attempt()
    except OSError:
        return False


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


def test_who_asks_for_a_websocket_keeps_no_place(snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Websocket(asyncio.Protocol):
        """What uvicorn gives a connection to where a library for websockets is installed."""

        def __init__(self, **_: object) -> None:
            pass

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    monkeypatch.setattr(auto, "AutoWebSocketsProtocol", Websocket)
    asked = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    asked += "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with serving(snapshots, max_connections=3) as client:
        for _ in range(10):
            with connect(client.port, asked.encode()) as one:
                assert b"200 OK" in one.recv(65536)
            wait_for(lambda: succeeds(lambda: Client(client.port).get("/healthz")["status"] == "ok"))


def test_which_methods_there_are_is_told(snapshots: Path) -> None:
    with serving(snapshots) as client:
        for path, methods in (("/v1/filter", {"POST"}), ("/v1/events", {"POST"}), ("/readyz", {"GET", "HEAD"})):
            status, problem, headers = client.ask("DELETE", path)
            assert (status, set(headers["allow"].split(", "))) == (405, methods)
            assert "Method Not Allowed" in problem["error"]


HELLO = bytes.fromhex("16030100050100")
"""The first bytes of a handshake."""


def half_a_handshake() -> bytes:
    """All that a client says before the server has to answer."""
    said = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="x").do_handshake()
    return said.read()


SILENT = (b"", HELLO, half_a_handshake())


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both event loops that a service may have; a handshake may take three seconds."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 3.0)
    if request.param == "asyncio":
        monkeypatch.setattr(connections, "auto_loop_factory", lambda: asyncio.SelectorEventLoop)
    return request.param


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is open")
def test_who_never_ends_the_handshake_has_a_place_and_is_let_go(
    snapshots: Path,
    certificate: tuple[Path, Path],  # noqa: F811
    loop: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = {"tls_certificate": certificate[0], "tls_key": certificate[1]}
    with serving(snapshots, max_connections=100, **tls) as client, ThreadPoolExecutor(20) as threads:

        def answered(_: object = None) -> bool:
            return ask_over_tls(client.port, certificate[0], "/healthz", None)[0] == 200

        def all_answered(clients: int) -> bool:
            return all(threads.map(answered, range(clients)))

        def held(ours: int) -> int:
            return len(os.listdir("/proc/self/fd")) - ours

        assert all_answered(1)
        before = held(0)
        few = [connect(client.port, sent) for sent in SILENT * 20]
        assert all_answered(200)  # of these 20 at once: there is room for them
        wait_for(lambda: all(is_closed_now(one) for one in few))

        begin = time.monotonic()
        silent = [connect(client.port, sent) for sent in SILENT * 100]
        wait_for(lambda: sum(map(is_closed_now, silent)) == 200, seconds=2)
        assert not any(map(is_closed_now, silent[:50]))  # first come, first served
        with pytest.raises(OSError):
            answered()
        assert held(len(few) + len(silent)) <= before + 100
        assert time.monotonic() - begin < 3
        wait_for(lambda: all(map(is_closed_now, silent)), seconds=10)
        assert time.monotonic() - begin > 2.5
        assert all_answered(200)

        for sent in (b"GET / HTTP/1.1\r\n\r\n", *SILENT) * 50:  # no TLS, and who hangs up half way
            connect(client.port, sent).close()
        wait_for(lambda: held(len(few) + len(silent)) <= before)
        time.sleep(0 if loop == "uvloop" else 3.0)
        assert all_answered(200)

        context = ssl.create_default_context(cafile=str(certificate[0]))
        whole = [context.wrap_socket(connect(client.port), server_hostname="127.0.0.1") for _ in range(100)]
        with pytest.raises(OSError):
            answered()
        whole.pop().close()
        wait_for(lambda: succeeds(answered))
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")]
