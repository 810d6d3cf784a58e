"""Whatever breaks, the ranker's own list comes back, and somebody can see that it did."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.score.user_history import EVENT, HEAD
from conrec.serve import service
from tests.filter.redis_server import redis_server
from tests.serve.small import IDS, OVER, TITLES, publish, serving, wait_for


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    publish(tmp_path / "snapshots")
    return tmp_path / "snapshots"


def spoil(snapshots: Path) -> None:
    """Write rows beyond the catalogue into ann's history; what is written into the files is what the service sees."""
    histories = np.load(next(snapshots.glob("*/users/histories.npy")), mmap_mode="r+")
    histories[HEAD : HEAD + 4 * EVENT.itemsize].view(EVENT)["item"] = 1_000_000
    histories.flush()


def test_an_inner_error_opens_the_filter(snapshots: Path) -> None:
    with serving(snapshots) as client:
        assert client.filter("ann", IDS)["dropped"] == OVER
        spoil(snapshots)
        broken = client.filter("ann", IDS)
        assert (broken["fail_open"], broken["kept"], broken["dropped"]) == ("error", IDS, [])
        assert broken["scores"] == [None] * len(IDS)
        assert client.filter("nobody", IDS)["fail_open"] is None
        status, problem, _ = client.ask("GET", "/v1/users/ann")
        assert (status, set(problem)) == (500, {"error"})
        assert "1000000" not in problem["error"]
        found = client.metrics()
        assert found['conrec_fail_open_total{cause="error"}'] == 1
        assert client.get("/healthz")["status"] == "ok"


def test_over_the_budget_everything_passes(snapshots: Path) -> None:
    with serving(snapshots, budget_ms=0.001) as client:
        late = client.filter("ann", IDS)
        assert (late["fail_open"], late["kept"]) == ("budget", IDS)
        assert client.metrics()['conrec_fail_open_total{cause="budget"}'] == 1


def test_work_that_takes_too_long_is_not_waited_for(snapshots: Path) -> None:
    long = [{"user": "ann", "candidates": IDS * 1000}] * 20
    with serving(snapshots, max_candidates=10**6, max_body=10**8) as patient:
        answers = patient.post("/v1/filter/batch", {"requests": long})["answers"]
        assert [answer["fail_open"] for answer in answers] == [None] * 20
    with serving(snapshots, max_candidates=10**6, max_body=10**8, budget_ms=40) as client:
        answers = client.post("/v1/filter/batch", {"requests": long})["answers"]
        assert [answer["fail_open"] for answer in answers] == ["budget"] * 20
        assert answers[0]["kept"] == long[0]["candidates"]
        wait_for(lambda: client.filter("ann", IDS)["fail_open"] is None)  # what was left to do does not block for long


