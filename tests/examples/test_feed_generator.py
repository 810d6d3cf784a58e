"""The feed generator: a recorded conversation with the real server, a crash, and the night after it."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from conrec.__main__ import main
from conrec.filter import snapshot as published
from conrec.filter.feedback import FILE
from conrec.filter.filter import CoNRecFilter
from tests.examples.conftest import ROOT, commands, started

pytestmark = pytest.mark.slow

READER, NEWCOMER = "did:example:user0", "did:example:newcomer"
SKELETON, INTERACTIONS = "/xrpc/app.bsky.feed.getFeedSkeleton", "/xrpc/app.bsky.feed.sendInteractions"
FEED = "at://did:example:owner/app.bsky.feed.generator/newest"
CONVERSATION = (ROOT / "examples" / "feed_generator" / "conversation.jsonl").read_text(encoding="utf-8")


class Server:
    """The program, and what its answers have told so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.told: dict[str, Any] = {"$long": "x" * 2001}

    def ask(self, step: dict[str, Any]) -> tuple[int, Any]:
        """The status and the answer of one step of the conversation."""
        path = step.get("get") or step["post"]
        claims = {"iss": step.get("user"), "aud": "did:web:feeds.example.org", "exp": time.time() + 60}
        claims |= {"lxm": path.removeprefix("/xrpc/"), **step.get("claims", {})}
        parts = (json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "ES256K"}, claims, "not checked"))
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        headers = {"authorization": f"Bearer {token}"} if "user" in step else {}
        query, body = self.filled(step.get("query", {})), self.filled(step.get("body"))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        asked = f"{path}?{urlencode(query)}" if query else path
        connection.request("GET" if "get" in step else "POST", asked, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        found = answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else text
        connection.close()
        return found

    def page(self, user: str | None, **query: str) -> dict[str, Any]:
        step = {"get": SKELETON, "query": {"feed": FEED, **query}} | ({"user": user} if user else {})
        status, answer = self.ask(step)
        assert status == 200
        return answer

    def filled(self, value: Any) -> Any:
        """With what was told in place of names such as `$cursor`."""
        if isinstance(value, dict):
            return {key: self.filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.filled(inner) for inner in value]
        return self.told.get(value, value) if isinstance(value, str) else value

    def agree(self, expected: Any, found: Any) -> bool:
        """Whether an answer is the expected one; a name that is met for the first time stands for what was found."""
        if isinstance(expected, str) and expected.startswith("$"):
            return bool(isinstance(found, str) and found and self.told.setdefault(expected, found) == found)
        if isinstance(expected, dict) and isinstance(found, dict):
            return expected.keys() == found.keys() and all(self.agree(expected[key], found[key]) for key in expected)
        if isinstance(expected, list) and isinstance(found, list):
            return len(expected) == len(found) and all(map(self.agree, expected, found))
        return bool(expected == found)


@pytest.fixture
def folder(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`feed/`, published."""
    shutil.copytree(fitted / "feed", tmp_path / "feed")
    monkeypatch.chdir(tmp_path)
    refresh = commands("feed_generator")[3]
    assert refresh[:2] == ["conrec", "refresh"]
    assert main(refresh[1:]) == 0
    return tmp_path / "feed"


def running(folder: Path, kill: bool = False) -> Iterator[Server]:
    """The server as its README starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with started([*commands("feed_generator")[4], "--port", str(port)], folder.parent) as process:
        server = Server(port)
        for _ in range(600):
            try:
                server.ask({"get": "/.well-known/did.json"})
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                time.sleep(0.1)
        yield server
        if kill:
            process.send_signal(signal.SIGKILL)


def uris(page: dict[str, Any]) -> list[str]:
    return [post["post"] for post in page["feed"]]


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted((folder / "log").iterdir()) for line in path.read_text().splitlines()]


def test_the_recorded_conversation_and_the_night_after(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [json.loads(line) for line in CONVERSATION.splitlines()]
    for server in running(folder, kill=True):
        for step in steps:
            status, answer = server.ask(step)
            assert status == step["status"], (step["about"], answer)
            assert server.agree(step["answer"], answer), (step["about"], uris(answer) if "feed" in answer else answer)
        before = server.told

    written = log_of(folder)
    kinds = Counter((line["user_id"], line["kind"]) for line in written)
    assert kinds == {
        (READER, "exposure"): 2,
        (READER, "dislike"): 2,
        (READER, "favorite"): 2,
        (READER, "click"): 1,
        (READER, "undo"): 1,
        (NEWCOMER, "dislike"): 1,
    }
    assert {line["feed_context"] for line in written} == {before["$version"]}
    with open(max((folder / "log").iterdir()), "ab") as file:
        file.write(b'{"user_id": "cut o')  # the process was killed within a line

    # After the crash, everything is delivered again, the last first; in force is what was, nothing is written twice.
    for server in running(folder):
        server.told = before
        for step in reversed(steps):
            if "post" in step and step["status"] == 200:
                assert server.ask(step) == (200, {})
        assert log_of(folder) == written
        assert any("0598" in uri for uri in uris(server.page(READER, limit="20")))  # more of that one in the end
        gone = {uri for uri in uris(server.page(None, limit="20")) if uri not in uris(server.page(READER, limit="20"))}
        disliked = next(line["item_id"] for line in written if line["kind"] == "dislike" and "0590" in line["item_id"])
        assert disliked in gone

        # A post that nobody knows yet passes.
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        new = {
            "item_id": "at://did:example:coins0/app.bsky.feed.post/0600",
            "title": "About coins: token market wallet",
        }
        with open(folder / "posts.jsonl", "a") as file:
            file.write(json.dumps(new | {"first_seen": now}) + "\n")
        assert uris(server.page(READER, limit="20"))[0] == new["item_id"]

        # The night: the log is taken in once, and the server goes on with the new version.
        refresh = commands("feed_generator")[5]
        refresh[refresh.index("--events") + 1] = "feed/log/*.jsonl"  # of two days where midnight has just passed
        capsys.readouterr()
        assert main(refresh[1:]) == 0
        assert "events: 9 read" in capsys.readouterr().out
        newer = published.current(folder / "run" / "snapshots")
        assert newer != before["$version"]
        wait = time.monotonic() + 30
        while (page := server.page(READER, limit="20"))["feed"][0]["feedContext"] != newer:
            assert time.monotonic() < wait
            time.sleep(0.1)
        assert not {disliked, new["item_id"]} & set(uris(page))
        assert new["item_id"] in uris(server.page("did:example:user3", limit="20"))  # who does not mind coins
        assert any("0598" in uri for uri in uris(page))
        assert not any("0598" in uri for uri in uris(server.page(NEWCOMER, limit="20")))
        assert main(refresh[1:]) == 0
        assert "nothing is new" in capsys.readouterr().out

    # The log alone tells it as well: in a folder of snapshots that has not heard what was said at once.
    assert main([*refresh[1:], "--snapshots", "feed/other"]) == 0
    assert not (folder / "other" / FILE).exists()
    conrec = CoNRecFilter.load(folder / "other")
    assert conrec.filter(READER, [disliked, "another"]).never_again == [disliked]
    lost = next(line["item_id"] for line in written if line["user_id"] == NEWCOMER)
    assert conrec.filter(NEWCOMER, [lost, "another"]).never_again == [lost]


def test_where_the_filter_cannot_be_asked_the_page_is_the_rankers_own(folder: Path) -> None:
    (folder / "run" / "snapshots" / FILE).write_text("no database" * 1000)
    for server in running(folder):
        page = server.page(READER, limit="8")
        assert uris(page) == uris(server.page(None, limit="8"))
        assert {post["feedContext"] for post in page["feed"]} == {"unfiltered"}
        # What is pressed is refused, but it is in the log for the night.
        pressed = {"item": uris(page)[0], "event": "app.bsky.feed.defs#requestLess"}
        assert server.ask({"post": INTERACTIONS, "user": READER, "body": {"interactions": [pressed]}})[0] == 500
        assert [(line["item_id"], line["kind"]) for line in log_of(folder)] == [(pressed["item"], "dislike")]


@pytest.mark.parametrize(("user", "reason"), [(READER, None), ("did:example:noscore", "seen_or_bought")])
def test_pages_neither_repeat_nor_skip_whatever_happens_between_them(
    folder: Path, user: str, reason: str | None
) -> None:
    """The second reader has rejected posts in a way that moves no score, so what is shown can be told exactly."""
    posts = [json.loads(line) for line in (folder / "posts.jsonl").read_text().splitlines()]
    newest = [post["item_id"] for post in sorted(posts, key=lambda post: post["first_seen"], reverse=True)]
    conrec = CoNRecFilter.load(folder / "run" / "snapshots")
    shown: list[str] = []
    rejected: list[str] = []
    query = {"limit": "7"}
    for server in running(folder):
        assert uris(server.page(None, limit="100")) == newest[:100]
        for n in range(12):
            page = server.page(user, **query)
            assert not set(rejected) & set(uris(page))
            shown += uris(page)
            assert len(shown) == 7 * (n + 1)
            query["cursor"] = page["cursor"]
            # Another device rejects what was shown and what comes, and somebody posts something.
            ahead = newest[newest.index(shown[-1]) + 5]
            for uri in (shown[-1], ahead):
                conrec.dislike(user, uri, reason)
            rejected.append(ahead)
            with open(folder / "posts.jsonl", "a") as file:
                file.write(json.dumps({"item_id": f"at://new/{n}", "first_seen": "2100-01-01T00:00:00Z"}) + "\n")
        places = [newest.index(uri) for uri in shown]
        assert places == sorted(set(places))
        if reason:
            assert shown == [uri for uri in newest if uri not in rejected][:84]
        # A feed may end with nothing: the last post alone is an unwanted one.
        conrec.dislike(user, newest[-1])
        second = next(post for post in posts if post["item_id"] == newest[-2])
        page = server.page(user, cursor=f"{second['first_seen']}::{second['item_id']}")
        assert page["feed"] == []
        assert "cursor" not in page
