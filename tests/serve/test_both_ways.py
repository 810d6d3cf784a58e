"""What people mean by "not interested" (docs/feedback.md): all of it through the library and through the service, with
the users in mapped files and in Redis."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from conrec.filter.decision import Decided
from conrec.filter.feedback import Entry
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails, Limits
from conrec.filter.mutes import Mute
from conrec.filter.publish import write_snapshot
from conrec.score.factors import ItemFactors
from conrec.score.probability import DislikeProbability
from conrec.score.user_history import EVENT, SHOWN, History
from tests.filter.published import FACTORS, ITEMS, RandomScore
from tests.filter.redis_server import redis_server
from tests.serve.small import Client, command, is_ready, serving, wait_for

DAY = 86_400_000_000
CHANCES = DislikeProbability([-2.0, 2.0], [-4.0, 2.0], -1.5)
REJECTED, TWIN, COUSIN, LIKED, LIKED_TWIN, BOUGHT = 20, 21, 22, 23, 24, 25
"""Rows. u9 disliked the first, and liked LIKED and the other twin of what was disliked; BOUGHT was bought."""
PLAIN = [f"i{row}" for row in range(30, 50)]
"""Of which u9 said nothing."""


def known(user: str = "u9") -> RandomScore:
    """A score in which REJECTED has two twins, of which all but u9 said nothing."""
    score = RandomScore()
    vectors = score.items.factors.vectors.copy()
    for twin in (TWIN, LIKED_TWIN):
        vectors[twin, FACTORS:] = 2 * vectors[REJECTED, FACTORS:]
    vectors[COUSIN, FACTORS:] = vectors[REJECTED, FACTORS:] + 0.5 * vectors[COUSIN, FACTORS:]
    score.items = replace(score.items, factors=ItemFactors.of(vectors, score.items.factors.biases))
    events = np.zeros(4, EVENT)
    events["item"], events["sign"] = (LIKED, LIKED_TWIN, BOUGHT, REJECTED), (-1, -1, 2, 1)
    events["value"], events["reason"], events["time"] = np.nan, -1, np.arange(1, 5)
    empty = History(np.zeros(0, EVENT), np.zeros(0, SHOWN)).packed()
    own = [History(events, np.zeros(0, SHOWN)).packed() if name == user else empty for name in score.users.ids]
    score.users = replace(score.users, histories=own, predicted=np.full_like(score.users.predicted, -1))
    return score


class Library:
    """The filter in this process."""

    def __init__(self, snapshots: Path, surfaces: dict[str, Any], threshold: float | None, **limits: Any) -> None:
        own = {name: Limits(**limits | one) for name, one in surfaces.items()}
        self.conrec = CoNRecFilter.load(snapshots, Guardrails(**limits, surfaces=own), threshold)

    def filter(self, user: str, candidates: list[str], **more: Any) -> dict[str, Any]:
        decision = self.conrec.filter(user, candidates, **more)
        found = {field.name: getattr(decision, field.name) for field in fields(Decided)}
        found["would_drop"] = decision.would_drop if decision.dry_run else []
        return msgspec.to_builtins(found | {"why": {i: why for i, why in zip(candidates, decision.why) if why}})

    def dislike(self, user: str, item: str, reason: str | None = None, when: int | None = None) -> None:
        self.conrec.dislike(user, item, reason, when)

    def undo(self, user: str, item: str) -> None:
        self.conrec.undo_dislike(user, item)

    def events(self, entries: list[Entry]) -> int:
        return self.conrec.record(entries)

    def mute(self, user: str, mute: Mute) -> None:
        self.conrec.mute(user, mute)

    def unmute(self, user: str, mute: Mute) -> None:
        assert self.conrec.unmute(user, mute)

    def user(self, user: str) -> dict[str, Any]:
        return msgspec.to_builtins(self.conrec.user(user))


class Service:
    """The filter over HTTP."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def filter(self, user: str, candidates: list[str], **more: Any) -> dict[str, Any]:
        found = self.client.filter(user, candidates, **more)
        assert found.pop("fail_open") is None
        return found

    def dislike(self, user: str, item: str, reason: str | None = None, when: int | None = None) -> None:
        said = {"item": item, "reason": reason, "time": when and iso(when)}
        assert self.client.post(f"/v1/users/{user}/dislikes", said) == {"new": 1, "repeated": 0}

    def undo(self, user: str, item: str) -> None:
        assert self.client.post(f"/v1/users/{user}/undo", {"item": item}) == {"new": 1, "repeated": 0}
        assert self.client.post(f"/v1/users/{user}/undo", {"item": item}) == {"new": 0, "repeated": 1}

    def events(self, entries: list[Entry]) -> int:
        parts = ("user", "item", "kind", "reason", "id")
        asked = [{part: getattr(one, part) for part in parts} | {"time": iso(one.time)} for one in entries]
        found = self.client.post("/v1/events", {"events": asked})
        assert found["new"] + found["repeated"] == len(entries)
        return found["new"]

    def mute(self, user: str, mute: Mute) -> None:
        self.client.post(f"/v1/users/{user}/mutes", {"kind": mute.kind, "name": mute.name})

    def unmute(self, user: str, mute: Mute) -> None:
        path = f"/v1/users/{user}/mutes?kind={mute.kind}&name={mute.name.replace(' ', '%20')}"
        assert self.client.ask("DELETE", path)[0] == 200

    def user(self, user: str) -> dict[str, Any]:
        view = self.client.get(f"/v1/users/{user}")
        parts = ("mutes", "suggestions")
        assert self.client.get(f"/v1/users/{user}/mutes") == {part: view[part] for part in parts}
        return view


