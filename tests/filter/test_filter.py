"""The filter against its rules written out by hand."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.errors import ConrecError
from conrec.filter import snapshot as published
from conrec.filter.decision import Decision
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails
from conrec.filter.mutes import Mute
from conrec.filter.publish import write_snapshot
from conrec.score.factors import ItemFactors, UserFactors, served_scores
from conrec.score.probability import DislikeProbability
from tests.filter.published import ITEMS, PREDICTED, lists_of, some_items, some_users

USERS = 12
EVERYTHING = [f"i{n}" for n in range(ITEMS)]


def publish(snapshots: Path, seed: int = 0, calibration: dict[str, Any] | None = None, **options: Any) -> str:
    return write_snapshot(snapshots, some_items(seed), some_users(USERS, seed), calibration, **options)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshots")
    publish(folder)
    return folder


def true_scores(user: int, rows: list[int], seed: int = 0) -> list[float]:
    items, users = some_items(seed), some_users(USERS, seed)
    factors = UserFactors(users.vectors[user], float(users.biases[user]))
    return served_scores(items.factors, factors, np.array(rows, np.int64)).tolist()


@settings(max_examples=150, deadline=None)
@given(
    candidates=st.lists(st.integers(0, ITEMS + 5), max_size=40),
    user=st.integers(0, USERS + 1),
    threshold=st.none() | st.floats(-3, 3),
    min_keep=st.integers(0, 10),
    share=st.integers(0, 20),
    never_again=st.sampled_from(["item", "off"]),
)
def test_a_decision_follows_the_rules(
    snapshots: Path,
    candidates: list[int],
    user: int,
    threshold: float | None,
    min_keep: int,
    share: int,
    never_again: Any,
) -> None:
    ids = [f"i{n}" for n in candidates]
    guardrails = Guardrails(min_keep, share / 20, never_again=never_again)
    loaded = CoNRecFilter.load(snapshots, guardrails)
    found = loaded.filter(f"u{user}", ids, threshold)
    over = [n for n, s in enumerate(found.scores) if s is not None and threshold is not None and s > threshold]

    # Scores are the formula's; what is unknown has none.
    assert found.unknown_user == (user >= USERS)
    assert found.unknown_items == sum(n >= ITEMS for n in candidates)
    known = [n for n, row in enumerate(candidates) if row < ITEMS and user < USERS]
    assert [n for n, s in enumerate(found.scores) if s is not None] == known
    if known:
        expected = true_scores(user, [candidates[n] for n in known])
        np.testing.assert_allclose([found.scores[n] for n in known], expected, atol=1e-5)

    # What was rejected goes first, whatever its score: as much as `min_keep` leaves, the lowest of the list first.
    past = lists_of(user)[1] if user < USERS and never_again == "item" else []
    rejected = [n for n, row in enumerate(candidates) if row in past]
    spare = max(0, len(ids) - min_keep)
    out = sorted(rejected[::-1][:spare])
    assert found.never_again == [ids[n] for n in out]
    # Kept and dropped are the candidates, in their order.
    others = [n for n in over if n not in rejected]
    may_go = min(len(ids) * share // 20, spare - len(out))
    goes = sorted(out + sorted(others, key=lambda n: (-float(found.scores[n] or 0), -n))[:may_go])
    assert found.dropped == found.would_drop == [ids[n] for n in goes]
    assert found.kept == [id for n, id in enumerate(ids) if n not in goes]
    assert len(found.kept) >= min(min_keep, len(ids))
    assert found.kept_by_limit == len({*over, *rejected}) - len(goes)

    # Reasons for all over the threshold or rejected, kept_by_limit or not.
    assert [n for n, why in enumerate(found.why) if why is not None] == sorted({*over, *rejected})
    assert [n for n, why in enumerate(found.why) if why is not None and why.rejected_item] == rejected

    # A dry run scores the same and drops nothing.
    dry = loaded.filter(f"u{user}", ids, threshold, dry_run=True)
    assert (dry.kept, dry.dropped, dry.would_drop) == (ids, [], found.dropped)
    assert (dry.scores, dry.kept_by_limit, dry.why, dry.dry_run) == (found.scores, found.kept_by_limit, found.why, True)


def test_an_exempt_user_is_not_even_scored(snapshots: Path) -> None:
    loaded = CoNRecFilter.load(snapshots, Guardrails(exempt=frozenset({"u5"})), threshold=-100.0)
    found = loaded.filter("u5", EVERYTHING)
    assert found.exempt
    assert found.kept == EVERYTHING
    assert set(found.scores) == {None}
    assert not loaded.filter("u6", EVERYTHING).exempt
    assert loaded.filter("u6", EVERYTHING).dropped


def test_the_nearest_threshold_wins(tmp_path: Path) -> None:
    publish(tmp_path, calibration={"threshold": 0.25, "segments": None})
    of_set, of_filter = CoNRecFilter.load(tmp_path), CoNRecFilter.load(tmp_path, threshold=0.5)
    assert of_set.filter("u3", EVERYTHING).threshold == 0.25
    assert of_filter.filter("u3", EVERYTHING).threshold == 0.5
    assert of_filter.filter("u3", EVERYTHING, threshold=0.0).threshold == 0.0
    assert of_set.filter("u3", EVERYTHING, 0.0).dropped == of_filter.filter("u3", EVERYTHING, 0.0).dropped


@pytest.mark.parametrize("calibration", [None, {"threshold": None, "segments": None}])
def test_without_a_promise_nothing_goes_but_what_was_rejected(
    tmp_path: Path, calibration: dict[str, Any] | None
) -> None:
    publish(tmp_path, calibration=calibration)
    found = CoNRecFilter.load(tmp_path).filter("u3", EVERYTHING)
    assert (found.threshold, found.dropped, found.kept_by_limit) == (None, found.never_again, 0)
    assert sorted(found.dropped) == sorted(f"i{row}" for row in lists_of(3)[1])
    assert None not in found.scores


def over(found: Decision) -> set[str]:
    return {id for id, why in zip(EVERYTHING, found.why) if why is not None}


def test_thresholds_by_category(tmp_path: Path) -> None:
    segments = {"by": "category", "edges": None, "thresholds": {"even": 0.2, "odd": None, "": -0.3}}
    publish(tmp_path, calibration={"threshold": 5.0, "segments": segments})
    found = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0, never_again="off")).filter("u5", [*EVERYTHING, "stranger"])
    scores = true_scores(5, list(range(ITEMS)))
    limits = [-0.3 if n % 10 == 0 else (0.2, np.inf)[n % 2] for n in range(ITEMS)]
    expected = {f"i{n}" for n in range(ITEMS) if scores[n] > limits[n]}
    assert set(found.dropped) == over(found) == expected
    assert found.threshold is None
    # A category that the calibration never met is promised nothing.
    del segments["thresholds"]["even"]  # type: ignore[attr-defined]
    publish(tmp_path, calibration={"threshold": 5.0, "segments": segments})
    found = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0, never_again="off")).filter("u5", EVERYTHING)
    assert over(found) == {id for id in expected if int(id[1:]) % 10 == 0}


def test_thresholds_by_activity(tmp_path: Path) -> None:
    segments = {"by": "activity", "edges": [2.0, 6.0], "thresholds": {"low": 0.1, "middle": None, "high": -0.2}}
    publish(tmp_path, calibration={"threshold": 5.0, "segments": segments})
    loaded = CoNRecFilter.load(tmp_path)
    limits = {user: loaded.filter(f"u{user}", EVERYTHING).threshold for user in range(USERS)}
    assert limits == {n: 0.1 if n <= 2 else None if n <= 6 else -0.2 for n in range(USERS)}


@pytest.mark.parametrize("calibration", [{"likes_lost": 0.01}, {"threshold": "high"}])
def test_a_calibration_that_is_none(tmp_path: Path, calibration: dict[str, Any]) -> None:
    publish(tmp_path, calibration=calibration)
    with pytest.raises(ConrecError, match="not a snapshot"):
        CoNRecFilter.load(tmp_path)


def test_a_dislike_taken_back_goes_with_what_followed_from_it(tmp_path: Path) -> None:
    publish(tmp_path)
    loaded, other = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0)), CoNRecFilter.load(tmp_path)
    before = loaded.user("u9")
    assert before is not None
    assert len(before.predicted) == PREDICTED
    gone = before.predicted[0].past_dislike
    assert gone is not None
    loaded.undo_dislike("u9", gone.item_id)
    for one in (loaded, other):  # another process would see it as well
        after = one.user("u9")
        assert after is not None
        assert after.undone == [gone]
        assert after.dislikes == [view for view in before.dislikes if view != gone]
        assert after.predicted == [view for view in before.predicted if view.past_dislike != gone]
    # No reason names it any more.
    found = loaded.filter("u9", EVERYTHING, threshold=-100.0)
    cited = {one.past_item for why in found.why if why is not None for one in why.contributions}
    assert gone.item_id not in cited
    assert len(cited) > 1
    # Others, and items that the user never disliked, are not touched.
    loaded.undo_dislike("u9", "no such item")
    loaded.undo_dislike("u10", "i0")
    assert loaded.user("u9") == after
    # A snapshot made with these lines worked in does not apply them again: the user may have repeated the dislike.
    publish(tmp_path, feedback=3)
    assert CoNRecFilter.load(tmp_path).user("u9") == before


def test_all_dislikes_taken_back_leaves_nothing_near(tmp_path: Path) -> None:
    publish(tmp_path)
    loaded = CoNRecFilter.load(tmp_path)
    view = loaded.user("u4")
    assert view is not None
    for item in view.dislikes:
        loaded.undo_dislike("u4", item.item_id)
    after = loaded.user("u4")
    assert after is not None
    assert (after.dislikes, after.undone) == ([], view.dislikes)
    assert view.predicted
    assert after.predicted == []


def test_what_is_known_of_a_user(snapshots: Path) -> None:
    loaded, items, (predicted, dislikes, liked) = CoNRecFilter.load(snapshots), some_items(), lists_of(8)
    view = loaded.user("u8")
    assert view is not None
    assert [item.item_id for item in view.dislikes] == [f"i{n}" for n in dislikes]
    assert [item.item_id for item in view.liked] == [f"i{n}" for n in liked]
    assert [one.item.item_id for one in view.predicted] == [f"i{n}" for n in predicted]
    vectors = items.factors.vectors / np.linalg.norm(items.factors.vectors, axis=1, keepdims=True)
    for one, row in zip(view.predicted, predicted):  # each follows from the dislike that it is most like
        assert one.past_dislike == view.dislikes[int((vectors[dislikes] @ vectors[row]).argmax())]
    first, row = view.dislikes[0], dislikes[0]
    assert (first.title, first.category, first.codes) == (
        items.titles[row],
        items.categories[row],
        tuple(items.codes[row].tolist()),
    )
    empty = loaded.user("u0")
    assert empty is not None
    assert (empty.dislikes, empty.liked, empty.predicted) == ([], [], [])
    assert loaded.user("nobody") is None


@pytest.mark.parametrize("relevance", [None, np.random.default_rng(1).normal(size=ITEMS + 1).tolist()])
@pytest.mark.parametrize("user", [0, 7, 11, USERS])
def test_demoted_nothing_goes_for_its_score(tmp_path: Path, user: int, relevance: list[float] | None) -> None:
    chances = DislikeProbability([-2.0, 0.0, 3.0], [-4.0, -1.0, 2.0], -1.5)
    publish(tmp_path, probability=chances)
    loaded, candidates = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0)), [*EVERYTHING[::-1], "stranger"]
    dropped = loaded.filter(f"u{user}", candidates, 0.3)
    found = loaded.filter(f"u{user}", candidates, 0.3, mode="demote", relevance=relevance)
    # What the user rejected is out in either mode, and nothing else.
    assert found.dropped == found.never_again == dropped.never_again
    assert (found.scores, found.why, found.kept_by_limit) == (dropped.scores, dropped.why, 0)
    log_odds = [-1.5 if s is None else float(np.interp(s, chances.scores, chances.log_odds)) for s in found.scores]
    told = [-np.log(n + 1) for n in range(ITEMS + 1)] if relevance is None else relevance
    order = sorted(range(ITEMS + 1), key=lambda n: (log_odds[n] - told[n], n))
    if user == USERS:
        assert (found.kept, found.probabilities) == (candidates, [])
        return
    assert found.kept == [candidates[n] for n in order if candidates[n] not in found.never_again]
    assert found.kept != [item for item in candidates if item not in found.never_again]
    expected = [None if s is None else 1 / (1 + np.exp(-o)) for s, o in zip(found.scores, log_odds)]
    assert found.probabilities == pytest.approx(expected)
    # Then cut to what is wanted; and in a dry run, or without probabilities, the order stays the ranker's.
    cut = loaded.filter(f"u{user}", candidates, mode="demote", relevance=relevance, want=5)
    assert (cut.kept, cut.short) == (found.kept[:5], 0)
    dry = loaded.filter(f"u{user}", candidates, mode="demote", relevance=relevance, dry_run=True)
    assert (dry.kept, dry.would_drop, dry.probabilities) == (candidates, found.dropped, found.probabilities)
    publish(tmp_path)
    loaded.reload()
    without = loaded.filter(f"u{user}", candidates, 0.3, mode="demote", relevance=relevance)
    assert without.kept == [item for item in candidates if item not in found.never_again]


def test_what_cannot_be_demoted_by_is_refused(snapshots: Path) -> None:
    loaded = CoNRecFilter.load(snapshots)
    for relevance in ([1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="one finite number for each"):
            loaded.filter("u5", ["i1", "i2"], mode="demote", relevance=relevance)
    with pytest.raises(ValueError, match="one of drop, demote"):
        loaded.filter("u5", ["i1"], mode="soften")  # type: ignore[arg-type]


def test_what_is_muted_is_out_whatever_its_score(tmp_path: Path) -> None:
    publish(tmp_path)
    loaded, other = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0)), CoNRecFilter.load(tmp_path, Guardrails(20, 1.0))
    past = [f"i{row}" for row in lists_of(7)[1]]
    odd, word = Mute("category", "Odd"), Mute("word", "17")
    for mute in (odd, word, odd):
        loaded.mute("u7", mute)
    assert loaded.user("u7").mutes == [odd, word]
    expected = [item for n, item in enumerate(EVERYTHING) if n % 2 and item not in past]
    for threshold in (-100.0, 100.0):
        found = loaded.filter("u7", EVERYTHING, threshold)
        assert found.muted == expected
        assert found.never_again == [item for item in EVERYTHING if item in past]
        rules = {item: why.muted for item, why in zip(EVERYTHING, found.why) if why and why.muted}
        assert rules == {item: odd for item in EVERYTHING if int(item[1:]) % 2}
    # Limits hold, the lowest of the list go first; nothing muted comes back where a list is filled, or demoted.
    limited = other.filter("u7", EVERYTHING[:25], 100.0)
    out = [item for item in EVERYTHING[:25] if item in [*past, *expected]]
    assert (limited.dropped, limited.kept_by_limit) == (out[-5:], len(out) - 5)
    filled = loaded.filter("u7", EVERYTHING[:9], -100.0, want=40, replace=True)
    assert filled.filled
    assert not {*filled.kept} & {*expected, *past}
    everything = loaded.filter("u7", EVERYTHING, 100.0)
    assert loaded.filter("u7", EVERYTHING, mode="demote").dropped == everything.dropped
    dry = loaded.filter("u7", EVERYTHING, 100.0, dry_run=True)
    assert (dry.kept, dry.muted, dry.would_drop) == (EVERYTHING, expected, everything.dropped)
    # At once in every process, and back as soon as it is undone; again, that is undone.
    assert [loaded.unmute("u7", odd), loaded.unmute("u7", odd)] == [True, False]
    assert other.filter("u7", EVERYTHING, 100.0).muted == [item for item in ["i17"] if item not in past]
    other.mute("u7", odd)
    assert loaded.filter("u7", EVERYTHING, 100.0).muted == expected
    # Of nobody else; of somebody new; never of an exempt user; what no item is cannot be muted.
    assert loaded.filter("u8", EVERYTHING, 100.0).muted == []
    loaded.mute("new", word)
    assert loaded.filter("new", [*EVERYTHING, "stranger"]).dropped == ["i17"]
    assert loaded.user("new").mutes == [word]
    exempt = CoNRecFilter.load(tmp_path, Guardrails(exempt=frozenset({"new"})))
    assert exempt.filter("new", EVERYTHING).muted == []
    for wrong in (Mute("category", "neither"), Mute("value", "trait: t1"), Mute("word", "?")):
        with pytest.raises(ValueError, match="no item has the"):
            loaded.mute("u7", wrong)


@pytest.mark.parametrize("threshold", [-0.5, 0.3, 2.0])
@pytest.mark.parametrize("user", [2, 7, 11])
def test_a_list_of_the_wanted_length(snapshots: Path, user: int, threshold: float) -> None:
    loaded = CoNRecFilter.load(snapshots, Guardrails(0, 0.5))
    candidates = EVERYTHING[:30]
    plain = loaded.filter(f"u{user}", candidates, threshold)
    scores = dict(zip(EVERYTHING, true_scores(user, list(range(ITEMS)))))
    past, liked = ([f"i{row}" for row in rows] for rows in lists_of(user)[1:])
    may = sorted((i for i in liked if i not in candidates + past and scores[i] <= threshold), key=scores.__getitem__)
    may += sorted((item for item in plain.dropped if item not in plain.never_again), key=scores.__getitem__)
    for want in (0, 3, len(plain.kept), len(plain.kept) + 2, 40):
        cut = loaded.filter(f"u{user}", candidates, threshold, want=want)
        assert (cut.kept, cut.filled) == (plain.kept[:want], [])
        assert cut.short == want - len(cut.kept)
        assert (cut.dropped, cut.scores, cut.send) == (plain.dropped, plain.scores, None)
        filled = loaded.filter(f"u{user}", candidates, threshold, want=want, replace=True)
        assert filled.filled == may[: max(0, want - len(plain.kept))]
        assert filled.kept == plain.kept[:want] + filled.filled
        assert filled.short == want - len(filled.kept)
        assert not set(past) & set(filled.filled)


def test_how_many_candidates_to_send(tmp_path: Path) -> None:
    publish(tmp_path, calibration={"threshold": 0.25, "segments": None, "send": 1.3})
    assert CoNRecFilter.load(tmp_path).filter("u3", EVERYTHING, want=20).send == 26


def test_what_was_rejected_comes_back_after_some_days_where_the_operator_says_so(tmp_path: Path) -> None:
    publish(tmp_path)
    now = time.time_ns() // 1000
    loaded = CoNRecFilter.load(tmp_path)
    loaded.dislike("u5", "i50", time=now - 20 * 86_400_000_000)
    loaded.dislike("new", "of no catalogue", time=now - 20 * 86_400_000_000)
    for days, out in ((None, True), (21, True), (19, False)):
        limited = CoNRecFilter.load(tmp_path, Guardrails(0, 0.5, never_again_days=days))
        assert limited.filter("u5", ["i50"]).never_again == ["i50"] * out
        assert limited.filter("new", ["of no catalogue"]).never_again == ["of no catalogue"] * out
        past = f"i{lists_of(5)[1][0]}"
        assert limited.filter("u5", [past]).never_again == [past]  # of which nobody knows when
    with pytest.raises(ValueError, match="never_again_days"):
        Guardrails(never_again_days=0)


def test_what_is_nearly_the_same_goes_too(tmp_path: Path) -> None:
    items, users = some_items(dimensions=11), some_users(USERS, dimensions=11)
    vectors, (rejected, *others) = items.factors.vectors.copy(), lists_of(6)[1]
    twin, cousin, look_alike = [row for row in range(ITEMS) if row not in (rejected, *others)][:3]
    # What counts is the embedding, whatever its length; behind three item features here.
    vectors[twin, 3:], vectors[look_alike, :3] = 2.5 * vectors[rejected, 3:], vectors[rejected, :3]
    vectors[cousin, 3:] = vectors[rejected, 3:] + 0.3 * vectors[cousin, 3:]
    factors = ItemFactors.of(vectors, items.factors.biases)
    write_snapshot(tmp_path, replace(items, factors=factors, widths=(2, 1)), users)
    loaded = CoNRecFilter.load(tmp_path, Guardrails(0, 0.5, never_again="near"))
    found = loaded.filter("u6", [f"i{rejected}", f"i{twin}", f"i{cousin}", f"i{look_alike}", "stranger"])
    assert found.never_again == [f"i{rejected}", f"i{twin}"]
    assert [why.rejected_item for why in found.why if why] == [f"i{rejected}"] * 2
    assert CoNRecFilter.load(tmp_path).filter("u6", [f"i{twin}"]).never_again == []


def test_a_new_set_is_taken_over(tmp_path: Path) -> None:
    first = publish(tmp_path)
    loaded, pinned = CoNRecFilter.load(tmp_path, threshold=0.0), CoNRecFilter.load(tmp_path / first, threshold=0.0)
    old = loaded.filter("u7", EVERYTHING)
    assert not loaded.reload()
    second = publish(tmp_path, seed=1, keep=1)
    assert loaded.filter("u7", EVERYTHING) == old
    assert loaded.reload()
    assert not pinned.reload()
    new = loaded.filter("u7", EVERYTHING)
    assert (old.version, new.version) == (first, second)
    np.testing.assert_allclose(new.scores, true_scores(7, list(range(ITEMS)), seed=1), atol=1e-5)  # type: ignore[arg-type]
    assert pinned.filter("u7", EVERYTHING) == old


def test_a_damaged_new_set_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    publish(tmp_path)
    loaded = CoNRecFilter.load(tmp_path, threshold=0.0)
    old = loaded.filter("u7", EVERYTHING)
    second = publish(tmp_path, seed=1)
    (tmp_path / second / "items.parquet").write_bytes(b"")
    with pytest.raises(ConrecError, match=r"items\.parquet"):
        loaded.reload()
    assert loaded.filter("u7", EVERYTHING) == old


def test_swaps_under_load_fail_no_request(tmp_path: Path) -> None:
    """Four threads filter without a pause while snapshots come and go; every answer is wholly one snapshot's."""
    expected = {publish(tmp_path, seed): true_scores(7, list(range(ITEMS)), seed) for seed in (0, 1)}
    versions = list(expected)
    loaded = CoNRecFilter.load(tmp_path, threshold=0.0)
    stop_watching = loaded.watch(0.001)
    done, wrong, seen = threading.Event(), [], set()

    def work() -> None:
        while not done.is_set():
            try:
                found = loaded.filter("u7", EVERYTHING)
                if not np.allclose(found.scores, expected[found.version], atol=1e-5):  # type: ignore[arg-type]
                    wrong.append(found.version)
                seen.add(found.version)
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        published.use(tmp_path, versions[n % 2])
        before = loaded.version
        for _ in range(500):
            if loaded.version == versions[n % 2]:
                break
            threading.Event().wait(0.002)
        assert loaded.version == versions[n % 2], before
    done.set()
    for thread in threads:
        thread.join()
    stop_watching.set()
    assert wrong == []
    assert seen == set(versions)


