"""Who may ask for what: tokens and roles, TLS, and the page and the ranker's endpoints apart; over real sockets."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conrec.errors import ConrecError
from conrec.serve import access
from conrec.serve.settings import read_settings
from conrec.serve.web import Refused
from tests.serve.small import EVIL, IDS, OVER, Client, command, publish, serving, wait_for, wait_for_page, write_run
from tests.serve.test_page import Tab, browser  # noqa: F401 (a fixture)

RANKER, NEXT, OPERATOR = "ranker-token-0123456789", "ranker-token-9876543210", "operator-token-0123456"
TOKENS = f"# handed out in May\nranker {RANKER}\n\nranker   {NEXT}\noperator {OPERATOR}\n"
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
OF_A_RANKER = {("POST", "/v1/filter"), ("POST", "/v1/filter/batch"), ("POST", "/v1/events")}


def sent(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access") / "snapshots"
    publish(folder)
    return folder


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    (tmp_path / "tokens").write_text(TOKENS)
    return tmp_path / "tokens"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=conrec"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_each_role_may_ask_for_its_own(snapshots: Path, tokens: Path) -> None:
    """Every endpoint of the service's own description, and the files of the page."""
    with serving(snapshots, tokens=tokens) as client:
        paths = client.get("/openapi.json")["paths"]
        asked = {(method.upper(), path) for path, methods in paths.items() for method in methods}
        assert asked > OPEN | OF_A_RANKER
        for method, path in sorted(asked | {("GET", "/"), ("GET", "/page/app.js")}):
            told = paths.get(path, {}).get(method.lower(), {})
            assert told.get("security", [{"token": []}]) == ([{}] if (method, path) in OPEN else [{"token": []}])
            for token in (None, "x" * 30, RANKER, NEXT, OPERATOR):
                status, answer, headers = client.ask(method, path.replace("{user}", "ann"), {}, sent(token))
                known, operator = token in (RANKER, NEXT, OPERATOR), token == OPERATOR
                expected = 200 if known or (method, path) in OPEN else 401
                if expected == 200 and not operator and (method, path) not in OPEN | OF_A_RANKER:
                    expected = 403
                assert (status if status in (401, 403) else 200) == expected, (method, path, token)
                if expected != 200:
                    assert set(answer) == {"error"}
                    assert "\n" not in answer["error"]
                    assert str(token) not in str((answer, headers))
                    assert str(status) in told.get("responses", {"401": 0, "403": 0})
                assert ("www-authenticate" in headers) == (expected == 401)
        # What they are there for.
        assert client.ask("POST", "/v1/filter", {"user": "ann", "candidates": IDS}, sent(RANKER))[1]["dropped"] == OVER
        event = {"id": "e1", "user": "bob", "item": "i9"}
        assert client.ask("POST", "/v1/events", {"events": [event]}, sent(NEXT))[1] == {"new": 1, "repeated": 0}
        assert client.ask("GET", "/v1/users/ann", None, sent(OPERATOR))[1]["user"] == "ann"
        assert client.ask("GET", "/v1/users/ann", None, {"Authorization": f"bearer  {OPERATOR} "})[0] == 200
        for form in ("", "Bearer", "Basic !", "Basic", "Bearer " + "é" * 20, OPERATOR):
            assert client.ask("GET", "/v1/users/ann", None, {"Authorization": form})[0] == 401, form


def test_an_address_may_ask_so_often(snapshots: Path) -> None:
    asked = "POST", "/v1/filter", {"user": "ann", "candidates": IDS}
    with serving(snapshots, max_rate=5) as client:
        answers = [client.ask(*asked) for _ in range(9)]
        statuses = [status for status, _, _ in answers]
        assert statuses in ([200] * 5 + [429] * 4, [200] * 6 + [429] * 3)
        assert "more than 5 requests a second" in answers[-1][1]["error"]
        assert answers[-1][2]["retry-after"] == "1"
        for _ in range(20):
            client.get("/healthz")
        time.sleep(0.5)
        assert client.ask(*asked)[0] == 200


def test_the_rate_is_that_of_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(access, "ADDRESSES", 50)
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    rate, passed = access.Rate(2.0), Counter[str]()
    for step in range(400):
        now[0] = 100 + step / 20  # twenty a second from each of two, for twenty seconds
        for who in ("a", "b", f"other {step}"):
            with contextlib.suppress(Refused):
                rate.check({"client": (who, 1)})
                passed[who] += 1
    assert 40 <= passed["a"] == passed["b"] <= 43
    assert all(passed[f"other {step}"] == 1 for step in range(400))
    assert len(rate._paid_until) <= 60