def iso(micros: int | None) -> str:
    assert micros is not None
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()


@contextlib.contextmanager
def library(snapshots: Path, surfaces: Any = None, threshold: float | None = None, **limits: Any) -> Iterator[Any]:
    yield Library(snapshots, surfaces or {}, threshold, **limits)


@contextlib.contextmanager
def service(snapshots: Path, surfaces: Any = None, threshold: float | None = None, **limits: Any) -> Iterator[Any]:
    file = None
    if surfaces:
        file = snapshots.parent / "surfaces.toml"
        parts = [f"[{name}]\n" + "".join(f"{k} = {v!r}\n" for k, v in one.items()) for name, one in surfaces.items()]
        file.write_text("".join(parts))
    with serving(snapshots, surfaces=file, threshold=threshold, **limits) as client:
        yield Service(client)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from redis_server(tmp_path_factory.mktemp("redis"))


@pytest.fixture(params=["mapped", "redis"])
def publish(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Publishes a score in one of the stores; the folder."""
    if request.param == "redis":
        monkeypatch.setenv("CONREC_REDIS", request.getfixturevalue("redis_url"))

    def write(score: RandomScore, calibration: dict[str, Any] | None = None) -> Path:
        told: dict[str, Any] = {"probability": CHANCES, "store": request.param}
        write_snapshot(tmp_path / "snapshots", score.items, score.users, calibration, **told)
        return tmp_path / "snapshots"

    return write


@pytest.fixture(params=[library, service])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def ids(*rows: int) -> list[str]:
    return [f"i{row}" for row in rows]


def test_near_is_out_too_and_min_keep_holds_and_says_so(publish: Any, opened: Any) -> None:
    snapshots, asked = publish(known()), ids(REJECTED, TWIN, COUSIN, BOUGHT, 40)
    with opened(snapshots, max_drop_share=0.0) as ask:  # no threshold was calibrated, and nothing may go for its score
        found = ask.filter("u9", asked)
        assert found["dropped"] == found["never_again"] == ids(REJECTED, BOUGHT)
    with opened(snapshots, never_again="near", min_keep=3) as ask:
        found = ask.filter("u9", asked, threshold=1000.0)
        assert (found["kept"], found["kept_by_limit"]) == (ids(REJECTED, COUSIN, 40), 1)  # the lowest two went
        assert found["never_again"] == found["dropped"] == ids(TWIN, BOUGHT)
        assert {item: why["rejected_item"] for item, why in found["why"].items()} == {
            **dict.fromkeys(ids(REJECTED, TWIN), f"i{REJECTED}"),
            f"i{BOUGHT}": f"i{BOUGHT}",
        }
        # Nearly the same counts at once, also for somebody new, and is back with the undo.
        ask.dislike("new", f"i{TWIN}")
        asked = ids(REJECTED, LIKED_TWIN, COUSIN, 40, 41)
        assert ask.filter("new", asked)["never_again"] == ids(REJECTED, LIKED_TWIN)
        ask.undo("new", f"i{TWIN}")
        assert ask.filter("new", asked)["never_again"] == []
        # What is liked and nearly the same as what was rejected fills no list.
        filled = ask.filter("u9", ids(40), threshold=1000.0, want=9, replace=True)
        assert (filled["filled"], filled["short"]) == (ids(LIKED), 7)
    with opened(snapshots, never_again="off") as ask:
        assert ask.filter("u9", asked)["kept"] == asked


def test_it_wears_off_where_an_operator_wants_it(publish: Any, opened: Any) -> None:
    snapshots, now = publish(known()), time.time_ns() // 1000
    for user in ("u3", "new"):
        for days, item in ((20, "i40"), (10, "i41"), (20, "of no catalogue")):
            with opened(snapshots) as ask:
                ask.dislike(user, item, None, now - days * DAY)
    asked = ["i40", "i41", "of no catalogue", "i42"]
    for days, out in ((None, asked[:3]), (21, asked[:3]), (19, ["i41"]), (9, [])):
        with opened(snapshots, never_again_days=days) as ask:
            for user in ("u3", "new"):
                assert ask.filter(user, asked)["never_again"] == out
    with opened(snapshots, surfaces={"mail": {"never_again_days": 9.0}, "home": {"never_again": "off"}}) as ask:
        assert ask.filter("u3", asked)["never_again"] == asked[:3]
        assert [ask.filter("u3", asked, surface=name)["never_again"] for name in ("mail", "home")] == [[], []]


def test_any_dislike_can_be_undone_and_the_undo_too(publish: Any, opened: Any) -> None:
    with opened(snapshots := publish(known())) as ask, opened(snapshots) as other:
        said = [*ids(*range(26, 51)), "of no catalogue"]
        for item in said:
            ask.dislike("u9", item)
            assert other.filter("u9", [item, "i1", "i2"])["dropped"] == [item]
        view = other.user("u9")
        assert [one["item_id"] for one in view["dislikes"]] == [said[-1], *said[-2::-1], *ids(REJECTED, BOUGHT)]
        taken_back = [*ids(REJECTED, BOUGHT), *said[::-1]]
        for item in taken_back:
            ask.undo("u9", item)
            assert other.filter("u9", [item, "i1", "i2"])["dropped"] == []
        view = other.user("u9")
        assert view["dislikes"] == []
        assert [one["item_id"] for one in view["undone"]] == taken_back
        if opened is service:  # once is enough, however long ago
            for item in taken_back:
                assert ask.client.post("/v1/users/u9/undo", {"item": item}) == {"new": 0, "repeated": 1}, item
            for item in ("i0", "no such item"):
                assert ask.client.ask("POST", "/v1/users/u9/undo", {"item": item})[0] == 404
        ask.dislike("u9", said[0])
        ask.undo("u9", said[0])
        ask.dislike("u9", said[0])
        assert other.filter("u9", [*said, "i1"])["never_again"] == [said[0]]


def test_events_in_any_order_and_twice(publish: Any, opened: Any) -> None:
    start = time.time_ns() // 1000 - DAY

    def event(n: int, user: str, item: str, minute: int, kind: Any = "dislike", reason: str | None = None) -> Entry:
        return Entry(user, item, kind, start + minute * 60_000_000, reason, f"e{n}")

    told = [
        event(1, "u9", "i30", 5),
        event(2, "u9", "i30", 6, "undo"),
        event(3, "u9", "i31", 5, "undo"),
        event(4, "u9", "i31", 6),  # undoes the undo
        event(5, "u9", f"i{REJECTED}", 1, "undo"),
        event(6, "new", "i32", 3, reason="seen_or_bought"),
        event(7, "new", "i33", 3, reason="counterfeit"),
        event(8, "new", "i33", 4, "undo"),
    ]
    with opened(snapshots := publish(known())) as ask, opened(snapshots) as other:
        scores = ask.filter("u9", PLAIN)["scores"]
        assert ask.events([*told[::-1][:5], told[-1]]) == 5
        assert ask.events(told) == 3
        assert other.events(told[::-1]) == 0
        for one in (ask, other):
            asked = [*ids(REJECTED, BOUGHT), *PLAIN]
            assert one.filter("u9", asked)["never_again"] == ids(BOUGHT, 31)
            assert one.filter("new", asked)["never_again"] == ["i32"]
        assert other.filter("u9", PLAIN)["scores"] == scores  # this snapshot's score waits for the next one


def test_a_list_stays_full(publish: Any, opened: Any) -> None:
    score = known()
    with opened(publish(score, {"threshold": 0.0, "segments": None, "send": 1.3}), min_keep=0) as ask:
        asked = [f"i{REJECTED}", *PLAIN]
        plain = ask.filter("u9", asked)
        by_score = dict(zip(asked, plain["scores"]))
        of_liked = ask.filter("u9", ids(LIKED, LIKED_TWIN))["scores"]
        kept = plain["kept"]
        assert 3 < len(kept) < len(PLAIN)
        first = ask.filter("u9", asked, want=3)
        assert (first["kept"], first["short"], first["send"]) == (kept[:3], 0, 4)
        short = ask.filter("u9", asked, want=20)
        assert (short["kept"], short["short"], short["send"]) == (kept, 20 - len(kept), 26)
        fresh = sorted((s, i) for s, i in zip(of_liked, ids(LIKED, LIKED_TWIN)) if s <= 0)
        fill = [item for _, item in fresh]
        fill += sorted((i for i in plain["dropped"] if i != f"i{REJECTED}"), key=lambda item: by_score[item])
        for want in (len(kept), len(kept) + 1, len(kept) + len(fill), 40):
            found = ask.filter("u9", asked, want=want, replace=True)
            assert found["filled"] == fill[: want - len(kept)]
            assert found["kept"] == kept + found["filled"]
            assert found["short"] == want - len(found["kept"])
        # A dry run changes nothing but the length.
        dry = ask.filter("u9", asked, want=40, replace=True, dry_run=True)
        assert (dry["kept"], dry["filled"], dry["short"]) == (asked, [], 40 - len(asked))
        assert ask.filter("nobody", PLAIN, want=25, replace=True)["short"] == 5


def test_demoted_nothing_goes_and_the_order_changes(publish: Any, opened: Any) -> None:
    with opened(publish(known(), {"threshold": 0.0, "segments": None})) as ask:
        asked = [*PLAIN, f"i{REJECTED}", "new"]
        found = ask.filter("u9", asked, mode="demote")
        assert found["dropped"] == found["never_again"] == [f"i{REJECTED}"]
        odds = CHANCES.of(np.array([np.nan if s is None else s for s in found["scores"]]))
        chances = [None if s is None else 1 / (1 + np.exp(-o)) for s, o in zip(found["scores"], odds)]
        assert found["probabilities"] == pytest.approx(chances)
        own = np.linspace(-1, 3, len(asked))
        for relevance in (None, own.tolist()):
            told = -np.log(np.arange(1, len(asked) + 1)) if relevance is None else own
            order = [asked[n] for n in np.argsort(odds - told, kind="stable") if asked[n] != f"i{REJECTED}"]
            kept = ask.filter("u9", asked, mode="demote", relevance=relevance)["kept"]
            assert kept == order
            assert ask.filter("u9", asked, mode="demote", relevance=relevance, want=4)["kept"] == order[:4]
        assert ask.filter("u9", asked)["probabilities"] == []


def test_mutes_of_each_kind_and_back(publish: Any, opened: Any) -> None:
    score, everything = known(), ids(*range(ITEMS))
    has = [set(score.space.encoder.values(one)) for one in score.fields]
    rules = {
        Mute("category", "odd"): [f"i{n}" for n in range(ITEMS) if n % 2],
        Mute("value", "trait: t3"): [f"i{n}" for n in range(ITEMS) if "trait: t3" in has[n]],
        Mute("word", "17"): ["i17"],
    }
    with opened(snapshots := publish(score), min_keep=0) as ask, opened(snapshots, min_keep=0) as other:
        for user in ("u9", "new"):
            before = other.filter(user, everything, threshold=1000.0)
            for rule, items in rules.items():
                ask.mute(user, rule)
                found = other.filter(user, everything, threshold=1000.0)
                assert found["muted"] == [item for item in items if item not in before["never_again"]], rule
                assert found["never_again"] == before["never_again"]
                assert {found["why"][item]["muted"]["name"] for item in items if item in found["muted"]} == {rule.name}
                assert other.user(user)["mutes"] == [msgspec.to_builtins(rule)]
                assert other.filter(user, everything, mode="demote")["dropped"] == found["dropped"]
                ask.unmute(user, rule)
                assert other.filter(user, everything, threshold=1000.0) == before


def test_what_the_score_has_learned_is_suggested(publish: Any, opened: Any) -> None:
    score, rule = known(), {"kind": "value", "name": "trait: t3"}
    having = [row for row in range(3, ITEMS) if "t3" in score.fields[row]["trait"].split("|")][:4]
    events, shown = np.zeros(2, EVENT), np.array([(row, 1) for row in range(ITEMS)], SHOWN)
    events["item"], events["sign"], events["value"], events["reason"] = having[:2], 1, np.nan, -1
    score.users = replace(score.users, histories=[History(events, shown).packed()] * len(score.users))
    with opened(snapshots := publish(score), min_keep=0) as ask, opened(snapshots, min_keep=0) as other:
        learned = []
        for user in score.users.ids:
            assert other.user(user)["suggestions"] == []  # two are too few
            for row in having[2:]:
                ask.dislike(user, f"i{row}")
            found = {one["mute"]["name"]: one for one in other.user(user)["suggestions"]}
            if rule["name"] in found:
                learned.append(user)
                one = found[rule["name"]]
                assert (one["mute"], one["dislikes"], one["of"]) == (rule, 4, 4)
                assert one["lift"] == pytest.approx(1 / one["shown"])
        assert 0 < len(learned) < len(score.users.ids)
        user = learned[0]
        ask.mute(user, Mute(**rule))
        view = other.user(user)
        assert view["mutes"] == [rule]
        assert rule not in [one["mute"] for one in view["suggestions"]]
        asked = ids(*(row for row in range(3, ITEMS) if "t3" in score.fields[row]["trait"].split("|")))
        assert other.filter(user, asked, threshold=1000.0)["kept"] == []
        ask.unmute(user, Mute(**rule))
        assert rule in [one["mute"] for one in other.user(user)["suggestions"]]
        for row in having[2:]:
            ask.undo(user, f"i{row}")
        assert other.user(user)["suggestions"] == []


def test_a_surface_has_its_own_threshold_limits_and_mode(publish: Any, opened: Any) -> None:
    plain = {"threshold": 1.0, "segments": None}
    calibration = {**plain, "surfaces": {"home": {**plain, "threshold": -0.5, "send": 1.5}}}
    surfaces = {"home": {"max_drop_share": 0.25}, "mail": {"mode": "demote", "min_keep": 20}}
    with opened(publish(known(), calibration), surfaces, max_drop_share=1.0, min_keep=0) as ask:
        asked = [f"i{REJECTED}", *PLAIN]
        found = {name: ask.filter("u9", asked, surface=name, want=4) for name in (None, "home", "mail")}
        scores = found[None]["scores"][1:]
        over = {limit: sum(score > limit for score in scores) for limit in (1.0, -0.5)}
        assert 5 < over[1.0] < over[-0.5]
        assert [one["threshold"] for one in found.values()] == [1.0, -0.5, 1.0]
        assert [one["send"] for one in found.values()] == [None, 6, None]
        assert [len(one["dropped"]) for one in found.values()] == [1 + over[1.0], 1 + 5, 1]
        assert found["home"]["kept_by_limit"] == over[-0.5] - 5
        assert found["mail"]["kept"] == ask.filter("u9", asked, mode="demote", want=4)["kept"]
        given = ask.filter("u9", asked, surface="home", threshold=1.0)
        assert (len(given["dropped"]), given["kept_by_limit"]) == (1 + 5, over[1.0] - 5)
        with pytest.raises((ValueError, AssertionError), match="there are home, mail"):
            ask.filter("u9", asked, surface="web")


@pytest.mark.slow
def test_in_every_process_from_the_next_request_on(publish: Any) -> None:
    """Two real services and a Python process beside them."""
    snapshots = publish(known())
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(2):
            start, port = command(snapshots)
            process = subprocess.Popen(start, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 30)
            stack.callback(process.kill)
            clients.append((port, Service(Client(port))))
        for port, _ in clients:
            wait_for(lambda port=port: is_ready(port), seconds=120)
        (_, one), (_, other) = clients
        own = Library(snapshots, {}, None)
        asked = [*PLAIN, "of no catalogue"]
        for user in ("u9", "new"):
            for said, askers in ((one, (other, own)), (other, (one, own)), (own, (one, other))):
                for item in ("i30", "of no catalogue"):
                    said.dislike(user, item)
                    assert [ask.filter(user, asked)["dropped"] for ask in askers] == [[item]] * 2
                    said.undo(user, item)
                    assert [ask.filter(user, asked)["dropped"] for ask in askers] == [[]] * 2
                said.mute(user, Mute("word", "31"))
                assert [ask.filter(user, asked)["muted"] for ask in askers] == [["i31"]] * 2
                said.unmute(user, Mute("word", "31"))
                assert [ask.filter(user, asked)["muted"] for ask in askers] == [[]] * 2
