"""The endpoints that a ranker and an operator call, over real HTTP."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from conrec.filter.feedback import Feedback
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails, Limits
from conrec.filter.snapshot import current, read_manifest
from tests.filter.published import RandomScore
from tests.filter.redis_server import redis_server
from tests.serve.small import EVIL, EVIL_USER, IDS, OVER, SCORES, THRESHOLD, Client, publish, serving


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "snapshots"
    publish(folder)
    return folder


@pytest.fixture(scope="module")
def client(snapshots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    exempt = tmp_path_factory.mktemp("exempt") / "users.txt"
    exempt.write_text("judge\n\nann2\n")
    with serving(snapshots, exempt=exempt, max_candidates=100, max_batch=3, max_body=4096) as client:
        yield client


def test_what_scores_above_the_threshold_goes(client: Client) -> None:
    answer = client.filter("ann", IDS)
    assert answer["dropped"] == OVER
    assert answer["kept"] == [item for item in IDS if item not in OVER]
    assert answer["scores"] == pytest.approx(SCORES.tolist(), abs=1e-5)
    assert answer["threshold"] == THRESHOLD
    assert answer["fail_open"] is None
    assert set(answer["why"]) == set(OVER)
    why = answer["why"]["i5"]
    (reason,) = why["contributions"]
    assert (reason["kind"], reason["name"], reason["past_item"]) == ("content", None, "i7")
    assert reason["amount"] == pytest.approx(np.cos(np.deg2rad(15)), abs=1e-5)
    assert answer["why"]["i0"]["contributions"][0]["past_title"] == EVIL


def test_why_is_what_the_score_added_up(tmp_path: Path) -> None:
    known = RandomScore()
    known.publish(tmp_path)
    candidates = known.items.ids
    asked = CoNRecFilter.load(tmp_path).filter("u9", candidates, threshold=-1000.0)
    with serving(tmp_path) as client:
        answer = client.filter("u9", candidates, threshold=-1000.0)
        described = client.get("/openapi.json")["components"]["schemas"]
    expected = dict(zip(candidates, asked.why))
    assert answer["why"] == msgspec.json.decode(msgspec.json.encode(expected))
    told = [one for why in answer["why"].values() for one in why["contributions"]]
    assert {one["kind"] for one in told} >= {"value", "content", "item"}
    assert set(told[0]) == set(described["Contribution"]["properties"])
    assert set(answer["why"]["i9"]) == set(described["Why"]["properties"])


def test_order_and_repeats_are_kept(client: Client) -> None:
    answer = client.filter("ann", ["i12", "i6", "i3", "i12"])
    assert answer["kept"] == ["i12", "i3", "i12"]
    assert answer["dropped"] == ["i6"]
    assert len(answer["scores"]) == 4


def test_threshold_and_dry_run_of_one_request(client: Client) -> None:
    strict = client.filter("ann", IDS, threshold=0.99)
    assert (strict["dropped"], strict["never_again"]) == (["i0", "i1", "i6", "i7"], ["i1", "i7"])
    dry = client.filter("ann", IDS, dry_run=True)
    assert (dry["kept"], dry["dropped"], dry["would_drop"]) == (IDS, [], OVER)
    assert client.filter("ann", IDS, dry_run=False)["would_drop"] == []


def test_a_list_is_never_emptied(client: Client) -> None:
    answer = client.filter("ann", ["i0", "i1", "i5", "i6"])
    assert answer["never_again"] == ["i1"]
    assert answer["dropped"] == ["i0", "i1", "i6"]  # half of four at most for the score: the worst two
    assert answer["kept_by_limit"] == 1
    assert client.filter("ann", ["i7", "i1"])["kept"] == ["i7"]


def test_who_and_what_is_unknown_passes(client: Client) -> None:
    nobody = client.filter("nobody", IDS)
    assert nobody["unknown_user"]
    assert nobody["kept"] == IDS
    strange = client.filter("ann", ["i0", "new", "i12", EVIL])
    assert strange["unknown_items"] == 2
    assert strange["scores"][1] is None
    assert strange["kept"] == ["new", "i12", EVIL]
    assert client.filter("judge", IDS)["exempt"]
    assert client.filter("bob", IDS)["dropped"] == ["i4"]  # which bob disliked
    assert client.filter("ann", [])["kept"] == []


def test_a_batch_is_its_requests(client: Client) -> None:
    requests = [{"user": "ann", "candidates": IDS}, {"user": "nobody", "candidates": ["i1"]}]
    answers = client.post("/v1/filter/batch", {"requests": requests})["answers"]
    assert answers == [client.filter("ann", IDS), client.filter("nobody", ["i1"])]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"user": "\xff"}', 400, "not JSON"),
        ({"user": "ann"}, 422, "candidates"),
        ({"user": "", "candidates": []}, 422, "$.user"),
        ({"user": "ann", "candidates": ["a", 3]}, 422, "$.candidates[1]"),
        ({"user": "ann", "candidates": "i1"}, 422, "$.candidates"),
        ({"user": "ann", "candidates": [], "treshold": 1}, 422, "treshold"),
        ({"user": "ann", "candidates": [], "threshold": "high"}, 422, "$.threshold"),
        (b'{"user": "ann", "candidates": [], "threshold": 1e999}', 422, "threshold"),
        ({"user": "ann", "candidates": ["i"] * 101}, 422, "101 candidates, at most 100"),
        ({"user": "ann", "candidates": ["i" * 99] * 50}, 413, "at most 4,096"),
    ],
)
def test_a_bad_request_is_told_why(client: Client, body: object, status: int, said: str) -> None:
    got, answer, _ = client.ask("POST", "/v1/filter", body)
    assert (got, set(answer)) == (status, {"error"})
    assert said in answer["error"]
    assert "\n" not in answer["error"]


def test_a_long_body_is_not_read_to_its_end(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.request("POST", "/v1/filter", (b"x" * 1000 for _ in range(6)), encode_chunked=True)
    assert connection.getresponse().status == 413


def test_limits_of_a_batch(client: Client) -> None:
    many = {"requests": [{"user": "ann", "candidates": []}] * 4}
    assert client.ask("POST", "/v1/filter/batch", many)[0] == 422
    together = {"requests": [{"user": "ann", "candidates": ["i"] * 60}] * 2}
    assert "120 candidates" in client.ask("POST", "/v1/filter/batch", together)[1]["error"]


def test_what_is_known_of_a_user(client: Client) -> None:
    view = client.get("/v1/users/ann")
    assert [item["item_id"] for item in view["dislikes"]] == ["i1", "i7"]
    assert [item["item_id"] for item in view["liked"]] == ["i12", "i13"]
    predicted = [(p["item"]["item_id"], p["past_dislike"]["item_id"]) for p in view["predicted"]]
    assert predicted == [("i0", "i1"), ("i6", "i7")]
    assert view["dislikes"][0] == {"item_id": "i1", "title": EVIL, "category": "hats", "codes": [0, 0, 1]}
    assert client.ask("GET", "/v1/users/nobody")[0] == 404
    assert client.get("/v1/users/eve%2F%3Cb%3E%26%3F%23")["user"] == EVIL_USER


def test_health_readiness_and_addresses_that_are_none(client: Client, snapshots: Path) -> None:
    assert client.get("/healthz")["status"] == "ok"
    assert client.get("/readyz") == {
        "status": "ready",
        "version": (snapshots / "current").read_text().strip(),
        "problem": None,
    }
    assert client.ask("GET", "/nowhere")[0] == 404
    assert client.ask("GET", "/v1/filter")[0] == 405
    assert "error" in client.ask("GET", "/nowhere")[1]


def test_every_answer_is_strict_with_browsers(client: Client) -> None:
    for path in ("/", "/healthz", "/v1/users/ann", "/nowhere", "/metrics", "/openapi.json", "/page/app.js"):
        _, _, headers = client.ask("GET", path)
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["content-security-policy"].startswith("default-src 'none'"), path
        assert "unsafe" not in headers["content-security-policy"], path
        assert "access-control-allow-origin" not in headers, path


def test_the_description_holds_together(client: Client) -> None:
    document = client.get("/openapi.json")
    assert {"/v1/filter", "/v1/filter/batch", "/v1/users/{user}", "/healthz", "/readyz", "/metrics"} <= set(
        document["paths"]
    )
    schemas = document["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used <= set(schemas)
    example = client.filter("ann", IDS)
    assert set(example) == set(schemas["FilterAnswer"]["properties"])
    assert schemas["FilterRequest"]["required"] == ["user", "candidates"]


def test_everything_is_counted(snapshots: Path, tmp_path: Path) -> None:
    exempt = tmp_path / "exempt.txt"
    exempt.write_text("judge")
    with serving(snapshots, exempt=exempt) as client:
        client.filter("ann", IDS)
        client.filter("ann", ["i0", "i1", "i5", "i6"])
        client.filter("ann", IDS, dry_run=True)
        client.filter("nobody", IDS)
        client.filter("judge", IDS)
        client.filter("ann", ["new", "newer"])
        client.post("/v1/filter/batch", {"requests": [{"user": "ann", "candidates": ["i0"]}] * 2})
        client.ask("POST", "/v1/filter", b"{")
        client.ask("GET", "/%3Cscript%3E")
        found = client.metrics()
    version = (snapshots / "current").read_text().strip()
    expected = {
        "conrec_decisions_total": 8,
        "conrec_candidates_total": 24 * 4 + 4 + 2 + 2,
        "conrec_dropped_total": 4 + 2,
        "conrec_never_again_total": 2 + 1 + 2,
        "conrec_kept_by_limit_total": 1 + 2,  # a list of one is never emptied
        "conrec_dry_run_total": 6,
        "conrec_unknown_users_total": 1,
        "conrec_unknown_items_total": 2,
        "conrec_exempt_users_total": 1,
        'conrec_fail_open_total{cause="error"}': 0,
        'conrec_fail_open_total{cause="budget"}': 0,
        'conrec_requests_total{route="/v1/filter",status="200"}': 6,
        'conrec_requests_total{route="/v1/filter",status="400"}': 1,
        'conrec_requests_total{route="other",status="404"}': 1,
        'conrec_request_seconds_count{route="/v1/filter"}': 7,
        f'conrec_snapshot{{version="{version}"}}': 1,
        'conrec_snapshot_swaps_total{result="taken"}': 1,
        "conrec_ready": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["conrec_snapshot_age_seconds"] > 0
    assert found['conrec_request_seconds_bucket{le="+Inf",route="/v1/filter"}'] == 7
    assert not any("script" in name for name in found)


@pytest.fixture(params=["mapped", "redis"])
def published(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A snapshot in either store."""
    folder = tmp_path / "snapshots"
    if request.param == "mapped":
        publish(folder)
        yield folder
        return
    for url in redis_server(tmp_path):
        monkeypatch.setenv("CONREC_REDIS", url)
        publish(folder, store="redis")
        yield folder