def test_a_token_is_handed_out_before_the_old_one_goes(snapshots: Path, tokens: Path) -> None:
    with serving(snapshots, tokens=tokens) as client:

        def status(token: str) -> int:
            return client.ask("POST", "/v1/filter", {"user": "ann", "candidates": []}, sent(token))[0]

        assert (status(RANKER), status(NEXT)) == (200, 200)
        tokens.write_text(f"ranker {NEXT}\n")
        wait_for(lambda: status(RANKER) == 401)
        assert (status(NEXT), status(OPERATOR)) == (200, 401)
        # A mistake changes nothing, and is said.
        tokens.write_text(f"ranker {NEXT}\nranger {RANKER}\n")
        wait_for(lambda: "line 2" in (client.get("/readyz")["problem"] or ""))
        assert RANKER not in str(client.get("/readyz"))
        assert (status(NEXT), status(RANKER)) == (200, 401)
        tokens.unlink()
        wait_for(lambda: "cannot be used" in (client.get("/readyz")["problem"] or ""))
        assert (status(NEXT), status(RANKER)) == (200, 401)
        tokens.write_text(f"operator {RANKER}\n")
        wait_for(lambda: client.get("/readyz")["problem"] is None)
        assert (status(NEXT), status(RANKER)) == (401, 200)


def test_tokens_change_without_a_snapshot(tmp_path: Path, tokens: Path) -> None:
    with serving(tmp_path, tokens=tokens) as client:
        asked = ("POST", "/v1/filter", {"user": "ann", "candidates": ["i1"]}, sent(RANKER))
        assert client.ask(*asked)[1]["fail_open"] == "no_snapshot"
        tokens.write_text(f"ranker {NEXT}\n")
        wait_for(lambda: client.ask(*asked)[0] == 401)


