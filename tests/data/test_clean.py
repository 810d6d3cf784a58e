from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.clean import clean
from conrec.data.schema import INTEREST_REASONS, OTHER_REASONS, POSITIVE_KINDS, REASONS
from tests.data.events import make_log


def kept(*rows: tuple, least: int = 0) -> list[tuple[str, str, str]]:
    events = clean(make_log(*rows), least).events
    return list(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), events["kind"].to_pylist()))


def dropped(*rows: tuple, least: int = 0) -> dict[str, int]:
    return dict(clean(make_log(*rows), least).accounting.dropped)


@pytest.mark.parametrize("reason", REASONS)
def test_only_reasons_of_interest_stay(reason: str) -> None:
    row = ("u", "a", 0, "dislike", reason)
    if reason in INTEREST_REASONS:
        assert kept(row) == [("u", "a", "dislike")]
    else:
        assert kept(row) == []
        assert dropped(row) == {f"reason_{reason}": 1}


def test_an_event_of_an_unknown_item_goes() -> None:
    assert dropped(("u", "a", 0, "click"), ("u", "elsewhere", 0, "click")) == {"unknown_item": 1}


def test_exact_copies_go_and_near_ones_stay() -> None:
    rows = [
        ("u", "a", 0, "click"),
        ("u", "a", 0, "click"),
        ("u", "a", 1, "click"),
        ("u", "a", 0, "exposure", None, 5.0),
    ]
    assert dropped(*rows) == {"duplicate": 1}


def test_the_first_dislike_of_an_item_stays_whatever_was_dropped_before_it() -> None:
    rows = [
        ("u", "a", 9, "dislike"),
        ("u", "a", 5, "dislike", "not_this_store"),
        ("u", "a", 1, "dislike", "counterfeit"),
        ("v", "a", 0, "dislike"),
    ]
    events = clean(make_log(*rows)).events.to_pylist()
    assert [(e["user_id"], e["reason"]) for e in events] == [("v", None), ("u", "not_this_store")]
    assert dropped(*rows) == {"repeated_dislike": 1, "reason_counterfeit": 1}


def test_a_dislike_beats_a_positive_of_the_same_moment_only() -> None:
    rows = [
        ("u", "a", 0, "dislike"),
        ("u", "a", 0, "click"),
        ("u", "a", 0, "exposure"),
        ("u", "a", 1, "click"),
        ("u", "b", 0, "click"),
        ("v", "a", 0, "click"),
    ]
    assert dropped(*rows) == {"positive_while_disliking": 1}
    assert ("u", "a", "exposure") in kept(*rows)


def test_users_with_few_dislikes_go_with_all_their_events() -> None:
    rows = [
        ("u", "a", 0, "dislike"),
        ("u", "b", 0, "dislike"),
        ("u", "c", 0, "click"),
        ("v", "a", 0, "dislike"),
        ("v", "b", 0, "dislike", "bait_price"),
        ("v", "c", 0, "click"),
    ]
    assert {user for user, _, _ in kept(*rows, least=2)} == {"u"}
    assert dropped(*rows, least=2) == {"user_below_min_dislikes": 2, "reason_bait_price": 1}


def event_rows() -> st.SearchStrategy[list[tuple]]:
    dislike = st.tuples(st.just("dislike"), st.sampled_from([None, *REASONS]))
    other = st.tuples(st.sampled_from([*POSITIVE_KINDS, "exposure"]), st.none())
    row = st.tuples(
        st.sampled_from("uvw"), st.sampled_from("abx"), st.integers(0, 3), dislike | other, st.sampled_from([None, 1.0])
    )
    return st.lists(row.map(lambda r: (*r[:3], *r[3], r[4])), min_size=1, max_size=25)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(event_rows(), st.integers(0, 2))
def test_it_agrees_with_the_rules_applied_one_by_one(rows: list[tuple], least: int) -> None:
    left = [r for r in rows if r[1] != "x" and r[4] not in OTHER_REASONS]
    left = sorted(set(left), key=lambda r: (r[2], str(r[4] or "~"), r[5] or 9.0))
    seen: set[tuple[str, str]] = set()
    firsts = []
    for r in left:
        if r[3] == "dislike":
            if (r[0], r[1]) in seen:
                continue
            seen.add((r[0], r[1]))
        firsts.append(r)
    moments = {r[:3] for r in firsts if r[3] == "dislike"}
    firsts = [r for r in firsts if not (r[3] in POSITIVE_KINDS and r[:3] in moments)]
    dislikes = {u: sum(r[0] == u and r[3] == "dislike" for r in firsts) for u in "uvw"}
    expected = [(*r[:2], r[3], r[4], r[5]) for r in firsts if dislikes[r[0]] >= least]

    log = clean(make_log(*rows, items="ab"), least)
    got = [
        (e["user_id"], e["item_id"], e["kind"], e["reason"], e["value"])
        for e in log.events.select(["user_id", "item_id", "kind", "reason", "value"]).to_pylist()
    ]
    assert sorted(got, key=str) == sorted(expected, key=str)
    assert log.accounting.read == len(rows)
    assert log.accounting.kept + log.accounting.dropped.total() == len(rows)