def test_a_dislike_taken_back_stays_so(published: Path) -> None:
    with serving(published) as client:
        assert client.post("/v1/users/ann/undo", {"item": "i1"}) == {"new": 1, "repeated": 0}
        view = client.get("/v1/users/ann")
        assert [item["item_id"] for item in view["undone"]] == ["i1"]
        assert [one["item"]["item_id"] for one in view["predicted"]] == ["i6"]  # without what followed from it
        assert client.filter("ann", IDS)["never_again"] == ["i7"]
        assert client.post("/v1/users/ann/undo", {"item": "i1"}) == {"new": 0, "repeated": 1}
        assert client.metrics()['conrec_feedback_total{kind="undo"}'] == 1
        assert client.ask("POST", "/v1/users/ann/undo", {"item": "i9"})[0] == 404
        assert client.ask("POST", "/v1/users/nobody/undo", {"item": "i1"})[0] == 404
        assert client.ask("POST", "/v1/users/ann/undo", {"item": "i7"}, {"Content-Type": "text/plain"})[0] == 415
    assert len(Feedback(published).of("ann")) == 1
    with serving(published) as client:
        assert client.filter("ann", IDS)["never_again"] == ["i7"]
        client.post("/v1/users/ann/dislikes", {"item": "i1"})  # the undo is undone
        assert client.filter("ann", IDS)["never_again"] == ["i1", "i7"]
        assert client.get("/v1/users/ann")["undone"] == []