def test_every_token_is_compared_and_in_constant_time(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    one_by_one = access.hmac.compare_digest

    def counted(known: bytes, given: bytes) -> bool:
        compared.append((known, given))
        return one_by_one(known, given)

    monkeypatch.setattr(access.hmac, "compare_digest", counted)
    asked = access.Access(tokens)
    asked.check({"headers": [(b"authorization", f"Bearer {RANKER}".encode())]}, "ranker")
    assert len(compared) == 3  # no early end at the first
    assert {len(part) for pair in compared for part in pair} == {32}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no token"),
        ("# nobody\n", "holds no token"),
        (f"{RANKER}\n", "line 1"),
        (f"ranker {RANKER}\nadmin {OPERATOR}\n", "line 2"),
        ("ranker short\n", "line 1"),
        (f"ranker {RANKER} {NEXT}\n", "line 1"),
        ("ranker \xff" + "x" * 20, "line 1"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConrecError) as error:
        access.Access(path)
    assert str(error.value).startswith(f"--tokens {path}: ")
    assert said in str(error.value)
    assert not any(token in str(error.value) for token in (RANKER, OPERATOR, "short"))


def test_the_page_in_a_browser_asks_for_the_token_once(browser: Any, tmp_path: Path, tokens: Path) -> None:  # noqa: F811
    run = write_run(tmp_path / "run")
    publish(tmp_path / "snapshots")
    with serving(tmp_path / "snapshots", run=run, tokens=tokens) as client:
        header = {"Authorization": "Basic " + base64.b64encode(f"me:{OPERATOR}".encode()).decode()}
        wait_for(lambda: client.ask("GET", "/ui/about", None, header)[1]["version"] is not None)
        credentials = {"username": "whoever", "password": OPERATOR}
        with Tab(browser, client, http_credentials=credentials) as tab:
            page = tab.open("#/users/ann")
            assert EVIL in page.inner_text("#content")
            assert page.evaluate("[...document.images].some(i => i.naturalWidth > 0)")  # which sends no header of ours
            tab.open("#/report")
            assert page.frames[-1].inner_text("p") == "The report"
        with Tab(browser, client, http_credentials=credentials | {"password": RANKER}) as tab:
            assert tab.page.goto(tab.home).status == 403
            tab.page.wait_for_load_state("networkidle")  # a browser also asks for an icon, and says that there is none
            tab.said.clear()


def test_page_and_ranker_apart(tmp_path: Path) -> None:
    publish(tmp_path / "snapshots")
    of_the_page, of_a_ranker = ("/", "/ui/about", "/report", "/page/app.js"), ("/v1/filter", "/v1/events")

    def there(client: Client, method: str, path: str) -> bool:
        return client.ask(method, path, {} if method == "POST" else None)[0] != 404

    with serving(tmp_path / "snapshots", api=False, run=write_run(tmp_path / "run")) as client:
        wait_for_page(client)
        assert all(there(client, "GET", path) for path in of_the_page)
        assert not any(there(client, "POST", path) for path in of_a_ranker)
        assert "/v1/filter" not in client.get("/openapi.json")["paths"]
        client.post("/v1/users/ann/dislikes", {"item": "i3"})  # as the page does
        assert "i3" in str(client.get("/v1/users/ann")["dislikes"])
    with serving(tmp_path / "snapshots", page=False) as client:
        assert not any(there(client, "GET", path) for path in of_the_page)
        assert all(there(client, "POST", path) for path in of_a_ranker)


def ask_over_tls(port: int, trusted: Path, path: str, token: str | None, body: Any = None) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(trusted))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    connection.request("GET" if body is None else "POST", path, body and json.dumps(body), sent(token))
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_the_process_speaks_tls_and_says_no_token(
    snapshots: Path, tokens: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    start, port = command(snapshots)
    start += ["--tls-certificate", str(certificate[0]), "--no-page"]
    told = os.environ | {"CONREC_TOKENS": str(tokens), "CONREC_TLS_KEY": str(certificate[1])}
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(start, stdout=out, stderr=out, env=told)
    try:

        def ready() -> bool:
            try:
                return ask_over_tls(port, certificate[0], "/readyz", None)[0] == 200
            except ConnectionRefusedError:
                return False

        wait_for(ready, seconds=60)
        asked = {"user": "ann", "candidates": IDS}
        assert ask_over_tls(port, certificate[0], "/v1/filter", RANKER, asked)[1]["dropped"] == OVER
        assert ask_over_tls(port, certificate[0], "/v1/filter", "wrong-token-0123456789", asked)[0] == 401
        assert ask_over_tls(port, certificate[0], "/v1/users/ann", RANKER)[0] == 403
        assert ask_over_tls(port, certificate[0], "/", OPERATOR)[0] == 404
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            Client(port).get("/healthz")  # without TLS
        tokens.write_text("ranker no\n")
        wait_for(lambda: ask_over_tls(port, certificate[0], "/readyz", None)[1]["problem"] is not None)
    finally:
        process.terminate()
        process.wait(30)
    logged = said.read_text()
    assert "is in use" in logged
    assert not any(secret in logged for secret in (RANKER, NEXT, OPERATOR, "wrong-token", "/ann", "i12"))


def test_the_image_asks_whether_it_is_healthy_with_tls_and_without(
    snapshots: Path, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """`deploy/health`, which the Dockerfile names."""
    root = Path(__file__).parents[2]
    assert "COPY deploy/health /usr/local/bin/conrec-health" in (root / "deploy" / "Dockerfile").read_text()

    def asked(port: int) -> int:
        command = [sys.executable, str(root / "deploy" / "health")]
        return subprocess.run(command, env=os.environ | {"CONREC_PORT": str(port)}, timeout=30).returncode

    tls = {"tls_certificate": certificate[0], "tls_key": certificate[1]}
    for settings in ({}, tls):
        with serving(snapshots, **settings) as client:
            assert asked(client.port) == 0
        assert asked(client.port) == 1  # it is gone
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.fixture
def locked(certificate: tuple[Path, Path], tmp_path: Path) -> Path:
    """A key that asks for a password."""
    path = tmp_path / "locked.pem"
    to = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", str(certificate[1]), "-out", str(path)]
    subprocess.run(to, check=True, capture_output=True)
    return path


def test_tls_files_that_cannot_be_used(tmp_path: Path, certificate: tuple[Path, Path], locked: Path) -> None:
    cert, key = certificate
    for one, other, said in (
        (cert, None, "--tls-key None"),
        (None, key, "--tls-certificate None"),
        (cert, tmp_path / "gone.pem", "No such file"),
        (cert, cert, "--tls-key"),
        (key, key, "--tls-key"),
        (cert, locked, "--tls-key"),  # and no prompt that waits for ever
    ):
        with pytest.raises(ConrecError, match=r"^--tls-certificate .*not usable") as error:
            read_settings(snapshots=tmp_path, tls_certificate=one, tls_key=other)
        assert said in str(error.value)
        assert "\n" not in str(error.value)
    assert read_settings(snapshots=tmp_path, tls_certificate=cert, tls_key=key).tls_key == key
    both = tmp_path / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    assert read_settings(snapshots=tmp_path, tls_certificate=both).tls_key is None


def test_flags_and_variables_of_access(tmp_path: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONREC_TOKENS", str(tokens))
    monkeypatch.setenv("CONREC_API", "no")
    settings = read_settings(snapshots=tmp_path)
    assert (settings.tokens, settings.api, settings.page) == (tokens, False, True)
