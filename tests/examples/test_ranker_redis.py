"""The ranker with users in a real Redis server: both ways to answer, a dislike from a second process, and the night."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conrec.__main__ import main
from conrec.filter import snapshot as published
from conrec.filter.filter import CoNRecFilter
from tests.examples.conftest import as_run, commands, started
from tests.filter.redis_server import redis_server

pytestmark = pytest.mark.slow

READER, OTHER = "did:example:user0", "did:example:user1"
PUBLISH, RANK, DISLIKE, NIGHT = commands("ranker_redis")[3:]


@pytest.fixture
def folder(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`feed/`, published with its users in Redis; the server can be stopped by closing `server`."""
    server = redis_server(tmp_path)
    monkeypatch.setenv("CONREC_REDIS", next(server))
    shutil.copytree(fitted / "feed", tmp_path / "feed")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(server):
        assert main(PUBLISH[1:]) == 0
        yield tmp_path / "feed"


def ask(ranker: subprocess.Popen, **request: Any) -> dict[str, Any]:
    ranker.stdin.write(json.dumps(request) + "\n")
    ranker.stdin.flush()
    return json.loads(ranker.stdout.readline())


def press(*more: str) -> None:
    """The button, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*as_run(DISLIKE[:3]), *more], check=True, timeout=60, env=environment)


def test_two_ways_to_answer_a_dislike_at_once_and_the_night(folder: Path) -> None:
    manifest = published.read_manifest(folder / "redis" / str(published.current(folder / "redis")))
    assert manifest.users["store"] == "redis"
    with started(RANK, folder.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ranker:
        first = ask(ranker, user=READER, want=10)
        assert len(first["show"]) == 10
        assert first["short"] == 0
        assert first["dropped"]
        assert all("coins" in item for item in first["dropped"])  # what this one dislikes, and the other does not
        assert all("football" in item for item in ask(ranker, user=OTHER, want=10)["dropped"])
        for wrong in ({"user": READER, "want": 0}, {"user": READER, "mode": "shuffle"}, {}):
            assert "error" in ask(ranker, **wrong)

        # A dislike from a second process, and its undo.
        press(READER, first["show"][0])
        after = ask(ranker, user=READER, want=10)
        assert first["show"][0] in after["dropped"]
        assert len(after["show"]) == 10
        assert ask(ranker, user=OTHER, want=50)["show"].count(first["show"][0]) == 1
        press(READER, first["show"][0], "--undo")
        assert ask(ranker, user=READER, want=10)["show"] == first["show"]

        # Where too much goes, the list is filled, but never with what was rejected.
        conrec = CoNRecFilter.load(folder / "redis")
        rejected = [item for item in ask(ranker, user=READER, want=20)["show"] if "coins" not in item]
        for item in rejected:
            conrec.dislike(READER, item, reason="seen_or_bought")
        filled = ask(ranker, user=READER, want=10)
        assert filled["filled"]
        assert len(filled["show"]) == 10
        assert not set(rejected) & set(filled["show"])

        # Tonight all of that is worked into the users in Redis, with the day's log, which knows more.
        elsewhere = ask(ranker, user=OTHER, want=10)["show"][0]
        row = {"user_id": OTHER, "item_id": elsewhere, "time": datetime.now(UTC).isoformat(), "kind": "dislike"}
        Path("day.jsonl").write_text(json.dumps(row) + "\n")
        assert main(NIGHT[1:]) == 0
        newer = published.current(folder / "redis")
        assert newer != filled["snapshot"]
        wait = time.monotonic() + 30
        while (night := ask(ranker, user=READER, want=10))["snapshot"] != newer:
            assert time.monotonic() < wait
            time.sleep(0.1)
        assert not set(rejected) & set(night["show"])
        assert elsewhere in ask(ranker, user=OTHER, want=10)["dropped"]


def test_demoted_by_the_rankers_own_relevance(folder: Path) -> None:
    with started(RANK, folder.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ranker:
        found = ask(ranker, user=READER, want=500, mode="demote")
    relevance = expected_relevance(folder)
    items = sorted(relevance, key=lambda item: -relevance[item])
    conrec = CoNRecFilter.load(folder / "redis")
    decision = conrec.filter(READER, items, mode="demote")
    chances = dict(zip(items, decision.probabilities))
    rejected = set(decision.never_again)
    weighed = {item: relevance[item] - math.log(chances[item] / (1 - chances[item])) for item in items}
    order = sorted((item for item in items if item not in rejected), key=lambda item: -weighed[item])
    assert found["show"] == order[:500]
    assert set(found["dropped"]) == rejected
    coins = [place for place, item in enumerate(order) if "coins" in item]
    before = [place for place, item in enumerate(item for item in items if item not in rejected) if "coins" in item]
    assert all(now > then for now, then in zip(coins[:20], before))


def expected_relevance(folder: Path) -> dict[str, float]:
    """Told anew: the log-odds of a like, with one and two added, less half a unit a day."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    posts = [json.loads(line) for line in (folder / "posts.jsonl").read_text().splitlines()]
    seconds = {post["item_id"]: datetime.fromisoformat(post["first_seen"]).timestamp() for post in posts}
    found = {}
    for item in seconds:
        kinds = [event["kind"] for event in events if event["item_id"] == item]
        likes, views = kinds.count("favorite"), kinds.count("exposure")
        age = (max(seconds.values()) - seconds[item]) / 86_400
        found[item] = math.log((likes + 1) / (views - likes + 3)) - age / 2
    return found


def test_without_redis_the_ranker_gives_its_own_list(folder: Path) -> None:
    with started(RANK, folder.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ranker:
        assert "unfiltered" not in ask(ranker, user=READER, want=5)
        relevance = expected_relevance(folder)
        redis = pytest.importorskip("redis")
        with contextlib.suppress(redis.ConnectionError):
            redis.Redis.from_url(os.environ["CONREC_REDIS"]).shutdown(nosave=True)
        own = sorted(relevance, key=lambda item: -relevance[item])[:5]
        assert ask(ranker, user=READER, want=5) == {"show": own, "unfiltered": True}