def test_what_is_disliked_is_out_at_once_in_every_process(published: Path) -> None:
    with serving(published) as one, serving(published) as other:
        said = one.post("/v1/users/ann/dislikes", {"item": "i12", "reason": "not_this_store"})
        assert said == {"new": 1, "repeated": 0}
        assert [item["item_id"] for item in other.get("/v1/users/ann")["dislikes"]] == ["i12", "i1", "i7"]
        for client in (one, other):
            answer = client.filter("ann", ["i12", "i13", "i14"])
            assert (answer["dropped"], answer["never_again"]) == (["i12"], ["i12"])
            assert answer["why"]["i12"] == {
                "contributions": [],
                "rejected_item": "i12",
                "muted": None,
            }
        # Of somebody new, of an item that is new, and of one that was bought: never again, too.
        one.post("/v1/users/zoe/dislikes", {"item": "brand new", "time": "2026-03-01T10:00:00Z"})
        one.post("/v1/users/zoe/dislikes", {"item": "i3", "reason": "seen_or_bought"})
        answer = other.filter("zoe", ["i2", "i3", "brand new", "i4"])
        assert (answer["kept"], answer["never_again"]) == (["i2", "i4"], ["i3", "brand new"])
        assert answer["unknown_user"]
        assert [item["item_id"] for item in other.get("/v1/users/zoe")["dislikes"]] == ["brand new", "i3"]
        other.post("/v1/users/zoe/undo", {"item": "brand new"})
        assert one.filter("zoe", ["i2", "i3", "brand new", "i4"])["dropped"] == ["i3"]
        assert one.metrics()["conrec_never_again_total"] == 2
    with serving(published, never_again="off") as client:
        assert client.filter("ann", ["i12", "i13", "i14"])["dropped"] == []


