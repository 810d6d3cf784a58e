from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.clean import ORDER, clean, with_first_seen, without_leaps
from conrec.data.schema import INTEREST_REASONS, OTHER_REASONS, POSITIVE_KINDS, REASONS
from tests.data.events import START, event_table, item_table, make_log


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


def test_an_undo_takes_back_the_dislikes_up_to_then() -> None:
    rows = [
        ("u", "a", 1, "dislike"),
        ("u", "a", 3, "dislike"),  # at one moment the undo is the last word
        ("u", "a", 3, "undo"),
        ("u", "a", 5, "dislike"),
        ("u", "a", 6, "dislike"),
        ("u", "a", 2, "click"),
        ("u", "b", 4, "undo"),
        ("v", "a", 2, "dislike"),
        ("v", "a", 9, "undo"),
        ("w", "a", 1, "dislike", "counterfeit"),
    ]
    assert dropped(*rows) == {"undone": 3, "undo": 3, "repeated_dislike": 1, "reason_counterfeit": 1}
    assert sorted(kept(*rows)) == [("u", "a", "click"), ("u", "a", "dislike")]
    (dislike,) = [row for row in clean(make_log(*rows)).events.to_pylist() if row["kind"] == "dislike"]
    assert dislike["time"] == clean(make_log(("u", "a", 5, "dislike"))).events["time"][0].as_py()


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


def test_events_of_one_moment_are_in_the_order_of_user_item_and_kind() -> None:
    kinds = [*POSITIVE_KINDS, "exposure"]
    rows = [(user, item, (n * 7) % 5, kinds[n % 5]) for n in range(30) for user in "wvu" for item in "ba"]
    log = make_log(*dict.fromkeys(rows))
    assert clean(log).events.equals(log.events.sort_by(ORDER))


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


DAY = 24


@pytest.mark.parametrize(
    ("ahead", "gone"),
    [
        ([("a", 20)], 0),  # news, if late
        ([("a", 60)], 1),  # one user alone
        ([("a", 60), ("a", 61)], 2),
        ([("a", 60), ("a", 200)], 2),
        ([("a", 60), ("b", 61)], 0),  # two in a hundred
        ([("a", 60), ("b", 61), ("c", 300)], 1),
    ],
)
@pytest.mark.parametrize("as_a_day", [False, True])
def test_who_leaps_ahead_alone_is_not_followed(ahead: list[tuple[str, int]], gone: int, as_a_day: bool) -> None:
    usual = [(f"u{n}", "a", n % 5 * DAY, "exposure") for n in range(100)]
    late = [(user, "a", days * DAY, "exposure") for user, days in ahead]
    log, before = (make_log(*late), event_table(*usual)) if as_a_day else (make_log(*usual, *late), None)
    log = without_leaps(log, before)
    account = log.accounting.check()
    assert account.dropped == ({"time_leap": gone} if gone else {})
    assert (
        account.all_rejected()["user_id"].to_pylist() == [user for user, _ in ahead[len(ahead) - gone :]]
        if gone
        else True
    )
    assert account.kept == len(log.events) == len(late) - gone + (0 if as_a_day else 100)


def test_events_before_the_end_are_no_leap() -> None:
    old = make_log(("a", "a", -200 * DAY, "click"), ("a", "a", 0, "click"))
    assert len(without_leaps(old, event_table(("a", "a", DAY, "click"), ("b", "a", DAY, "click"))).events) == 2
    assert len(without_leaps(make_log(), event_table(("a", "a", 0, "click"))).events) == 0
    assert len(without_leaps(make_log(("a", "a", 0, "click"), ("a", "b", 0, "click"))).events) == 2


def test_dropped_rows_are_kept_with_their_cause() -> None:
    rows = [
        ("u", "a", 0, "click"),
        ("u", "a", 0, "click"),
        ("u", "z", 1, "click"),
        ("u", "b", 2, "dislike", "bait_price"),
    ]
    account = clean(make_log(*rows)).accounting
    found = [(row["cause"], row["item_id"], row["time"]) for row in account.all_rejected().to_pylist()]
    assert sorted(found) == [
        ("duplicate", "a", START),
        ("reason_bait_price", "b", START + timedelta(hours=2)),
        ("unknown_item", "z", START + timedelta(hours=1)),
    ]


def test_the_first_event_is_when_an_item_was_seen_at_the_latest() -> None:
    items = with_first_seen(item_table("a", "b", "c"), event_table(("u", "a", 5, "click"), ("u", "a", 3, "click")))
    assert items["first_seen"].to_pylist() == [START + timedelta(hours=3), None, None]
    later = with_first_seen(items, event_table(("u", "a", 4, "click"), ("u", "b", 9, "click")))
    assert later["first_seen"].to_pylist() == [START + timedelta(hours=3), START + timedelta(hours=9), None]
    assert with_first_seen(later, event_table()).equals(later)


@settings(max_examples=50, deadline=None)
@given(event_rows(), st.integers(0, 2))
def test_a_large_log_is_cleaned_in_parts(rows: list[tuple], least: int) -> None:
    whole = clean(make_log(*rows, items="ab"), least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conrec.data.clean.TOGETHER", 3)
        parts = clean(make_log(*rows, items="ab"), least)
    assert parts.events.equals(whole.events)
    assert parts.accounting.to_json() == whole.accounting.to_json()
    assert parts.accounting.all_rejected().equals(whole.accounting.all_rejected())


ROW = st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.integers(0, 5), st.sampled_from(["dislike", "click"]))


@given(st.lists(ROW, max_size=12), st.lists(ROW, max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_log_cleaned_in_two_parts_is_the_log_cleaned_at_once(early: list[tuple], late: list[tuple]) -> None:
    """Whatever of the second part is in the first already, or void by it, goes."""
    late = [(user, item, 6 + hours, kind) for user, item, hours, kind in late] + early[:2]
    first = clean(make_log(*early))
    second = clean(make_log(*late), before=first.events) if late else make_log()
    whole = clean(make_log(*early, *late))
    order = [(name, "ascending") for name in ("time", "user_id", "item_id", "kind")]
    assert pa.concat_tables([first.events, second.events]).sort_by(order).equals(whole.events)
    assert sum(log.accounting.dropped.total() for log in (first, second)) == whole.accounting.dropped.total()