@pytest.mark.parametrize("candidates", [["i1", 3], ["i1", None], 7])
def test_candidates_are_strings(snapshots: Path, candidates: Any) -> None:
    with pytest.raises(TypeError):
        CoNRecFilter.load(snapshots).filter("u1", candidates)


def test_text_that_no_file_can_hold_is_unknown(snapshots: Path) -> None:
    loaded = CoNRecFilter.load(snapshots, threshold=0.0)
    found = loaded.filter("u5", ["i1", "\ud800", "", "i2"])
    assert found.unknown_items == 2
    assert "\ud800" in found.kept
    assert loaded.filter("\ud800", ["i1"]).unknown_user


REQUESTS = """
import sys
from conrec.filter.filter import CoNRecFilter
from conrec.filter.id_index import _find, among
from conrec.filter.mutes import Mute
from conrec.score.factors import _products

def compiled():
    return [len(one.signatures) for one in (_find, among, _products)]

loaded = CoNRecFilter.load(sys.argv[1])
before = compiled()
items = [f"i{n}" for n in range(60)]
loaded.filter("u5", items)
loaded.filter("u5", ["none", "a\\0b", "\\ud800", *items[:3]], want=5, replace=True)
loaded.filter("nobody", items[:1], mode="demote")
loaded.dislike("u5", "i3")
loaded.undo_dislike("u5", "i3")
loaded.filter("u5", items, replace=True, want=60)
loaded.user("u5")
for mute in (Mute("word", "title"), Mute("category", "odd")):
    loaded.mute("u5", mute)
    assert loaded.filter("u5", items).muted
print(before, compiled())
assert before == compiled() and all(before)
assert "pandas" not in sys.modules
"""


def test_nothing_is_compiled_at_a_request(tmp_path: Path) -> None:
    """It would take a second, and the list would pass unfiltered. So it would at the import of pandas."""
    publish(tmp_path, calibration={"threshold": 0.0, "segments": None})
    done = subprocess.run([sys.executable, "-c", REQUESTS, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