def test_demoted_all_stay_and_the_order_changes(published: Path) -> None:
    with serving(published) as client:
        plain = client.filter("ann", IDS)
        answer = client.filter("ann", IDS, mode="demote")
        assert (answer["dropped"], answer["scores"]) == (["i1", "i7"], plain["scores"])  # which ann disliked
        assert sorted([*answer["kept"], "i1", "i7"]) == sorted(IDS)
        odds = [(n + 1) * np.exp(3 * score) for n, score in enumerate(plain["scores"])]
        order = [IDS[n] for n in np.argsort(odds, kind="stable")]
        assert answer["kept"] == [item for item in order if item not in ("i1", "i7")]
        assert answer["probabilities"] == pytest.approx([1 / (1 + np.exp(-3 * s)) for s in plain["scores"]], abs=1e-5)
        assert plain["probabilities"] == []
        given = client.filter("ann", ["i12", "i6", "i3"], mode="demote", relevance=[1.0, 6.5, 3.0])["kept"]
        assert given == ["i6", "i12", "i3"]  # 6.5 - 3, 1 - 0 and 3 - 2.1
        for bad, said in (
            ({"mode": "soften"}, "$.mode"),
            ({"relevance": [1.0]}, "1 values of relevance for 2 candidates"),
            ({"relevance": [1.0, "high"]}, "$.relevance[1]"),
        ):
            status, problem, _ = client.ask("POST", "/v1/filter", {"user": "ann", "candidates": ["i1", "i2"], **bad})
            assert (status, said in problem["error"]) == (422, True), problem