def test_without_a_set_it_waits_for_one(tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    with serving(snapshots) as client:
        assert client.filter("ann", IDS)["fail_open"] == "no_snapshot"
        status, answer, _ = client.ask("GET", "/readyz")
        assert status == 503
        assert "no snapshot was published" in answer["problem"]
        assert client.ask("GET", "/v1/users/ann")[0] == 404
        assert client.get("/ui/about")["version"] is None
        assert client.ask("GET", "/ui/users")[0] == 503
        assert client.metrics()["conrec_ready"] == 0
        publish(snapshots)
        wait_for(lambda: client.ask("GET", "/readyz")[0] == 200)
        assert client.filter("ann", IDS)["dropped"] == OVER


def test_a_broken_set_is_refused_and_the_old_one_goes_on(snapshots: Path) -> None:
    with serving(snapshots) as client:
        first = client.filter("ann", IDS)["version"]
        second = publish(snapshots)
        wait_for(lambda: client.filter("ann", IDS)["version"] == second)
        (snapshots / first / "items.parquet").write_bytes(b"PAR1 is broken")
        published.use(snapshots, first)
        wait_for(lambda: client.metrics()['conrec_snapshot_swaps_total{result="refused"}'] == 1)
        answer = client.filter("ann", IDS)
        assert (answer["version"], answer["dropped"]) == (second, OVER)
        assert "items.parquet" in client.get("/readyz")["problem"]
        third = publish(snapshots)
        wait_for(lambda: client.get("/readyz") == {"status": "ready", "version": third, "problem": None})
        found = client.metrics()
        assert found['conrec_snapshot_swaps_total{result="refused"}'] == 1
        assert found['conrec_snapshot_swaps_total{result="taken"}'] == 3
        assert [name for name in found if name.startswith("conrec_snapshot{")] == [
            f'conrec_snapshot{{version="{third}"}}'
        ]


def test_what_is_gone_is_said_and_forgiven_when_it_is_back(snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CHECK_SECONDS", 0.01)
    with serving(snapshots) as client:
        records = next(snapshots.glob("*/users/records.npy"))
        whole = records.read_bytes()
        records.write_bytes(whole[:-1])
        wait_for(lambda: "records.npy" in str(client.get("/readyz")["problem"]))
        assert client.metrics()["conrec_problem"] == 1
        records.write_bytes(whole)
        wait_for(lambda: client.get("/readyz")["problem"] is None)
        assert client.metrics()["conrec_problem"] == 0
        assert client.filter("ann", IDS)["dropped"] == OVER


def test_a_redis_that_came_back_empty_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = pytest.importorskip("redis", reason="the extra `redis` is not installed")
    monkeypatch.setattr(service, "CHECK_SECONDS", 0.01)
    for url in redis_server(tmp_path):
        monkeypatch.setenv("CONREC_REDIS", url)
        publish(tmp_path / "snapshots", store="redis")
        with serving(tmp_path / "snapshots") as client:
            assert client.filter("ann", IDS)["dropped"] == OVER
            redis.Redis.from_url(url).flushall()
            wait_for(lambda: client.get("/readyz")["problem"] is not None)
            assert "3 of its 3 users are gone from redis" in client.get("/readyz")["problem"]
            publish(tmp_path / "snapshots", store="redis")
            wait_for(lambda: client.get("/readyz")["problem"] is None)
            assert client.filter("ann", IDS)["dropped"] == OVER


@pytest.mark.parametrize("named", [None, b"", b"20200101T000000Z-0001\n", b"../../etc\n", b"\0\0", b"\xff\xfe"])
def test_a_current_that_names_nothing_is_said_and_the_snapshot_stays(snapshots: Path, named: bytes | None) -> None:
    current = snapshots / "current"
    whole = current.read_bytes()
    with serving(snapshots) as client:
        assert client.filter("ann", IDS)["dropped"] == OVER
        current.unlink() if named is None else current.write_bytes(named)
        wait_for(lambda: client.get("/readyz")["problem"] is not None)
        assert client.metrics()["conrec_problem"] == 1
        answer = client.filter("ann", IDS)
        assert (answer["fail_open"], answer["dropped"]) == (None, OVER)
        current.write_bytes(whole)
        wait_for(lambda: client.get("/readyz")["problem"] is None)


def test_a_redis_that_is_killed_opens_the_filter_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    monkeypatch.setattr(service, "CHECK_SECONDS", 0.01)
    server = redis_server(tmp_path)
    monkeypatch.setenv("CONREC_REDIS", next(server))
    publish(tmp_path / "snapshots", store="redis")
    with serving(tmp_path / "snapshots") as client:
        assert client.filter("ann", IDS)["dropped"] == OVER
        server.close()  # type: ignore[attr-defined]
        answer = client.filter("ann", IDS)
        assert answer["fail_open"] in ("error", "budget")
        assert (answer["kept"], answer["dropped"]) == (IDS, [])
        wait_for(lambda: "does not answer" in str(client.get("/readyz")["problem"]))
        assert client.metrics()["conrec_problem"] == 1
        assert client.get("/healthz")["status"] == "ok"


def test_who_is_exempt_may_change(snapshots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CHECK_SECONDS", 0.01)
    exempt = tmp_path / "exempt.txt"
    exempt.write_text("bob\n")
    with serving(snapshots, exempt=exempt) as client:
        assert client.filter("ann", IDS)["dropped"] == OVER
        exempt.write_text("ann\n")
        os.utime(exempt, (1, 1))  # in the same tick of the clock it would look unchanged
        wait_for(lambda: client.filter("ann", IDS)["exempt"])
        assert not client.filter("bob", IDS)["exempt"]
        exempt.unlink()
        wait_for(lambda: "--exempt" in str(client.get("/readyz")["problem"]))
        assert client.filter("ann", IDS)["exempt"]


def test_a_store_that_fails_does_not_fill_the_log(snapshots: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(snapshots) as client:
        spoil(snapshots)
        for _ in range(20):
            assert client.filter("ann", IDS)["fail_open"] == "error"
        assert client.metrics()['conrec_fail_open_total{cause="error"}'] == 20
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_what_fails_is_logged_without_ids_and_titles(
    snapshots: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: object, user: str, *rest: object, **more: object) -> None:
        raise KeyError(user, TITLES[2])

    with serving(snapshots) as client:
        for name in ("filter", "user"):
            monkeypatch.setattr(f"conrec.filter.filter.CoNRecFilter.{name}", fails)
        assert client.filter("ann", IDS)["fail_open"] == "error"
        status, answer, _ = client.ask("GET", "/v1/users/ann")
    assert (status, answer) == (500, {"error": "an inner error; the service's log says which"})
    passed, inner = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    for said in (passed, inner):
        assert "KeyError" in said
        assert "in fails" in said  # where it happened
        assert not any(word in said for word in ("'ann'", "/ann", TITLES[2]))
    assert "/v1/users/{user:id}" in inner


def test_sets_change_under_load_without_a_failed_request(snapshots: Path) -> None:
    seen: list[tuple[int, str | None, str | None]] = []
    stop = threading.Event()

    def ask(client) -> None:
        while not stop.is_set():
            status, answer, _ = client.ask("POST", "/v1/filter", {"user": "ann", "candidates": IDS})
            good = status == 200 and answer["dropped"] == OVER
            seen.append((status if good else 0, answer.get("fail_open"), answer.get("version")))

    with serving(snapshots) as client:
        workers = [threading.Thread(target=ask, args=(type(client)(client.port),)) for _ in range(3)]
        for worker in workers:
            worker.start()
        versions = [client.get("/readyz")["version"]]
        for _ in range(5):  # more than the three that are kept: the first is deleted while it may be in use
            version = publish(snapshots)
            versions.append(version)
            wait_for(lambda version=version: seen and seen[-1][2] == version)
        stop.set()
        for worker in workers:
            worker.join()
    assert {(status, opened) for status, opened, _ in seen} == {(200, None)}
    assert {version for _, _, version in seen} == set(versions)
    assert not (snapshots / versions[0]).exists()


def test_a_disk_that_refuses_a_dislike_is_no_fault_of_the_program(
    snapshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, *rest: object) -> None:
        raise ConrecError("feedback.sqlite: database or disk is full")

    with serving(snapshots) as client:
        with monkeypatch.context() as patch:
            patch.setattr("conrec.filter.filter.CoNRecFilter.record_each", full)
            status, answer, _ = client.ask("POST", "/v1/users/ann/dislikes", {"item": IDS[0]})
            assert (status, answer) == (503, {"error": "an inner error; the service's log says which"})
        assert client.ask("POST", "/v1/users/ann/dislikes", {"item": IDS[0]})[0] == 200