def test_a_surface_has_a_threshold_and_limits_of_its_own(published: Path, tmp_path: Path) -> None:
    store = read_manifest(published / str(current(published))).users["store"]
    publish(published, surfaces={"home": 0.6, "search": None}, store=store)
    limits = tmp_path / "surfaces.toml"
    limits.write_text('[home]\nmax_drop_share = 0.25\n[mail]\nmode = "demote"\nmin_keep = 20\n')
    loaded = CoNRecFilter.load(
        published, Guardrails(surfaces={"home": Limits(max_drop_share=0.25), "mail": Limits(20, mode="demote")})
    )
    over = [item for item, score in zip(IDS, SCORES) if score > 0.6]
    assert len(over) == 13
    with serving(published, surfaces=limits) as client:
        assert client.filter("ann", IDS)["dropped"] == OVER
        home = client.filter("ann", IDS, surface="home", want=4)
        assert (home["threshold"], home["send"]) == (0.6, 6)
        # Two that ann rejected, and a quarter of the list.
        assert (len(home["dropped"]), home["kept_by_limit"]) == (2 + 6, 13 - 8)
        assert set(home["dropped"]) < set(over)
        # Calibrated without a promise: nothing goes for its score. Limits alone: the threshold of all the others.
        assert client.filter("ann", IDS, surface="search")["dropped"] == ["i1", "i7"]
        mail = client.filter("ann", IDS, surface="mail")
        assert mail["threshold"] == THRESHOLD
        assert mail["kept"] == client.filter("ann", IDS, mode="demote")["kept"]
        dropped = client.filter("ann", IDS, surface="mail", mode="drop")
        assert (len(dropped["kept"]), dropped["dropped"]) == (20, ["i0", "i1", "i6", "i7"])
        assert client.filter("ann", IDS, surface="home", threshold=5.0)["dropped"] == ["i1", "i7"]
        for surface, answer in (("home", home), ("mail", mail)):
            decision = loaded.filter("ann", IDS, surface=surface, want=4 if surface == "home" else None)
            for part in ("kept", "dropped", "threshold", "send", "kept_by_limit", "scores", "probabilities"):
                assert getattr(decision, part) == answer[part], part
        asked = {"user": "ann", "candidates": ["i1"], "surface": "web"}
        for path, body in (
            ("/v1/filter", asked),
            ("/v1/filter/batch", {"requests": [asked]}),
            ("/ui/decide", asked),
            ("/v1/filter", {**asked, "surface": ""}),
        ):
            status, problem, _ = client.ask("POST", path, body)
            assert (status, "there are home, mail, search" in problem["error"]) == (400, True), problem
        with pytest.raises(ValueError, match="surface 'web': there are home, mail, search"):
            loaded.filter("ann", ["i1"], surface="web")
        counted = client.metrics()
        assert counted["conrec_decisions_total"] == 2
        assert counted["conrec_dropped_total"] == len(OVER) - 2
        assert {name: counted[name] for name in counted if "kept_by_limit_total{" in name and counted[name]} == {
            'conrec_kept_by_limit_total{surface="home"}': 5,
            'conrec_kept_by_limit_total{surface="mail"}': 2,
        }
        assert counted['conrec_decisions_total{surface="home"}'] == 2
        assert counted['conrec_dropped_total{surface="home"}'] == 6
        assert not any("web" in name for name in counted)
        assert client.get("/ui/about")["modes"] == {"": "drop", "home": "drop", "mail": "demote", "search": "drop"}
    with serving(published, threshold=5.0) as client:  # for all that have no calibrated one of their own
        assert client.filter("ann", IDS)["dropped"] == ["i1", "i7"]
        assert client.filter("ann", IDS, surface="home")["dropped"] == over
        assert client.ask("POST", "/v1/filter", {**asked, "surface": "mail"})[0] == 400


def test_without_a_snapshot_a_surface_passes_and_is_no_label(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        assert client.filter("ann", ["i1"], surface="home")["fail_open"] == "no_snapshot"
        assert not any("home" in name for name in client.metrics())


def test_what_is_muted_is_out_at_once_in_every_process(published: Path) -> None:
    hats = [item for n, item in enumerate(IDS) if n % 2 and n != 23]
    with serving(published) as one, serving(published) as other:
        view = one.post("/v1/users/ann/mutes", {"kind": "category", "name": "hats"})
        assert view == {"mutes": [{"kind": "category", "name": "hats"}], "suggestions": []}
        answer = other.filter("ann", IDS, threshold=5.0)
        assert (answer["never_again"], answer["muted"]) == (["i1", "i7"], [i for i in hats if i not in ("i1", "i7")])
        assert answer["dropped"] == hats
        assert answer["why"]["i3"]["muted"] == {"kind": "category", "name": "hats"}
        assert other.get("/v1/users/ann/mutes") == view
        one.post("/v1/users/zoe/mutes", {"kind": "word", "name": "Canvas"})  # of whom nothing was known
        answer = other.filter("zoe", [*IDS, "new"])
        assert answer["kept"] == ["i1", "i7", "new"]  # which have other titles
        assert other.metrics()["conrec_muted_total"] == len(hats) - 2 + 22
        assert other.metrics()["conrec_dropped_total"] == 0
        assert other.get("/v1/users/nobody/mutes") == {"mutes": [], "suggestions": []}
        path = "/v1/users/ann/mutes?kind=category&name=hats"
        assert other.ask("DELETE", path)[1]["mutes"] == []
        assert one.filter("ann", IDS, threshold=5.0)["muted"] == []
        assert other.ask("DELETE", path)[0] == 404
        assert other.ask("DELETE", "/v1/users/ann/mutes?kind=topic&name=x")[0] == 422
        for bad, said in (
            ({"kind": "category", "name": "boots"}, "no item has the category 'boots'"),
            ({"kind": "value", "name": "trait: dotted"}, "no item has the value"),
            ({"kind": "word", "name": "  "}, "no item has the word"),
            ({"kind": "word", "name": "x" * 600}, "511"),
            ({"kind": "topic", "name": "x"}, "$.kind"),
        ):
            status, problem, _ = one.ask("POST", "/v1/users/ann/mutes", bad)
            assert (status, said in problem["error"]) == (422, True), problem
        plain = one.ask("POST", "/v1/users/ann/mutes", {"kind": "word", "name": "x"}, {"Content-Type": "text/plain"})
        assert plain[0] == 415
    with serving(published) as client:  # after a restart, and with what was rejected left to the score
        assert client.filter("zoe", IDS)["kept"] == ["i1", "i7"]
        assert set(client.get("/openapi.json")["paths"]["/v1/users/{user}/mutes"]) == {"get", "post", "delete"}


def test_events_come_in_batches_in_any_order_and_count_once(published: Path) -> None:
    def event(number: int, item: str, hour: int, **more: str) -> dict[str, str]:
        return {"id": f"e{number}", "user": "bob", "item": item, "time": f"2026-03-01T{hour:02}:00:00Z", **more}

    with serving(published) as client:
        late = [event(1, "i9", 12, kind="undo"), event(2, "i10", 9), event(3, "i10", 10, kind="undo")]
        assert client.post("/v1/events", {"events": late}) == {"new": 3, "repeated": 0}
        early = [event(4, "i9", 11), event(5, "i10", 11), event(2, "i10", 9)]
        assert client.post("/v1/events", {"events": early}) == {"new": 2, "repeated": 1}
        assert client.post("/v1/events", {"events": early + late}) == {"new": 0, "repeated": 6}
        assert client.filter("bob", ["i8", "i9", "i10", "i11"])["never_again"] == ["i10"]
        for bad, said in (
            (event(6, "i1", 9, reason="ugly"), "ugly"),
            (event(6, "i1", 9, kind="undo", reason="seen_or_bought"), "a dislike may have"),
            (event(6, "i1", 9, kind="click"), "kind"),
            (event(6, "x" * 600, 9), "511"),
            (event(6, "i1", 9) | {"time": "2126-03-01T10:00:00Z"}, "future"),
            (event(6, "i1", 9) | {"time": "yesterday"}, "time"),
        ):
            status, problem, _ = client.ask("POST", "/v1/events", {"events": [event(7, "i2", 9), bad]})
            assert (status, said in problem["error"]) == (422, True), problem
        assert len(Feedback(published).of("bob")) == 5  # nothing of a batch that is refused


def test_without_the_page_nothing_shows_people(snapshots: Path) -> None:
    with serving(snapshots, page=False) as client:
        assert {client.ask("GET", path)[0] for path in ("/", "/ui/about", "/ui/users", "/report", "/page/app.js")} == {
            404
        }
        assert client.filter("ann", IDS)["dropped"] == OVER
